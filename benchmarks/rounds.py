"""A whole run on this machine, ten edges and five rounds, beside the same training in a hand-written PyTorch loop.

    python -m benchmarks.rounds --out FILE.json

Both train the same network (55,210 parameters) on the same digits with one local epoch a round; ours in eleven processes,
with every document, checkpoint, digest, report and MLflow record that a run has. Whole processes are timed, in turns. The flat
pipeline of the same task shows what a pipeline task costs besides its work, and the ledgers how fast orders are picked up.
"""

import argparse
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.tables import say, write
from cloud.runs.events import events
from cloud.runs.run import Run
from cloudedge.documents import Collaboration, ModelSpec, Training, TrainingTask
from cloudedge.interpreter import python
from pipelines.collaborative_training.demo.digits import DATA, edge_names, write_digits
from pipelines.laptop.home import Home


def main() -> int:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description="Time a whole run beside a hand-written loop.")
    parser.add_argument("--edges", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloudedge-bench-") as folder:
        figures = measure(Path(folder), options.edges, options.rounds, options.repeats)
    rows = [
        ("", "whole run, s", "median round, s"),
        ("hand-written PyTorch loop", f"{figures['loop']['whole']:.1f}", f"{figures['loop']['round']:.3f}"),
        ("cloudedge, compact", f"{figures['compact']['whole']:.1f}", f"{figures['compact']['round']:.3f}"),
        ("cloudedge, flat", f"{figures['flat']['whole']:.1f}", f"{figures['flat']['round']:.3f}"),
    ]
    say(f"{options.edges} edges, {options.rounds} rounds, {options.repeats} repeats", rows)
    say(
        "Overheads",
        [
            ("", "median", "largest"),
            ("a pipeline task besides its work, s", *_median_and_most(figures["task_overhead"])),
            ("an order from its writing to its acceptance, s", *_median_and_most(figures["pick_up"])),
        ],
    )
    write(options.out, figures)
    return 0


def measure(folder: Path, edges: int, rounds: int, repeats: int) -> dict[str, Any]:
    """All figures, in seconds; of whole runs and rounds the medians over the repeats.

    Args:
        folder: Empty folder to work in.
        edges: Number of edges.
        rounds: Number of rounds.
        repeats: How often each contender runs.
    """
    data = folder / "data"
    write_digits(data, edges)
    found: dict[str, dict[str, list[float]]] = {name: {"whole": [], "round": []} for name in ("loop", "compact", "flat")}
    overhead: list[float] = []
    pick_up: list[float] = []
    for repeat in range(repeats):
        whole, output = _timed(python("benchmarks.hand_written_loop", data, rounds))
        found["loop"]["whole"].append(whole)
        found["loop"]["round"].append(statistics.median(json.loads(output)["seconds"]))
        for shape in ("compact", "flat"):
            home = Home(folder / f"{shape}-{repeat}")
            task_file = folder / f"{shape}.json"
            task_file.write_bytes(_task(edges, rounds).to_json())
            command = python("pipelines.cli", "run", task_file, "--data", data, f"--{shape}", "--json")
            whole, output = _timed([*command, "--home", str(home.folder)])
            found[shape]["whole"].append(whole)
            seconds = json.loads(output)["seconds"]
            steps = ("dispatch", "wait", "fuse")
            each = [sum(seconds[f"{step}-{number}"] for step in steps) for number in range(1, rounds + 1)]
            found[shape]["round"].append(statistics.median(each))
            if shape == "flat":
                overhead += _overheads(Run(home.store, "bench"))
            pick_up += _pick_ups(home, rounds)
            shutil.rmtree(home.folder)
    medians = {name: {key: statistics.median(values) for key, values in of.items()} for name, of in found.items()}
    return {**medians, "all": found, "task_overhead": overhead, "pick_up": pick_up, "edges": edges, "rounds": rounds}


def _task(edges: int, rounds: int) -> TrainingTask:
    training = Training(epochs=1, batch_size=32, learning_rate=0.05, optimizer="momentum")
    return TrainingTask(
        name="Benchmark",
        id="bench",
        model=ModelSpec(architecture="mlp", parameters={"layers": 2, "width": 200}),
        data=DATA,
        pretraining=training.model_copy(update={"epochs": 5}),
        collaboration=Collaboration(edges=edge_names(edges), rounds=rounds, training=training),
    )


def _timed(command: list[str]) -> tuple[float, str]:
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return time.monotonic() - started, done.stdout


def _overheads(run: Run) -> list[float]:
    """From the end of one task to the end of the next, less the second one's work."""
    done = [event for _, event in events(run.store, run.id) if event.action == "step-done"]
    return [(b.at - a.at).total_seconds() - float(b.details["seconds"]) for a, b in pairwise(done)]


def _pick_ups(home: Home, rounds: int) -> list[float]:
    """From the writing of an order to its acceptance; without the first round, when runners may be starting still."""
    found = []
    for ledger in sorted(home.folder.glob("edges/*/ledger.db")):
        with sqlite3.connect(ledger) as database:
            accepted = dict(database.execute("SELECT id, wall FROM orders"))
        run = Run(home.store, "bench")
        for number in range(2, rounds + 1):
            order = run.order(str(number), ledger.parent.name)
            if order:
                found.append(accepted[order.id] - order.issued_at.timestamp())
    return found


def _median_and_most(values: list[float]) -> tuple[str, str]:
    return f"{statistics.median(values):.3f}", f"{max(values):.3f}"


if __name__ == "__main__":
    sys.exit(main())
