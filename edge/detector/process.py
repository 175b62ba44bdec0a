"""The process `cloudedge-detector run`: what makes a detector, keeps it and ends it."""

import argparse
import logging
import os
import signal
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloudedge import __version__, memory
from cloudedge.documents.detector import ServingPorts
from cloudedge.errors import EXIT_INTERRUPTED, CloudedgeError
from cloudedge.processes import ONE_THREAD, end_with
from edge.detector.configuring import configuration_in
from edge.detector.folders import DetectorFolders
from edge.detector.threads import stand_back
from edge.lock import locked

if TYPE_CHECKING:
    from edge.detector.detector import Detector
    from edge.detector.link import Link

_log = logging.getLogger(__name__)

_HOUSE_SECONDS = 1.0
_SWITCH_SECONDS = 0.0005
"""How long a thread may keep Python to itself when the inspection wants it; by default it is ten times as long."""


@dataclass(frozen=True)
class Options:
    """What a detector is started with.

    Attributes:
        state: Directory that is its own.
        configuration: File of its configuration.
        parent: Process whose end ends it.
    """

    state: Path
    configuration: Path
    parent: int | None = None


def main(arguments: list[str] | None = None) -> int:
    """Inspect until told to end, or until the source has given its last image; returns the exit code."""
    options = _parsed(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    ended = _Ended()
    try:
        return _run(options, ended)
    except CloudedgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code


class _Ended(threading.Event):
    """Whether the process is to end, and with what."""

    def __init__(self) -> None:
        super().__init__()
        self.code = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)

    def _end(self, number: int, _: object) -> None:
        self.code = EXIT_INTERRUPTED if number == signal.SIGINT else 0
        self.set()


def _run(options: Options, ended: _Ended) -> int:
    # Before numpy and onnxruntime are loaded, which read it then.
    os.environ.update({name: number for name, number in ONE_THREAD.items() if name not in os.environ})
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # What of a link is to be known, the log says in our words.
    memory.share_one_arena()
    sys.setswitchinterval(_SWITCH_SECONDS)
    configuration = configuration_in(options.configuration)
    folders = DetectorFolders(options.state)
    with ExitStack() as stack:
        stack.enter_context(locked(folders.lock, "detector"))
        from edge.detector.detector import Detector

        detector = Detector(_name(folders), configuration, options.state, options.configuration.parent.resolve())
        stack.callback(detector.close)
        detector.start()
        if configuration.threads == 1:  # Those of a model that is loaded by another program would stand back, too.
            stand_back()
        link = _linked(detector, folders, stack)
        _serve(detector, configuration.serving, stack)
        memory.release()
        memory.settle()
        _log.info("detector %s %s at work in %s", __version__, detector.name, options.state)
        if options.parent is not None:
            end_with(options.parent)
        while not (ended.is_set() or detector.over.is_set()):
            detector.keep_house(link.trouble if link else "")
            ended.wait(_HOUSE_SECONDS)
        _log.info("ending")
    return ended.code


def _name(folders: DetectorFolders) -> str:
    """The detector's name in its line; empty: it has joined none."""
    if not folders.link.is_dir():  # What a link needs is loaded where there is one.
        return ""
    from edge.detector.link import membership

    found = membership(folders.link)
    return found.name if found else ""


def _linked(detector: "Detector", folders: DetectorFolders, stack: ExitStack) -> "Link | None":
    if not detector.name:
        _log.info("this detector has joined no line; 'cloudedge-detector join' does that")
        return None
    from edge.detector.link import Link

    link = Link(detector, folders.link)
    stack.callback(link.close)
    link.start()
    return link


def _serve(detector: "Detector", ports: ServingPorts, stack: ExitStack) -> None:
    if ports.http is None and ports.grpc is None:
        return
    from cloudedge.serving.servers import serve

    host = f"[{ports.host}]" if ":" in ports.host else ports.host
    http, grpc = (None if port is None else f"{host}:{port}" for port in (ports.http, ports.grpc))
    stack.enter_context(serve(detector.models, http, grpc, at_once=1))


def _parsed(arguments: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="cloudedge-detector run", description="Inspect every part, until told to end.")
    add = parser.add_argument
    add("--state", type=Path, required=True, metavar="DIR", help="The detector's own directory; survives restarts.")
    add("--config", type=Path, required=True, metavar="FILE", help="Its configuration; 'check' says what is wrong with one.")
    add("--parent", type=int, metavar="PID", help="End when this process is gone.")
    options = parser.parse_args(arguments)
    return Options(options.state.resolve(), options.config, options.parent)
