"""A cluster's pipeline that this machine runs: what is looked at before it is started."""

from pathlib import Path
from typing import Any

import pytest

from cloud.runs.run import Run
from cloud.runs.state import set_state
from cloud.runs.step_records import RunState
from cloud.tracking.relay import Trouble
from cloudedge.errors import Conflict, InvalidInput
from pipelines.laptop import on_cluster
from pipelines.target import Target
from tests.components.cloud import Cloud


@pytest.fixture
def again(home: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run the home's task once more, with these changes, where no pipeline may be started."""

    def refuse(*_: object) -> None:
        raise AssertionError("a pipeline was started")

    monkeypatch.setattr(on_cluster, "pipeline_at_work", refuse)

    def run(watch: list[Run], data: str = "store:digits", **changes: Any) -> Run:
        task = home.task.model_copy(update=changes)
        target = Target(home.store, home.inboxes, None)
        watch += on_cluster.worked_here(task, data, "", target, tmp_path / "logs")
        return watch[-1]

    return run


def test_a_finished_run_is_shown_and_not_run_again(home: Cloud, again: Any) -> None:
    state = home.run.state()
    assert state is not None
    set_state(home.run, RunState(state="finished", at=state.at))
    seen: list[Run] = []

    assert again(seen).id == home.task.id

    assert [run.id for run in seen] == [home.task.id]


def test_a_finished_run_of_which_mlflow_has_not_all_is_run_again_so_that_it_is_told(home: Cloud, again: Any) -> None:
    state = home.run.state()
    assert state is not None
    set_state(home.run, RunState(state="finished", at=state.at))
    trouble = Trouble(message="It is away.", kind="away", at=state.at, until=state.at)
    home.store.put(home.run.key("tracking", "trouble.json"), trouble.to_json())

    with pytest.raises(AssertionError, match="a pipeline was started"):
        again([])


def test_an_id_of_another_task_is_refused(again: Any) -> None:
    with pytest.raises(Conflict, match="belongs to a run of another task"):
        again([], seed=77)


def test_what_kfp_would_replace_is_refused(again: Any) -> None:
    with pytest.raises(InvalidInput, match="cloud_data: found '/data/{{"):
        again([], data="/data/{{$}}")
    with pytest.raises(InvalidInput, match="name: found '{{"):
        again([], name="{{workflow.name}}")
