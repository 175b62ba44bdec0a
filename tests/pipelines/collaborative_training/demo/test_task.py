"""The demo's task."""

import pytest

from cloudedge.documents import TrainingTask, parse
from cloudedge.errors import InvalidInput
from pipelines.collaborative_training.demo.digits import edge_names
from pipelines.collaborative_training.demo.task import demo_task


def test_the_task_survives_being_written_and_read() -> None:
    task = demo_task(edges=6, rounds=7)
    assert parse(TrainingTask, task.to_json(), "demo.json") == task
    assert task.collaboration.edges == edge_names(6)
    assert task.collaboration.rounds == 7


def test_a_task_for_too_many_edges_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not 21"):
        demo_task(edges=21)
