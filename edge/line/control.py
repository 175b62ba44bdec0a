"""The line's service as the runner's work and the tools call it: over a socket in the state directory."""

import contextlib
import socket
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter

from cloudedge import errors
from cloudedge.documents.base import Part, parse
from cloudedge.documents.deployable import Deployable
from cloudedge.documents.inspection import NORMAL, Bounds, Rollout
from cloudedge.documents.line import SERVER
from cloudedge.documents.report import WorkError
from cloudedge.errors import CloudedgeError, InvalidInput, StoreFailed
from edge import sockets
from edge.folders import Folders
from edge.line.reports import DeploymentReport, DetectorReport, LineReport
from edge.line.settings import read_settings

ANSWER_SECONDS = 60.0
"""How long the service may take to answer, beyond what it was asked to wait for."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024


_LACKING = {False: "there is no line here", True: "its line was opened without ports for models"}
"""Why the edge server cannot get a model, by whether there is a line."""


def require_serving(folders: Folders) -> None:
    """See to it that a model may be deployed to the edge server itself.

    Raises:
        InvalidInput: it answers by no models; the message has the one command that changes this.
        InvalidDocument: the line's settings are damaged.
    """
    settings = read_settings(folders) if folders.line_settings.exists() else None
    if settings is None or not settings.serves:
        where = f"{settings.listen} --join {settings.join} --page {settings.page}" if settings else "HOST:PORT"
        raise InvalidInput(
            f"The model is for {SERVER!r}, the edge server itself, which answers by no models: "
            f"{_LACKING[settings is not None]}. Have it answer over HTTP and gRPC, and deploy again: cloudedge-edge line open "
            f"--state {folders.state} --listen {where} --models HOST:PORT HOST:PORT."
        )


class Ask(Part):
    """What is asked of the service: one line of JSON."""

    call: str = Field(max_length=100, description="What it is to do.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="With what.")


class Answer(Part):
    """What it answers: one line of JSON."""

    value: Any = Field(default=None, description="What came of it.")
    error: WorkError | None = Field(default=None, description="Why nothing did.")


class Line:
    """The line of a state directory."""

    def __init__(self, folders: Folders) -> None:
        """Prepare to ask; nothing is asked yet.

        Args:
            folders: Of the runner.
        """
        self._folders = folders

    def gather(self, brand: str, detectors: Collection[str], seconds: float) -> dict[str, str]:
        """Have detectors send all records that they hold back.

        Args:
            brand: What they are gathered for: what is being taught of it is waited for. Detectors send in the order of time,
                other brands' records too.
            detectors: Which; empty: all of the line.
            seconds: How long to wait at most.

        Returns:
            Who did not finish, and why; empty: all did.

        Raises:
            NotFound: there is no line here, or no detector of a name.
            StoreFailed: its service does not answer.
        """
        found: dict[str, str] = self._ask("gather", seconds, brand=brand, detectors=list(detectors), seconds=seconds)
        return found

    def deploy(
        self,
        deployment: str,
        brand: str,
        deployable: Deployable,
        file: Path,
        detectors: Sequence[str] = (),
        rollout: Rollout | None = None,
        bounds: Bounds | None = None,
    ) -> DeploymentReport:
        """Begin a deployment; with an id that is known, go on with that one.

        Args:
            deployment: Its id.
            brand: Whose parts it will judge.
            deployable: What is known of the model.
            file: Its ONNX file.
            detectors: Who gets it; empty: all of the line.
            rollout: In what order.
            bounds: Within what it must stay.

        Raises:
            NotFound: there is no line here, no detector of a name, or none at all.
            InvalidInput: the edge server itself is meant, and answers by no models.
            InvalidModel: the file is not the deployable's.
            StoreFailed: its service does not answer, or the disk refuses.
        """
        value = self._ask(
            "deploy",
            deployment=deployment,
            brand=brand,
            deployable=deployable.model_dump(mode="json"),
            file=str(file),
            detectors=list(detectors),
            rollout=(rollout or Rollout()).model_dump(mode="json"),
            bounds=(bounds or Bounds()).model_dump(mode="json"),
        )
        return DeploymentReport.model_validate(value)

    def deployment(self, deployment: str) -> DeploymentReport:
        """How a deployment stands. It goes on only as long as somebody asks.

        Raises:
            NotFound: there is no line here, or no such deployment.
            StoreFailed: its service does not answer.
        """
        return DeploymentReport.model_validate(self._ask("deployment", deployment=deployment))

    def stop(self, deployment: str) -> DeploymentReport:
        """Give a deployment to nobody else; who has it keeps it.

        Raises:
            NotFound: there is no line here, or no such deployment.
            StoreFailed: its service does not answer.
        """
        return DeploymentReport.model_validate(self._ask("stop", deployment=deployment))

    def rollback(self, name: str, brand: str = "") -> str:
        """Have a detector judge by the model before.

        Args:
            name: The detector.
            brand: Whose parts; empty: of the brand that runs.

        Returns:
            The brand.

        Raises:
            NotFound: there is no line here, or no such detector.
            InvalidInput: no brand runs that is known here.
            StoreFailed: its service does not answer.
        """
        return str(self._ask("rollback", name=name, brand=brand))

    def teach(self, name: str, brand: str, count: int, label: str = NORMAL) -> None:
        """Have a detector take its next images as examples.

        Raises:
            NotFound: there is no line here, or no such detector.
            InvalidInput: brand, label or count are none.
            StoreFailed: its service does not answer.
        """
        self._ask("teach", name=name, brand=brand, count=count, label=label)

    def brand(self, name: str, brand: str) -> None:
        """Have a detector judge parts of a brand from now on; empty: of none.

        Raises:
            NotFound: there is no line here, or no such detector.
            InvalidInput: the brand is no name.
            StoreFailed: its service does not answer.
        """
        self._ask("brand", name=name, brand=brand)

    def detectors(self) -> list[DetectorReport]:
        """How all detectors stand, by their names.

        Raises:
            NotFound: there is no line here.
            StoreFailed: its service does not answer.
        """
        return TypeAdapter(list[DetectorReport]).validate_python(self._ask("detectors"))

    def report(self) -> LineReport:
        """How the line stands.

        Raises:
            NotFound: there is no line here.
            StoreFailed: its service does not answer.
        """
        return LineReport.model_validate(self._ask("report"))

    def add(self, name: str, host: str = "") -> str:
        """Let one more detector join.

        Args:
            name: Its name.
            host: Under which it reaches this machine; empty: as the service listens.

        Returns:
            The token for it, good for once and an hour.

        Raises:
            NotFound: there is no line here.
            InvalidInput: the name is none, or reserved.
            StoreFailed: its service does not answer.
        """
        return str(self._ask("add", name=name, host=host))

    def remove(self, name: str) -> None:
        """Make a detector a stranger; what it recorded stays.

        Raises:
            NotFound: there is no line here, or no such detector.
            StoreFailed: its service does not answer.
        """
        self._ask("remove", name=name)

    def _ask(self, call: str, patience: float = 0.0, /, **arguments: Any) -> Any:
        read_settings(self._folders)
        try:
            with contextlib.closing(sockets.connect(self._folders.line_socket)) as connection:
                connection.settimeout(ANSWER_SECONDS + patience)
                connection.sendall(Ask(call=call, arguments=arguments).model_dump_json().encode() + b"\n")
                connection.shutdown(socket.SHUT_WR)
                with connection.makefile("rb") as lines:
                    content = lines.readline(MAX_ANSWER_BYTES)
        except OSError as error:
            raise StoreFailed(
                f"The line's service of {self._folders.state} does not answer: {error}. It runs beside the runner: start that, "
                "or see in its log why the service does not start."
            ) from error
        if not content.endswith(b"\n"):
            raise StoreFailed(f"The line's service of {self._folders.state} ended before it answered. Ask again.")
        answer = parse(Answer, content, "the line's service", MAX_ANSWER_BYTES)
        if answer.error is not None:
            kind = getattr(errors, answer.error.kind, CloudedgeError)
            raise CloudedgeError(answer.error.message) if kind is errors.InvalidDocument else kind(answer.error.message)
        return answer.value
