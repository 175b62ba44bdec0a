"""Answers `edge.line.control` over the socket in the state directory: a question a connection, each in its own thread."""

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError, validate_call
from pydantic_core import to_jsonable_python

from cloudedge.documents.base import parse
from cloudedge.documents.report import WorkError
from cloudedge.errors import CloudedgeError, InvalidInput
from edge import sockets
from edge.line.control import Answer, Ask

_log = logging.getLogger(__name__)

_MAX_ASK_BYTES = 8 * 1024 * 1024
_PATIENCE_SECONDS = 10.0


class Answering:
    """Listens from the moment that it is made until it is closed."""

    def __init__(self, path: Path, calls: dict[str, Callable[..., Any]]) -> None:
        """Listen.

        Args:
            path: Where.
            calls: What may be called, by name; arguments are checked by their types.
        """
        self._calls = {name: validate_call(call) for name, call in calls.items()}
        self._path = path
        self._listener = sockets.listen(path)
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._path.unlink(missing_ok=True)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), name="answer", daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(_PATIENCE_SECONDS)
                with connection.makefile("rb") as lines:
                    content = lines.readline(_MAX_ASK_BYTES)
                if content:
                    connection.sendall(self._answered(content).model_dump_json().encode() + b"\n")
            except OSError as error:
                _log.warning("a question was not answered: %s", error)

    def _answered(self, content: bytes) -> Answer:
        try:
            asked = parse(Ask, content, "what was asked")
            if asked.call not in self._calls:
                raise InvalidInput(f"The line's service knows no {asked.call!r}. Use the tools of its own version.")
            return Answer(value=to_jsonable_python(self._calls[asked.call](**asked.arguments)))
        except CloudedgeError as error:
            return Answer(error=WorkError.of(error))
        except ValidationError as error:
            faults = "; ".join(f"{fault['loc'][0] if fault['loc'] else 'it'}: {fault['msg']}" for fault in error.errors())
            return Answer(error=WorkError.of(InvalidInput(f"This cannot be asked of the line's service: {faults}.")))
        except Exception as error:
            _log.exception("a question failed")
            message = f"The line's service broke: {type(error).__name__}: {error}. Its log holds the details."
            return Answer(error=WorkError(kind="WorkFailed", message=message))
