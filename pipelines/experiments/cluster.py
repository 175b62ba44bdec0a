"""Runs on a cluster, from Python."""

import os
import time
from collections.abc import Generator, Mapping
from contextlib import closing
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from cloud import datasets
from cloud.inboxes import Inboxes
from cloud.runs.run import Run as StoredRun
from cloud.runs.state import is_done
from cloudedge.documents import TrainingTask
from cloudedge.errors import InvalidInput
from pipelines.display.live import last_words
from pipelines.experiments.run import Run, stored_run, stored_runs
from pipelines.experiments.sweep import Objective, Sweep
from pipelines.experiments.sweeping import Ground, Plan, run_sweep
from pipelines.experiments.task import Task
from pipelines.experiments.trials import Over
from pipelines.laptop.engine import LOG
from pipelines.laptop.on_cluster import worked_here
from pipelines.systems import system_of
from pipelines.target import Target, cluster_target

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from pipelines.experiments.data import Table
    from pipelines.kubeflow.answers import KubeflowRun
    from pipelines.kubeflow.client import Kubeflow

_LOOK_SECONDS = 0.5
_AT_ONCE_IN_KUBEFLOW = 4
_NAMES = ("store", "store_for_edges", "inboxes", "tracking_uri")


class Cluster:
    """Runs whose store, inboxes, edges and MLflow are a cluster's.

    Where Kubeflow is known, it runs the pipelines; elsewhere this machine does, with the same steps to the same bytes.
    """

    def __init__(
        self,
        *,
        kubeflow: str | None = None,
        namespace: str | None = None,
        folder: str | PathLike[str] = "cloudedge-cluster",
        **named: str,
    ) -> None:
        """Know a cluster: by the environment, as the guide for administrators sets it, or by what is named here.

        Args:
            kubeflow: Address of Kubeflow Pipelines; none: CLOUDEDGE_KUBEFLOW; empty: this machine runs the pipelines.
            namespace: The user's namespace there; none: CLOUDEDGE_KUBEFLOW_NAMESPACE.
            folder: Where this machine keeps logs and what passes, where it runs pipelines.
            named: store, store_for_edges, inboxes and tracking_uri, in place of CLOUDEDGE_STORE and so on.

        Raises:
            InvalidInput: the cluster is not named, or wrongly.
        """
        unknown = sorted(set(named) - set(_NAMES))
        if unknown:
            raise InvalidInput(f"A cluster has no {', '.join(unknown)}; it is named by: {', '.join(_NAMES)}.")
        self._variables = {f"CLOUDEDGE_{name.upper()}": value for name, value in named.items()}
        self._target: Target = cluster_target(**named)
        self._address = os.environ.get("CLOUDEDGE_KUBEFLOW", "") if kubeflow is None else kubeflow
        self._namespace = os.environ.get("CLOUDEDGE_KUBEFLOW_NAMESPACE", "") if namespace is None else namespace
        self._folder = Path(folder)
        self.tracking_uri = named.get("tracking_uri", os.environ.get("CLOUDEDGE_TRACKING_URI", ""))

    @property
    def inboxes(self) -> Inboxes:
        """The inboxes of its edges."""
        return self._target.inboxes

    def edges(self) -> list[str]:
        """Names of the edges that are enrolled."""
        return self._target.inboxes.edges()

    def put(self, name: str, samples: "str | PathLike[str] | Table", task: Task | None = None) -> str:
        """Put samples into the cluster's store, where steps find them; in place of what had the name.

        Args:
            name: Name of the dataset.
            samples: A folder, a file, or a DataFrame or a dictionary of arrays.
            task: The task whose data format samples in memory are in.

        Returns:
            What a run is given as its data: store:NAME.

        Raises:
            InvalidInput: they cannot be put.
        """
        if not isinstance(samples, str | PathLike):
            if task is None or not isinstance(task.document, TrainingTask):
                raise InvalidInput("Samples in memory are put in a task's data format: name the task, too.")
            from pipelines.experiments.data import write_data

            samples = write_data({"cloud": samples}, task.document.data, self._folder / "data") / "cloud"
        list(datasets.put(self._target.store, name, Path(samples)))
        return f"{datasets.SCHEME}{name}"

    def run(self, task: Task, data: str = "", test_data: str = "", *, compact: bool | None = None, display: bool = True) -> Run:
        """Run a task to its end, or go on with it where it was.

        Args:
            task: What is asked for.
            data: The cloud's samples, store:NAME (see `put`).
            test_data: Samples that nobody trains on, store:NAME.
            compact: Whether all rounds are one task of the pipeline; none: as suits the place.
            display: Whether to show what happens meanwhile.

        Raises:
            CloudedgeError: what made it fail.
        """
        if self._address:
            run = self._begun(task, data, test_data, compact)
            return run.follow() if display else run.wait()
        from pipelines.experiments.cell import live_display, no_display

        log = self._folder / "logs" / task.id / LOG
        with (
            live_display(partial(last_words, log)) if display else no_display() as shown,
            closing(self._worked_here(task, data, test_data, compact)) as looks,
        ):
            for stored in looks:
                shown(stored)
                time.sleep(_LOOK_SECONDS)
        return Run(stored, self)

    def submit(
        self,
        task: Task,
        data: str = "",
        test_data: str = "",
        *,
        compact: bool | None = None,
        experiment: str = "cloudedge",
    ) -> Run:
        """Have Kubeflow run a task, and return at once.

        Args:
            task: As for `run`.
            data: As for `run`.
            test_data: As for `run`.
            compact: As for `run`.
            experiment: Kubeflow's experiment that it is shown in.

        Raises:
            InvalidInput: no Kubeflow is known, the task cannot be run, or samples are named that no step can read.
            NotFound: there are no such samples.
            Conflict: a run of this task is under way or over, or its id belongs to one of another task.
        """
        from pipelines.kubeflow.submission import submission

        kubeflow = self._kubeflow()
        document, arguments = submission(task.document, {"data": data, "test_data": test_data}, self._target.store)
        return self._followed(kubeflow, kubeflow.submit(document, arguments, experiment, compact))

    def _begun(self, task: Task, data: str, test_data: str, compact: bool | None) -> Run:
        """A run on Kubeflow: the one that is under way or done, or a new one."""
        stored = StoredRun(self._target.store, task.id)
        stored.require_free_for(system_of(task.document).form.as_carried(task.document))
        if is_done(stored):
            return Run(stored, self)
        kubeflow = self._kubeflow()
        for under_way in kubeflow.under_way(task.id):
            return self._followed(kubeflow, under_way)
        return self.submit(task, data, test_data, compact=compact)

    def _followed(self, kubeflow: "Kubeflow", latest: "KubeflowRun") -> Run:
        from pipelines.kubeflow.progress import at_work, failure, refreshed

        stored = StoredRun(self._target.store, latest.task_id)

        def over() -> bool:
            nonlocal latest
            latest = refreshed(kubeflow, latest)
            if error := failure(latest, stored):
                raise error
            return latest.over

        return Run(stored, self, over, lambda: at_work(latest))

    def _worked_here(
        self, task: Task, data: str, test_data: str, compact: bool | None = None
    ) -> Generator[StoredRun, None, None]:
        return worked_here(task.document, data, test_data, self._target, self._folder, compact, self._variables)

    def _worked_on_kubeflow(self, task: Task, data: str, test_data: str) -> Generator[StoredRun, None, None]:
        run = self._begun(task, data, test_data, None)
        looked = time.monotonic()
        while True:
            yield StoredRun(self._target.store, task.id)
            if time.monotonic() - looked >= _LOOK_SECONDS:
                looked = time.monotonic()
                if run.is_over:
                    return

    def sweep(
        self,
        task: Task,
        over: Over,
        data: str = "",
        test_data: str = "",
        *,
        seeds: int = 1,
        trials: int | None = None,
        sampler: "BaseSampler | str | None" = None,
        objective: Objective | None = None,
        at_once: int | None = None,
        display: bool = True,
    ) -> Sweep:
        """Run a task with all combinations of some values, or with those that Optuna chooses, each as a pipeline run.

        Called again, it goes on where it was; what it interrupts in Kubeflow runs on meanwhile. MLflow shows the runs below
        one for the sweep.

        Args:
            task: What all runs have in common.
            over: Values to try by field, parts of the document joined by dots; for Optuna also its distributions.
            data: As for `run`.
            test_data: As for `run`.
            seeds: How many seeds each combination is run with, from the task's own on.
            trials: How many combinations Optuna chooses; none: all combinations are run.
            sampler: How it chooses, such as optuna.samplers.GPSampler(), or by its name, tpe or random; none: tpe.
            objective: How good a run is; more is better. None: its accuracy at the edges, or else on all test data.
            at_once: How many runs at a time; none: four in Kubeflow, so that edges train for one while pods of another start;
                else one.
            display: Whether to show what happens meanwhile.

        Raises:
            InvalidInput: there is no such field, or a combination cannot be run; nothing is run then.
            CloudedgeError: what no run can go on with, or why all of them failed.
        """
        work = self._worked_on_kubeflow if self._address else self._worked_here
        ground = Ground(
            lambda one: work(one, data, test_data),
            lambda stored: Run(stored, self),
            self._target.store,
            self.tracking_uri,
            self._folder / "sweeps",
            (_AT_ONCE_IN_KUBEFLOW if self._address else 1) if at_once is None else at_once,
        )
        return run_sweep(Plan(task, over, seeds, trials, sampler, objective), ground, display=display)

    def runs(self) -> list[Run]:
        """All runs of this cluster, sorted by their ids."""
        return [Run(stored, self) for stored in stored_runs(self._target.store)]

    def open(self, run_id: str) -> Run:
        """A run of this cluster.

        Raises:
            NotFound: there is no such run; names those that there are.
        """
        return Run(stored_run(self._target.store, run_id), self)

    def _kubeflow(self) -> "Kubeflow":
        from pipelines.kubeflow.client import Kubeflow, KubeflowSettings

        if not self._address:
            raise InvalidInput("No Kubeflow is known: set CLOUDEDGE_KUBEFLOW, or name it: Cluster(kubeflow='http://...').")
        return Kubeflow(KubeflowSettings(kubeflow=self._address, kubeflow_namespace=self._namespace))

    def __repr__(self) -> str:
        where: Mapping[str, str] = self._target.cluster or {}
        return f"Cluster({', '.join(f'{name}={value!r}' for name, value in where.items() if value)})"
