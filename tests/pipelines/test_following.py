"""A run on Kubeflow in words, where what Kubeflow says comes in an order of its own."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from pipelines import following
from pipelines.kubeflow import Kubeflow, KubeflowRun, KubeflowTask

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OVER = KubeflowRun("1", "digits", "digits", "SUCCEEDED", BEGAN, BEGAN, (), "http://kubeflow/1", terminated=False)
TASK = KubeflowTask("pretrain", "Pretrain", "SUCCEEDED", BEGAN, BEGAN + timedelta(seconds=65))


class Later(Kubeflow):
    """Says how the tasks ended only after it has said that the run is over."""

    def __init__(self) -> None:
        self.looks = 0

    def refreshed(self, run: KubeflowRun) -> KubeflowRun:
        self.looks += 1
        return replace(run, tasks=(TASK,))


@pytest.mark.parametrize(
    ("at_first", "looks"),
    [((), 1), ((replace(TASK, state="RUNNING", ended=None),), 1), ((TASK,), 0)],
    ids=["no task is known", "one is said to run", "all is said"],
)
def test_how_the_tasks_ended_is_told_of_a_run_that_is_over(
    monkeypatch: pytest.MonkeyPatch, at_first: tuple[KubeflowTask, ...], looks: int
) -> None:
    monkeypatch.setattr(following, "_LOOK_SECONDS", 0.0)
    kubeflow, said = Later(), StringIO()

    run = following.follow(kubeflow, replace(OVER, tasks=at_first), None, Console(file=said))

    assert run.tasks == (TASK,)
    assert said.getvalue().splitlines()[-1] == "Pretrain: done after 1 min 5 s"
    assert kubeflow.looks == looks
