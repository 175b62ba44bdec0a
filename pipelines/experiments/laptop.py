"""Runs on this machine, from Python."""

import os
import threading
import weakref
from collections.abc import Generator
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cloud.inboxes import Inboxes
from cloud.runs.run import Run as StoredRun
from cloudedge.documents import TrainingTask
from cloudedge.errors import InvalidInput, WorkFailed
from pipelines.display.live import last_words
from pipelines.experiments.run import Run, stored_run, stored_runs
from pipelines.experiments.sweep import Objective, Sweep
from pipelines.experiments.sweeping import Ground, Plan, run_sweep
from pipelines.experiments.task import Task
from pipelines.experiments.trials import Over
from pipelines.laptop.data import Data
from pipelines.laptop.engine import LOG
from pipelines.laptop.home import DEFAULT, Home
from pipelines.laptop.kept import Kept
from pipelines.laptop.run import home_alone, require_runnable, run_task, worked_on
from pipelines.systems import system_of

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from pipelines.experiments.data import InMemory

_BEGIN_SECONDS = 0.05
_MOST_AT_ONCE = 8
"""Runs: each has PyTorch loaded once more."""


class Laptop:
    """Runs whose cloud and edges are processes of this machine; nothing of them outlives this one.

    What the first run starts stays at work, so that the next one begins at once; it ends with `close`, at the end of a `with`
    block, with this process, after ten minutes without a run, and when somebody else begins a run in the same home. It knows
    the modules and the machine as they were when it was started.

    Attributes:
        home: The folder that everything of them lives in.
    """

    def __init__(self, home: str | PathLike[str] = DEFAULT) -> None:
        """Use a folder, which is made when first written to.

        Raises:
            InvalidInput: its name is one that MLflow cannot be told.
        """
        self.home = Path(home)
        self._home = Home(self.home)
        self._kept = Kept(self._home)
        weakref.finalize(self, self._kept.close)

    @property
    def inboxes(self) -> Inboxes:
        """The inboxes of its edges."""
        return self._home.inboxes

    @property
    def tracking_uri(self) -> str:
        """MLflow's address, for `mlflow.set_tracking_uri` and `mlflow ui --backend-store-uri`."""
        return self._home.tracking_uri

    def run(
        self,
        task: Task,
        data: "str | PathLike[str] | InMemory | None" = None,
        *,
        edges: int | None = None,
        compact: bool | None = None,
        display: bool = True,
    ) -> Run:
        """Run a task to its end, or go on with it where it was.

        Args:
            task: What is asked for.
            data: The samples: a folder with cloud/, edges/EDGE/ and test/, or the same as a dictionary of DataFrames or of
                dictionaries of arrays, {'cloud': ..., 'edges': {EDGE: ...}, 'test': {ENVIRONMENT: ...}}; none: the demo's, if
                the task is about those.
            edges: Number of edges; none: all that have samples.
            compact: Whether all rounds are one task of the pipeline; none: beyond ten rounds.
            display: Whether to show what happens meanwhile.

        Returns:
            The finished run.

        Raises:
            CloudedgeError: what made it fail; what was done stays, and the same call goes on there.
        """
        from pipelines.experiments.cell import live_display, no_display

        samples = self._samples(task, data, edges)
        log = self._home.logs(task.id) / LOG
        with live_display(partial(last_words, log)) if display else no_display() as shown:
            return Run(run_task(task.document, samples, edges, self._kept, shown, compact), self)

    def submit(
        self,
        task: Task,
        data: "str | PathLike[str] | InMemory | None" = None,
        *,
        edges: int | None = None,
        compact: bool | None = None,
    ) -> Run:
        """Begin to run a task, and return at once; `Run.wait`, `follow` and `cancel` go on from there.

        Args:
            task: As for `run`.
            data: As for `run`.
            edges: As for `run`.
            compact: As for `run`.

        Raises:
            CloudedgeError: it cannot be begun.
        """
        samples = self._samples(task, data, edges)
        failures: list[BaseException] = []

        def work() -> None:
            try:
                run_task(task.document, samples, edges, self._kept, lambda _: None, compact)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work, name=f"run-{task.id}", daemon=True)
        thread.start()
        stored = StoredRun(self._home.store, task.id)
        while thread.is_alive() and not stored.exists():
            thread.join(_BEGIN_SECONDS)

        def over() -> bool:
            if thread.is_alive():
                return False
            if failures:
                raise failures[0]
            return True

        if not stored.exists():
            over()
        log = self._home.logs(task.id) / LOG
        return Run(stored, self, over, partial(last_words, log))

    def sweep(
        self,
        task: Task,
        over: Over,
        data: "str | PathLike[str] | InMemory | None" = None,
        *,
        seeds: int = 1,
        trials: int | None = None,
        sampler: "BaseSampler | str | None" = None,
        objective: Objective | None = None,
        at_once: int | None = None,
        display: bool = True,
    ) -> Sweep:
        """Run a task with all combinations of some values, or with those that Optuna chooses.

        Called again, it goes on where it was; with more values, seeds or trials, only what is new is run. A run that fails by
        itself, such as one whose training diverges, is left behind. MLflow shows the runs below one for the sweep.

        Args:
            task: What all runs have in common.
            over: Values to try by field, parts of the document joined by dots: {'collaboration.fusion.rule': ['samples',
                'median']}; for Optuna a field may also have one of its distributions.
            data: As for `run`.
            seeds: How many seeds each combination is run with, from the task's own on.
            trials: How many combinations Optuna chooses; none: all combinations are run.
            sampler: How it chooses, such as optuna.samplers.GPSampler(), or by its name, tpe or random; none: tpe.
            objective: How good a run is; more is better. None: its accuracy at the edges, or else on all test data; the other
                way round where the sweep is over the edges.
            at_once: How many runs at a time; none: as many as have a core for each of their edges, and two at least.
            display: Whether to show what happens meanwhile.

        Raises:
            InvalidInput: there is no such field, or a combination cannot be run; nothing is run then.
            CloudedgeError: what no run can go on with, or why all of them failed.
        """
        samples = self._samples(task, data, None)

        def work(one: Task) -> Generator[StoredRun, None, None]:
            yield StoredRun(self._home.store, one.id)
            yield from worked_on(one.document, samples, None, self._kept)

        ground = Ground(
            work,
            lambda stored: Run(stored, self),
            self._home.store,
            self.tracking_uri,
            self.home / "sweeps",
            _runs_at_once(task, samples, at_once),
            lambda one: require_runnable(one.document, samples),
            partial(home_alone, self._kept),
            self._kept.require_open,
        )
        return run_sweep(Plan(task, over, seeds, trials, sampler, objective), ground, display=display)

    def runs(self) -> list[Run]:
        """All runs of this home, sorted by their ids."""
        return [self._found(stored) for stored in stored_runs(self._home.store)]

    def open(self, run_id: str) -> Run:
        """A run of this home.

        Raises:
            NotFound: there is no such run; names those that there are.
        """
        return self._found(stored_run(self._home.store, run_id))

    def _found(self, stored: StoredRun) -> Run:
        """A run that somebody began, perhaps another process that has ended since."""

        def over() -> bool:
            state = stored.state()
            if state is not None and state.state != "running":
                return True
            if not self._home.is_in_use():
                raise WorkFailed(
                    f"Nobody works on the run {stored.id!r} any more. Run its task again: it goes on where it was."
                )
            return False

        return Run(stored, self, over)

    def close(self) -> None:
        """End what is at work, a run under way included; a further run starts it anew."""
        self._kept.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _samples(self, task: Task, data: "str | PathLike[str] | InMemory | None", edges: int | None) -> Data:
        if data is None:
            return Data(self.demo_data(task, edges))
        if isinstance(data, str | PathLike):
            return Data(Path(data))
        if not isinstance(task.document, TrainingTask):
            raise InvalidInput(f"Samples in memory are for collaborative training; {task.kind} reads files: name their folder.")
        from pipelines.experiments.data import require_edges, write_data

        require_edges(data, task.document)
        return Data(write_data(data, task.document.data, self._home.folder / "data"))

    def demo_data(self, task: Task, edges: int | None = None) -> Path:
        """Folder of a demo's samples in this home, for a task that is about those; they are laid out if they are not there.

        Args:
            task: The task.
            edges: Number of edges; none: as many as the task names, or as the demo has.

        Raises:
            InvalidInput: the task is about other samples, or they are not enough for so many edges.
        """
        found = system_of(task.document).demo_data(task.document, self._home.folder, edges)
        if found is None:
            raise InvalidInput(f"The task {task.id!r} is about other samples than the demo's: name yours with data=FOLDER.")
        return found

    def __repr__(self) -> str:
        return f"Laptop({str(self.home)!r})"


def _runs_at_once(task: Task, data: Data, asked: int | None) -> int:
    if asked is not None:
        return asked
    named = system_of(task.document).edges_of(task.document)
    edges = 0 if named is None else len(named or data.edges())
    return min(_cores(), _MOST_AT_ONCE, max(2, _cores() // max(1, edges)))


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
