"""The tests, in processes beside each other.

`python -m tests` runs those that take minutes, `python -m tests all` all that this machine can run, and `python -m tests edge
cloud` some groups.

With CI in the environment, up to three tests that fail amid all others are run once more, alone: of thousands, one now and then
fails only because two processors were others' for a while. Which these were is printed, so that they get mended.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

_ROOT = Path(__file__).parents[1]
_NO_TESTS = 5
"""With this pytest ends where there is nothing to run: what is missing here, it has said."""

_FAILED = 1
"""With this it ends where tests failed."""

_SECOND_TRIES = 3
"""Where more tests fail, it is not by chance."""

_NOTEBOOKS = ("--nbmake", "--nbmake-timeout", "900", "--ignore", "notebooks/on_the_cluster.ipynb", "notebooks")
_TWO = ("-n", "2", "--dist", "loadscope", "--no-loadscope-reorder")
"""Two workers share small machines; what a module's tests share is made by one of them."""

_ELSEWHERE = "servers or images or edge"
_GROUPS = {
    "fast": (*_TWO, "-m", f"not ({_ELSEWHERE} or e2e or browser)", "tests"),
    "whole": (*_TWO, "-m", f"(e2e or browser) and not ({_ELSEWHERE})", *_NOTEBOOKS, "tests"),
    # The others have a cluster each, which no two processes can share; those with edge nodes wait most of the time.
    "servers": ("-m", "(servers or images) and not edge", "tests"),
    "edge": ("-m", "edge and not cloud", "tests/cluster"),
    "cloud": ("-m", "edge and cloud", "tests/cluster"),
    "most": (*_TWO, "-m", f"not ({_ELSEWHERE})", *_NOTEBOOKS, "tests"),
}
"""What pytest is asked for, by the name of a group; `most` is `fast` and `whole` in one."""

_ALL = ("most", "servers", "edge", "cloud")
_OTHERS = """
Not run: whole runs with disturbances, pages in a browser and notebooks (whole), real servers and images (servers), KubeEdge
nodes (edge), a whole cluster (cloud). To run them too, as far as this machine can: make test TIERS=all
"""


def main(names: list[str]) -> int:
    """Run groups of tests: the first one before the eyes of whoever asks, of the rest is told afterwards.

    Returns:
        The exit code: that of the first group that failed, also in its second try where there was one.
    """
    unknown = sorted(set(names) - {*_GROUPS, "all"})
    if unknown:
        print(f"There are no tests {', '.join(unknown)}, only: all, {', '.join(_GROUPS)}.", file=sys.stderr)
        return 2
    first, *beside = _ALL if names == ["all"] else names or ["fast"]
    with TemporaryDirectory(prefix="cloudedge-tests-") as folder:
        place = Path(folder)
        running: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for name in beside:
                running[name] = _start(name, place, place / f"{name}.log")
            print(f"Tests: {first}; beside them, to be told of later: {', '.join(beside) or 'none'}.", flush=True)
            running = {first: _start(first, place), **running}
            codes = {name: _end(name, process, place) for name, process in running.items()}
            if os.environ.get("CI"):
                codes = _with_second_tries(codes, place, running)
            if not names:
                print(_OTHERS, flush=True)
            return next(filter(None, codes.values()), 0)
        except KeyboardInterrupt:
            return 130
        finally:
            for process in running.values():
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
            for process in running.values():
                process.wait()


def _with_second_tries(codes: dict[str, int], place: Path, running: "dict[str, subprocess.Popen[bytes]]") -> dict[str, int]:
    """The groups' exit codes once their failed tests had a second try, where these are few enough."""
    failed = {name: _failed(name, place) for name, code in codes.items() if code == _FAILED}
    tests = [test for found in failed.values() for test in found]
    if len(tests) > _SECOND_TRIES or not all(failed.values()):
        return codes
    for name, found in failed.items():
        print(f"Tests: once more, alone: {', '.join(found)}.", flush=True)
        told = place / f"{name}.xml"
        running[name] = _start(name, place, more=("-n", "0", "--last-failed", "--junitxml", str(told)))
        code = running[name].wait()
        if code == 0 and _passed(told) == len(found):
            print(f"Tests: failed amid the others, and passed alone: {', '.join(found)}.", flush=True)
            codes = {**codes, name: 0}
    return codes


def _failed(name: str, place: Path) -> list[str]:
    """Tests of a group that failed; none: it is not known which."""
    path = _cache(name, place) / "v/cache/lastfailed"
    return sorted(json.loads(path.read_text("utf-8"))) if path.exists() else []


def _passed(told: Path) -> int:
    """How many tests passed; one that is skipped did not."""
    (suite,) = ElementTree.parse(told).getroot()
    tests, *others = (int(suite.get(name, 0)) for name in ("tests", "skipped", "failures", "errors"))
    return tests - sum(others)


def _cache(name: str, place: Path) -> Path:
    # One for each group, as each writes its failed tests over the others'.
    return place / f"{name}.cache"


def _start(name: str, place: Path, log: Path | None = None, more: tuple[str, ...] = ()) -> "subprocess.Popen[bytes]":
    # With one thread each, numpy and PyTorch do not fight over the processors.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CLOUDEDGE_TESTS": str(place)}
    output = os.open(log, os.O_WRONLY | os.O_CREAT) if log else None
    try:
        cache = ("-o", f"cache_dir={_cache(name, place)}") if os.environ.get("CI") else ()
        command = [sys.executable, "-m", "pytest", "--durations", "12", *cache, *_GROUPS[name], *more]
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
    return 0 if code == _NO_TESTS and name not in ("fast", "most") else code


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # A shell that starts us in the background has us ignore the first.
        signal.signal(number, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
