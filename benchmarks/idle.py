"""What a runner costs that has nothing to do.

    python -m benchmarks.idle --out FILE.json

A real runner with the settings of a real node looks at an inbox that does not change. Resident memory counts shared pages in
full; private memory is what the runner adds to a node that runs other Python programs.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.tables import say, write
from cloudedge.interpreter import python
from pipelines.laptop.home import Home


def main() -> int:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description="Measure an idle runner.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudedge-bench-") as folder:
        figures = measure(Path(folder), options.seconds)
    rows = [
        ("", "figure"),
        ("resident memory, MiB", f"{figures['resident_mib']:.1f}"),
        ("private memory, MiB", f"{figures['private_mib']:.1f}"),
        ("processor, % of one", f"{figures['cpu_percent']:.3f}"),
    ]
    say(f"Idle runner over {options.seconds:.0f} s", rows)
    write(options.out, figures)
    return 0


def measure(folder: Path, seconds: float) -> dict[str, Any]:
    """Memory in MiB and processor time in percent of one processor.

    Args:
        folder: Empty folder to work in.
        seconds: How long to look at it.
    """
    home = Home(folder)
    home.inboxes.enroll("idle")
    # It looks at its device, too: fifteen times as often as by default, as it is not watched for long.
    options = ("--inbox", home.inboxes.root / "idle", "--state", folder / "state", "--telemetry-seconds", "20")
    command = python("edge.runner", *options)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            if process.stderr is None or "at work" not in process.stderr.readline():
                raise RuntimeError("the runner did not start")
            runner = psutil.Process(process.pid)
            time.sleep(2)  # Until it has looked into its inbox, which is start-up and not idling.
            before, since = runner.cpu_times(), time.monotonic()
            resident, private = [], []
            while time.monotonic() - since < seconds:
                time.sleep(1)
                resident.append(runner.memory_info().rss / 2**20)
            private.append(runner.memory_full_info().uss / 2**20)
            after, elapsed = runner.cpu_times(), time.monotonic() - since
        finally:
            process.terminate()
    used = after.user + after.system - before.user - before.system
    return {
        "resident_mib": statistics.median(resident),
        "private_mib": private[-1],
        "cpu_percent": 100 * used / elapsed,
        "seconds": elapsed,
    }


if __name__ == "__main__":
    sys.exit(main())
