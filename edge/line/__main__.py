"""`python -m edge.line`: the line's service, until told to end or until its parent is gone."""

import argparse
import logging
import signal
import sys
import threading
import time
from pathlib import Path

from cloudedge import memory
from cloudedge.errors import CloudedgeError
from cloudedge.processes import end_with
from edge.folders import Folders
from edge.line.service import Service
from edge.line.settings import read_settings
from edge.lock import locked


def main(arguments: list[str] | None = None) -> int:
    """Run the service; returns the exit code."""
    memory.share_one_arena()
    parser = argparse.ArgumentParser(prog="python -m edge.line", description="The service of a production line.")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="The runner's state directory.")
    parser.add_argument("--parent", type=int, metavar="PID", help="End when this process is gone.")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s line %(message)s", datefmt="%Y-%m-%dT%H:%M:%SZ")
    logging.Formatter.converter = time.gmtime
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    if options.parent is not None:
        end_with(options.parent)
    folders = Folders(options.state.resolve())
    try:
        lock = locked(folders.line / "service.lock", "service")
        service = Service(folders, read_settings(folders))
    except CloudedgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    logging.getLogger(__name__).info("the line's service is at work in %s", folders.line)
    memory.release()
    ending.wait()
    service.close()
    lock.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
