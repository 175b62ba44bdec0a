"""The demo's production line on this machine: its edge server is the runner of a laptop's edge, its detectors are processes."""

import contextlib
import json
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cloudedge.documents.base import canonical_json
from cloudedge.errors import StoreFailed, WorkFailed
from cloudedge.files import atomic_write
from cloudedge.interpreter import environment, python
from pipelines.laptop.processes import end, start

ValueT = TypeVar("ValueT")

_PORTS = 3
"""Of the line's service: for detectors, for new ones, and for people."""

_LOOK_SECONDS = 0.1
_TOOL_SECONDS = 120.0
_PATIENCE_SECONDS = 300.0
"""For what is seen at once where a machine has nothing else to do; a detector that ends is seen at once anywhere."""


class Plant:
    """A line and its detectors. To be closed."""

    def __init__(self, folder: Path, state: Path) -> None:
        """Prepare them.

        Args:
            folder: Where the detectors have their state, their configurations and logs.
            state: State directory of the edge server's runner.
        """
        self._folder = folder
        self._state = state
        self._detectors: dict[str, subprocess.Popen[bytes]] = {}

    def open(self) -> str:
        """Have the runner serve a line from its next start on.

        Returns:
            Address of the line's page.
        """
        first = _free_ports(_PORTS)
        self._edge("line", "open", "--listen", f"127.0.0.1:{first}")
        found: str = self._told("line", "show")["page_url"]
        return found

    def start(self, name: str, belt: Path, per_second: float) -> None:
        """Have a detector join the line, and inspect what a folder has, again and again.

        Args:
            name: Its name.
            belt: Images of parts.
            per_second: How many of them a second.
        """
        state, configuration = self._folder / name, self._folder / f"{name}.json"
        atomic_write(
            configuration,
            canonical_json(
                {
                    "source": {"kind": "folder", "path": str(belt), "mode": "loop"},
                    "encoder": {"kind": "timer", "per_second": per_second},
                    "results": {"file": {"path": str(self._folder / f"{name}-results.jsonl")}},
                    "history": {"images": "nth", "nth": 25},
                }
            ),
        )
        # Where a demo was run before, the detector is a member of its line already; a new token has it join anew.
        token = self._edge("detectors", "add", name).strip()
        _run(python("edge.detector.cli", "join", token, "--state", state))
        command = python("edge.detector.cli", "run", "--state", state, "--config", configuration, "--parent", os.getpid())
        self._detectors[name] = start(command, self._folder / f"{name}.log")

    def teach(self, name: str, brand: str, count: int) -> None:
        """Have a detector take its next images as ones of parts that are in order."""
        self._edge("detectors", "teach", name, "--brand", brand, "--count", str(count))

    def use_brand(self, brand: str) -> None:
        """Say at all detectors which brand runs."""
        for name in self._detectors:
            self._edge("detectors", "brand", name, brand)

    def roll_back(self, name: str) -> None:
        """Have a detector judge by the model that it had before."""
        self._edge("detectors", "rollback", name)

    def standing(self, name: str) -> dict[str, Any]:
        """How a detector stands, as its own status tells."""
        told = _run(python("edge.detector.cli", "status", "--state", self._folder / name, "--json"))
        found: dict[str, Any] = json.loads(told)
        return found

    def report(self) -> list[dict[str, Any]]:
        """How each detector stands, as the line's service knows it."""
        found: list[dict[str, Any]] = json.loads(self._edge("detectors", "list", "--json"))
        return found

    def until(self, what: str, look: Callable[[], ValueT | None]) -> ValueT:
        """Look again and again until there is something to see.

        Raises:
            WorkFailed: there was nothing in this time, or a detector has ended.
        """
        limit = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with contextlib.suppress(StoreFailed):  # The line's service may be starting.
                found = look()
                if found is not None:
                    return found
            for name, process in self._detectors.items():
                if process.poll() is not None:
                    raise WorkFailed(f"The detector {name} has ended; see {self._folder / f'{name}.log'}.")
            if time.monotonic() > limit:
                raise WorkFailed(f"{what} did not happen within {_PATIENCE_SECONDS:g} s; see the logs in {self._folder}.")
            time.sleep(_LOOK_SECONDS)

    def close(self) -> None:
        """End the detectors."""
        end(list(self._detectors.values()))
        self._detectors.clear()

    def _edge(self, *arguments: str) -> str:
        return _run(python("edge.cli", *arguments, "--state", self._state))

    def _told(self, *arguments: str) -> Any:
        return json.loads(self._edge(*arguments, "--json"))


def _run(command: list[str]) -> str:
    """What a tool of the edge prints.

    Raises:
        StoreFailed: the line's service does not answer, or the disk refuses.
        WorkFailed: the tool could not do its work, or not in time; says why.
    """
    try:
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise WorkFailed(
            f"'{shlex.join(command[-4:])}' was not done after {_TOOL_SECONDS:g} s, as this machine has too much else to do. "
            "Try again when it has less."
        ) from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"{command[0]} ended with {done.returncode}."]
        raise (StoreFailed if done.returncode == StoreFailed.exit_code else WorkFailed)("\n".join(said))
    return done.stdout


def _free_ports(count: int) -> int:
    """The first of some ports after each other that nobody listens at."""
    while True:
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
            sockets[0].bind(("127.0.0.1", 0))
            first: int = sockets[0].getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                for number, each in enumerate(sockets[1:], start=1):
                    each.bind(("127.0.0.1", first + number))
                return first
