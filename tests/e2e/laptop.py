"""`cloudedge` as a person runs it, in processes of its own, and what can be seen of it from outside."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cloud.runs.run import Run
from cloudedge.documents import TrainingTask
from cloudedge.store import DirectoryStore
from pipelines.laptop.home import Home
from tests.traps import lay_traps, lay_traps_on_the_path
from tests.waiting import until, until_either

PATIENCE = 600.0
"""Seconds that a run may take on a machine that has much else to do."""

_OF_A_CLUSTER = {
    "CLOUDEDGE_TRACKING_URI": "http://127.0.0.1:9",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    "MLFLOW_REGISTRY_URI": "http://127.0.0.1:9",
    "MLFLOW_RUN_ID": "0123456789abcdef0123456789abcdef",
    "MLFLOW_EXPERIMENT_ID": "77",
    "MLFLOW_EXPERIMENT_NAME": "somebody else's",
}
"""What a shell may know of MLflow, none of which is meant for a laptop's runs."""


@dataclass
class Laptop:
    """A folder with a task file, samples and a home."""

    folder: Path
    samples: Path
    task: TrainingTask

    @property
    def home(self) -> Home:
        return Home(self.folder / "100% of Süd's runs?")

    @property
    def store(self) -> DirectoryStore:
        return self.home.store

    @property
    def run(self) -> Run:
        return Run(self.store, self.task.id)

    def run_task(self, shape: str, limit: int | None = None) -> "Command":
        """Start `cloudedge run` on the task.

        Args:
            shape: --flat or --compact.
            limit: Largest size of a file that may be written, in bytes.
        """
        task_file = self.folder / "task.json"
        task_file.write_bytes(self.task.to_json())
        home = str(self.home.folder)
        arguments = ["run", str(task_file), "--data", str(self.samples), "--home", home, "--json", shape]
        return self.start(*arguments, limit=limit)

    def start(self, *arguments: str, limit: int | None = None) -> "Command":
        """Start `cloudedge` with these arguments, as a terminal does: in a process group of its own.

        No module may be taken from the folder where it is typed, and nothing from what else the shell is used for.
        """

        def bound_files() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        temporary, here, path = (self.folder / name for name in ("tmp", "here", "path"))
        if not here.exists():
            temporary.mkdir()
            lay_traps_on_the_path(path)
            lay_traps(here)
        process = subprocess.Popen(
            [Path(sys.executable).parent / "cloudedge", *arguments],
            cwd=here,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **_OF_A_CLUSTER, "TMPDIR": str(temporary), "PYTHONPATH": str(path)},
            start_new_session=True,
            preexec_fn=bound_files,
        )
        return Command(process, self)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Processes at work for this folder whose command line has all these words."""
        found = []
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
                ours = str(self.folder) in line or process.environ().get("TMPDIR", "").startswith(str(self.folder))
                if ours and all(word in line for word in words):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def step(self) -> psutil.Process:
        """The pipeline step at work, as soon as there is one."""

        def steps() -> list[psutil.Process]:
            return [child for server in self.processes("multiprocessing.forkserver") for child in server.children()]

        until(steps, PATIENCE, "a step at work")
        return steps()[0]

    def one(self, *words: str) -> psutil.Process:
        """The process with these words, as soon as there is one."""
        until(lambda: self.processes(*words), PATIENCE, f"a process with {words}")
        return self.processes(*words)[0]

    def empties(self) -> None:
        """Wait until no process is left."""
        until(lambda: not self.processes(), what="the end of all processes")

    def until(self, condition: Callable[[], object], command: "Command", what: str) -> None:
        """Wait for a moment of the run; that the command ends before is a failure."""
        assert until_either(condition, lambda: command.process.poll() is not None, PATIENCE, what), (
            f"the command ended before {what}: {command.end()}"
        )

    def has(self, *key: object) -> Callable[[], bool]:
        """Whether the run has an object."""
        return lambda: self.store.stat(self.run.key(*key)) is not None


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    error: str

    @property
    def summary(self) -> dict[str, Any]:
        """What it printed for programs."""
        assert self.code == 0, self
        return dict(json.loads(self.out))


@dataclass
class Command:
    """A command at work."""

    process: "subprocess.Popen[str]"
    laptop: Laptop

    def end(self) -> Ended:
        """Wait for its end; no process may be left then."""
        out, error = self.process.communicate(timeout=PATIENCE)
        self.laptop.empties()
        assert "Traceback" not in error, error
        return Ended(self.process.returncode, out, error)

    def interrupt(self) -> None:
        """Ctrl-C: the terminal sends it to all processes of the command."""
        os.killpg(self.process.pid, signal.SIGINT)
