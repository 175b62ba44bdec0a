"""A run on Kubeflow in words, where what Kubeflow says comes in an order of its own."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from cloudedge.errors import NotFound
from pipelines.kubeflow import progress
from pipelines.kubeflow.answers import KubeflowRun, KubeflowTask
from pipelines.kubeflow.client import Kubeflow

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OVER = KubeflowRun("1", "digits", "digits", "SUCCEEDED", BEGAN, BEGAN, (), "http://kubeflow/1", terminated=False)
TASK = KubeflowTask("pretrain", "Pretrain", "SUCCEEDED", BEGAN, BEGAN + timedelta(seconds=65))
RUNNING = replace(TASK, state="RUNNING", ended=None)


class Later(Kubeflow):
    """Says how the tasks ended only after it has said that the run is over."""

    def __init__(self, tasks: tuple[KubeflowTask, ...] | None) -> None:
        self.looks = 0
        self._tasks = tasks

    def refreshed(self, run: KubeflowRun) -> KubeflowRun:
        self.looks += 1
        if self._tasks is None:
            raise NotFound("It was deleted.")
        return replace(run, tasks=self._tasks)


@pytest.mark.parametrize(
    ("at_first", "at_last", "looks", "word"),
    [
        ((), (TASK,), 1, "done after 1 min 5 s"),
        ((RUNNING,), (TASK,), 1, "done after 1 min 5 s"),
        ((TASK,), (TASK,), 0, "done after 1 min 5 s"),
        ((RUNNING,), (RUNNING,), 1, "running"),
        ((RUNNING,), None, 1, "running"),
    ],
    ids=["no task is known", "one is said to run", "all is said", "its end is never said", "the run is deleted"],
)
def test_how_the_tasks_ended_is_told_of_a_run_that_is_over(
    monkeypatch: pytest.MonkeyPatch,
    at_first: tuple[KubeflowTask, ...],
    at_last: tuple[KubeflowTask, ...] | None,
    looks: int,
    word: str,
) -> None:
    monkeypatch.setattr(progress, "_LOOK_SECONDS", 0.0)
    kubeflow, said = Later(at_last), StringIO()

    run = progress.follow(kubeflow, replace(OVER, tasks=at_first), None, Console(file=said))

    assert run.tasks == (at_first if at_last is None else at_last)
    assert said.getvalue().splitlines()[-1] == f"Pretrain: {word}"
    assert kubeflow.looks == looks
