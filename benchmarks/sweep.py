"""How long a sweep of small runs takes, beside the same runs as one command after another.

    python -m benchmarks.sweep [--repeats 3] --out FILE.json

Three edges, one round, a network of 2,710 parameters; three fusion rules with two seeds. Both make the same models.
"""

import argparse
import os
import statistics
import sys
import tempfile
from itertools import product
from pathlib import Path

from benchmarks.start import EDGES, timed, trivial_task
from benchmarks.tables import say, write
from cloudedge.documents.base import canonical_json
from cloudedge.interpreter import python
from pipelines import Laptop, Task
from pipelines.collaborative_training.demo.digits import write_digits

RULES = ["samples", "median", "uniform"]
SEEDS = 2
ROOT = Path(__file__).parents[1]


def main() -> int:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description="Time a sweep beside commands.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, list[float]] = {"six commands": [], "a sweep": []}
    with tempfile.TemporaryDirectory(prefix="cloudedge-bench-") as folder:
        write_digits(Path(folder) / "data", EDGES)
        for repeat in range(options.repeats + 1):
            commands, sweep = _measured(Path(folder), Path(folder) / str(repeat))
            if repeat:  # The first compiles the sources.
                found["six commands"].append(commands)
                found["a sweep"].append(sweep)
    medians = {name: statistics.median(values) for name, values in found.items()}
    ratio = medians["a sweep"] / medians["six commands"]
    rows = [("median seconds", *found), ("whole", *(f"{seconds:.1f}" for seconds in medians.values()))]
    say(f"{options.repeats} repeats; a sweep takes {ratio:.2f} of the time", rows)
    write(options.out, {"medians": medians, "ratio": ratio, "all": found, "load": os.getloadavg()})
    return 0


def _measured(folder: Path, home: Path) -> tuple[float, float]:
    task = Task.of(trivial_task())
    commands = 0.0
    for rule, seed in product(RULES, range(SEEDS)):
        one = task.changed({"collaboration.fusion.rule": rule}, seed=seed, id=f"{rule}-{seed}")
        home.mkdir(exist_ok=True)
        file = one.save(home / f"{one.id}.json")
        commands += timed(
            python("pipelines.cli", "run", file, "--data", folder / "data", "--home", home / "one"), ROOT, folder
        )[0]
    file = home / "sweep.json"
    file.write_bytes(canonical_json({"task": task.fields, "over": {"collaboration.fusion.rule": RULES}, "seeds": SEEDS}))
    sweep = timed(python("pipelines.cli", "sweep", file, "--data", folder / "data", "--home", home / "other"), ROOT, folder)[0]
    digests = [sorted(str(run.digest) for run in Laptop(home / name).runs()) for name in ("one", "other")]
    if digests[0] != digests[1]:
        raise RuntimeError(f"The sweep made other models: {digests}.")
    return commands, sweep


if __name__ == "__main__":
    sys.exit(main())
