"""All benchmarks, one after the other: `make bench`.

    python -m benchmarks [--out FOLDER]

Writes a JSON file each and `figures.md`, all tables together.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from cloudedge.interpreter import python

BENCHMARKS = {
    "accuracy": ["--seeds", "0", "1", "2"],
    "fusion": ["--models", "10", "100"],
    "rounds": [],
    "serving": [],
    "start": [],
    "sweep": [],
    "idle": [],
    "detector": [],
    "inspection_models": [],
    "training": [],
    "automl_costs": [],
    "automl_search": [],
    "automl_meta": [],
}
"""By module, with what each is run with."""


def main() -> int:
    """Run all; the first that fails ends it."""
    parser = argparse.ArgumentParser(description="Run all benchmarks.")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="Folder for the figures.")
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    tables = []
    for name, arguments in BENCHMARKS.items():
        print(f"== {name}", flush=True)
        command = python(f"benchmarks.{name}", *arguments, "--out", folder / f"{name}.json")
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, flush=True)
        if done.returncode:
            return done.returncode
        tables.append(f"## {name}\n\n{done.stdout.strip()}\n")
    (folder / "figures.md").write_text("\n".join(["# Figures\n", *tables]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
