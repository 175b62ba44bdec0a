"""All tests that this machine can run, in processes beside each other.

`python -m tests` runs everything, the notebooks among it; `python -m tests edge cloud` some of the groups.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

_ROOT = Path(__file__).parents[1]
_NO_TESTS = 5
"""With this pytest ends where there is nothing to run: what is missing here, it has said."""

_NOTEBOOKS = ("--nbmake", "--ignore", "notebooks/on_the_cluster.ipynb", "notebooks")
_TWO = ("-n", "2", "--dist", "loadscope", "--no-loadscope-reorder")
"""Two workers share small machines; what a module's tests share is made by one of them."""

_GROUPS = {
    # The others have a cluster each, which no two processes can share; those with edge nodes wait most of the time.
    "most": (*_TWO, "-m", "not (servers or images or edge)", *_NOTEBOOKS, "tests"),
    "servers": ("-m", "(servers or images) and not edge", "tests"),
    "edge": ("-m", "edge and not cloud", "tests/cluster"),
    "cloud": ("-m", "edge and cloud", "tests/cluster"),
}
"""What pytest is asked for, by the name of a group."""


def main(names: list[str]) -> int:
    """Run groups of tests: the first one before the eyes of whoever asks, of the rest is told afterwards.

    Returns:
        The exit code: that of the first group that failed.
    """
    unknown = sorted(set(names) - set(_GROUPS))
    if unknown:
        print(f"There are no tests {', '.join(unknown)}, only: {', '.join(_GROUPS)}.", file=sys.stderr)
        return 2
    first, *beside = names or _GROUPS
    with TemporaryDirectory(prefix="cloudedge-tests-") as folder:
        place = Path(folder)
        running: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for name in beside:
                running[name] = _start(name, place, place / f"{name}.log")
            print(f"Tests: {first}; beside them, to be told of later: {', '.join(beside) or 'none'}.", flush=True)
            running = {first: _start(first, place), **running}
            return next(filter(None, [_end(name, process, place) for name, process in running.items()]), 0)
        except KeyboardInterrupt:
            return 130
        finally:
            for process in running.values():
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
            for process in running.values():
                process.wait()


def _start(name: str, place: Path, log: Path | None = None) -> "subprocess.Popen[bytes]":
    # With one thread each, numpy and PyTorch do not fight over the processors.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CLOUDEDGE_TESTS": str(place)}
    output = os.open(log, os.O_WRONLY | os.O_CREAT) if log else None
    try:
        command = [sys.executable, "-m", "pytest", *_GROUPS[name]]
        # In a group of its own, as a terminal's Ctrl-C besides ours would break off what pytest does upon the first.
        return subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=output, stderr=output, process_group=0)
    finally:
        if output is not None:
            os.close(output)


def _end(name: str, process: "subprocess.Popen[bytes]", place: Path) -> int:
    log = place / f"{name}.log"
    if log.exists():
        print(f"Tests: {name}{', which are still running' if process.poll() is None else ''}.", flush=True)
    code = process.wait()
    if log.exists():
        sys.stdout.buffer.write(log.read_bytes())
        sys.stdout.flush()
    return 0 if code == _NO_TESTS and name != "most" else code


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # A shell that starts us in the background has us ignore the first.
        signal.signal(number, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
