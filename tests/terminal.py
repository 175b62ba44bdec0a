"""The command line, called as a shell calls it, in this process: another would import everything anew."""

import contextlib
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from pipelines.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on standard output."""
        return json.loads(self.out)


def called(
    *arguments: object,
    program: Callable[[], None] = main,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Ended:
    """Call a command line with these arguments.

    Args:
        arguments: What is typed.
        program: Its entry point; that of `cloudedge`, if none is given.
        environment: All variables that it sees; none: ours.
        folder: Where it is typed; none: here.

    Raises:
        Exception: what would be a traceback.
    """
    assert threading.current_thread() is threading.main_thread(), "what it sees and changes is the whole process's"
    out, err, code, former = io.StringIO(), io.StringIO(), 0, signal.getsignal(signal.SIGTERM)
    with (
        mock.patch.dict(os.environ, environment or {}, clear=environment is not None),
        mock.patch.object(sys, "argv", ["cloudedge", *map(str, arguments)]),
        contextlib.chdir(folder or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            program()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            signal.signal(signal.SIGTERM, former)
    return Ended(code, out.getvalue(), err.getvalue())


Cloudedge = Callable[..., Ended]


@pytest.fixture
def cloudedge() -> Cloudedge:
    """See `called`."""
    return called
