"""How long a run takes besides its work: from a terminal, and the first and the next ones of a notebook.

    python -m benchmarks.start [--before FOLDER] --out FILE.json

The task is next to nothing: three edges, one round, a network of 2,710 parameters. A folder with another state of the
sources is measured beside this one, by the same interpreter and in turns. Seconds are by the clock, so they tell only as much
as the machine is quiet; those of the processors, of all processes together, tell also where it is not.
"""

import argparse
import ctypes
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.tables import say, write
from cloudedge.documents import Collaboration, ModelSpec, Training, TrainingTask
from cloudedge.interpreter import environment, python
from pipelines.collaborative_training.demo.digits import DATA, edge_names, write_digits

EDGES = 3
_PR_SET_CHILD_SUBREAPER = 36

NOTEBOOK = """
import json, sys, time
from pipelines import Laptop, Task
task, data, home, runs = sys.argv[1:]
laptop, task, found = Laptop(home), Task.from_file(task), []
for number in range(int(runs)):
    began, called = time.time(), time.monotonic()
    run = laptop.run(task.changed(id=f"run-{number}"), data, display=False)
    whole = time.monotonic() - called
    done = run.events.query("what == 'step-done'").iloc[0]
    found.append({"whole": whole, "first step": done["at"].timestamp() - done["seconds"] - began})
print(json.dumps(found))
"""


def main() -> int:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description="Time runs that have next to nothing to do.")
    parser.add_argument("--before", type=Path, help="Folder with another state of the sources, to be measured beside this one.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runs", type=int, default=4, help="Runs of one notebook (%(default)s).")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    sources = {"this": Path(__file__).parents[1]} | ({"before": options.before.absolute()} if options.before else {})
    with tempfile.TemporaryDirectory(prefix="cloudedge-bench-") as folder:
        found = measure(Path(folder), sources, options.repeats, options.runs)
    medians = {name: {what: statistics.median(values) for what, values in of.items()} for name, of in found.items()}
    rows = [("median seconds", *medians)]
    rows += [(what, *(f"{of[what]:.2f}" for of in medians.values())) for what in medians["this"]]
    say(f"{options.repeats} repeats; load of the machine at the end: {os.getloadavg()[0]:.1f}", rows)
    write(options.out, {"medians": medians, "all": found, "load": os.getloadavg()})
    return 0


def measure(folder: Path, sources: dict[str, Path], repeats: int, runs: int) -> dict[str, dict[str, list[float]]]:
    """All figures, in seconds, by state of the sources.

    Args:
        folder: Empty folder to work in.
        sources: Folders with the sources, by name.
        repeats: How often each is measured.
        runs: Number of runs of one notebook.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # The processors' time of those who lost their parents counts, too.
    task_file, data = folder / "task.json", folder / "data"
    task_file.write_bytes(trivial_task().to_json())
    write_digits(data, EDGES)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in sources}
    for repeat in range(repeats + 1):
        for name, root in sources.items():
            figures = _figures(folder, root, task_file, data, runs)
            if repeat:  # The first compiles the sources.
                for what, values in figures.items():
                    found[name].setdefault(what, []).extend(values)
    return found


def _figures(folder: Path, root: Path, task_file: Path, data: Path, runs: int) -> dict[str, list[float]]:
    """A command and a notebook, each in a home of its own."""
    home = folder / "home"
    command = python("pipelines.cli", "run", task_file, "--data", data, "--home", home, "--json")
    whole, processors, _ = timed(command, root, folder)
    shutil.rmtree(home)
    _, of_notebook, output = timed(
        [sys.executable, "-P", "-c", NOTEBOOK, *map(str, (task_file, data, home, runs))], root, folder
    )
    shutil.rmtree(home)
    first, *others = json.loads(output.splitlines()[-1])
    return {
        "a command": [whole],
        "a command, of the processors": [processors],
        "a notebook's first run": [first["whole"]],
        "until its first step": [first["first step"]],
        "a notebook's next run": [other["whole"] for other in others],
        "until the first step of that": [other["first step"] for other in others],
        f"a notebook of {runs} runs, of the processors": [of_notebook],
    }


def timed(command: list[str], root: Path, folder: Path) -> tuple[float, float, str]:
    """Seconds by the clock until it ended, seconds of the processors until all that it had started ended, and its output."""
    variables: dict[str, str] = {**environment(), "PYTHONPATH": str(root), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # Nobody's runs compile everything each time.
    before, began = _processors(), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables, cwd=folder)
    whole = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    try:
        while True:
            os.wait()
    except ChildProcessError:
        return whole, _processors() - before, done.stdout


def _processors() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def trivial_task() -> TrainingTask:
    """A task that is next to nothing."""
    training = Training(epochs=1, batch_size=32, learning_rate=0.05)
    return TrainingTask(
        name="Benchmark",
        id="bench",
        model=ModelSpec(architecture="mlp", parameters={"layers": 1, "width": 36}),
        data=DATA,
        pretraining=training,
        collaboration=Collaboration(edges=edge_names(EDGES), rounds=1, training=training),
    )


if __name__ == "__main__":
    sys.exit(main())
