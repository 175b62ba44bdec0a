"""Pretraining: a run is created, once, and gets its first model."""

import pytest

from cloud.faults import Faults
from cloud.runs.events import events
from cloud.runs.lifecycle import cancel
from cloud.runs.state import set_state
from cloud.runs.step_records import RunState
from cloud.tracking import NOTE_TAG, Dataset, TrackingLog
from cloudedge.documents import Fusion, ModelSpec
from cloudedge.errors import Conflict, InvalidInput, InvalidSamples
from cloudedge.weights import check, layout
from components.collaborative_training.pretrain.step import pretrain
from tests.components.cloud import Cloud, content


def test_the_pretrained_model_is_in_the_store_with_its_record(cloud: Cloud) -> None:
    record = pretrain(cloud.task, str(cloud.cloud_data))

    with cloud.store.local(cloud.run.pretrained_key) as path:
        check(path, layout(path), sha256=record.sha256, size=record.size)
    assert cloud.run.pretraining() == record
    assert cloud.run.task() == cloud.task
    assert record.samples == sum(record.label_histogram.values()) < 60
    assert [epoch.epoch for epoch in record.history] == [0, 1]
    assert not list((cloud.root / "scratch" / cloud.task.id).iterdir())


def test_the_run_its_events_and_its_figures_are_kept(cloud: Cloud) -> None:
    pretrain(cloud.task, str(cloud.cloud_data))

    state = cloud.run.state()
    assert state is not None
    assert state.state == "running"
    assert [event.action for _, event in events(cloud.store, cloud.task.id)] == ["created", "pretrained", "step-done"]
    log = TrackingLog(cloud.store, cloud.task.id)
    assert [name for name, _ in log.versions()] == ["create", "pretrain"]
    whole, child = log.read("pretrain").records
    assert {(point.key, point.step) for point in child.metrics} == {
        *((key, step) for key in ("accuracy", "recall", "loss") for step in (0, 1)),
        ("train_loss", 1),
    }
    record = cloud.run.pretraining()
    assert record is not None
    assert (child.child, child.status, child.tags["cloudedge.sha256"]) == ("pretraining", "finished", record.sha256)
    trained_on = Dataset(name="cloud", fingerprint=record.data_fingerprint, samples=record.samples)
    assert whole.dataset == child.dataset == trained_on


def test_what_differs_between_any_two_runs_is_no_parameter(cloud: Cloud) -> None:
    pretrain(cloud.task, str(cloud.cloud_data))

    (said,) = TrackingLog(cloud.store, cloud.task.id).read("create").records
    assert said.params["collaboration.training.batch_size"] == "4"
    assert not {"id", "name", "schema_version"} & set(said.params)
    # Kubeflow names the run that it made itself.
    assert said.tags["cloudedge.run"] == cloud.task.id
    assert "mlflow.runName" not in said.tags
    assert cloud.task.name in said.tags[NOTE_TAG]


def test_other_samples_have_another_fingerprint(cloud: Cloud) -> None:
    record = pretrain(cloud.task, str(cloud.cloud_data))
    again = pretrain(cloud.task.model_copy(update={"id": "again"}), str(cloud.cloud_data))
    fewer = cloud.task.data.model_copy(update={"held_out": 0.5})
    other = pretrain(cloud.task.model_copy(update={"id": "other", "data": fewer}), str(cloud.cloud_data))

    assert again.data_fingerprint == record.data_fingerprint != other.data_fingerprint


def test_the_same_task_gives_the_same_model_anywhere(cloud: Cloud) -> None:
    first = pretrain(cloud.task, str(cloud.cloud_data))
    again = pretrain(cloud.task.model_copy(update={"id": "again"}), str(cloud.cloud_data))

    assert first.sha256 == again.sha256


def test_repeated_it_changes_nothing(cloud: Cloud) -> None:
    record = pretrain(cloud.task, str(cloud.cloud_data))
    before = content(cloud.store, cloud.run.key("pretrained"), cloud.run.key("tracking"))

    assert pretrain(cloud.task, "nowhere") == record
    assert content(cloud.store, cloud.run.key("pretrained"), cloud.run.key("tracking")) == before


def test_another_task_with_the_id_is_refused_and_the_run_goes_on_untouched(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    open_before = cloud.open_orders()
    other = cloud.task.model_copy(update={"seed": 4})

    with pytest.raises(Conflict, match="belongs to a run of another task"):
        pretrain(other, str(cloud.cloud_data))

    state = cloud.run.state()
    assert state is not None
    assert state.state == "running"
    assert cloud.open_orders() == open_before
    assert cloud.run.task() == cloud.task


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": ModelSpec(architecture="transformer")}, "There is no architecture 'transformer'"),
        ({"model": ModelSpec(parameters={"depth": 2})}, "depth: no such field"),
        ({"fusion": Fusion(rule="average")}, "There is no fusion rule 'average'"),
        ({"fusion": Fusion(rule="krum", parameters={"byzantine": 1})}, "byzantine: no such field"),
    ],
)
def test_a_wrong_word_is_found_before_training_and_may_be_mended_under_the_same_id(
    cloud: Cloud, change: dict[str, object], message: str
) -> None:
    if "fusion" in change:
        change = {"collaboration": cloud.task.collaboration.model_copy(update=change)}

    with pytest.raises(InvalidInput, match=message):
        pretrain(cloud.task.model_copy(update=change), str(cloud.cloud_data))

    state = cloud.run.state()
    assert state is not None
    assert (state.state, state.exit_code) == ("failed", 2)
    assert message in state.message

    pretrain(cloud.task, str(cloud.cloud_data))
    assert cloud.run.task() == cloud.task


def test_samples_that_are_missing_are_said_and_may_be_added(cloud: Cloud) -> None:
    empty = cloud.root / "empty"
    empty.mkdir()

    with pytest.raises(InvalidSamples):
        pretrain(cloud.task, str(empty))

    state = cloud.run.state()
    assert state is not None
    assert (state.state, state.exit_code) == ("failed", 2)
    pretrain(cloud.task, str(cloud.cloud_data))
    state = cloud.run.state()
    assert state is not None
    assert state.state == "running"


def test_a_cancelled_run_does_not_begin_again(cloud: Cloud) -> None:
    pretrain(cloud.task, str(cloud.cloud_data))
    cancel(cloud.store, cloud.inboxes, cloud.task.id, "somebody", Faults())

    with pytest.raises(Exception, match="was cancelled: By somebody"):
        pretrain(cloud.task, str(cloud.cloud_data))

    state = cloud.run.state()
    assert state is not None
    assert state.state == "cancelled"
    assert "failed" not in [event.action for _, event in events(cloud.store, cloud.task.id)]


def test_a_finished_run_stays_finished_when_a_step_is_repeated(cloud: Cloud) -> None:
    pretrain(cloud.task, str(cloud.cloud_data))
    finished = RunState(state="finished", at=cloud.run.state().at)  # type: ignore[union-attr]
    set_state(cloud.run, finished)

    pretrain(cloud.task, str(cloud.cloud_data))

    assert cloud.run.state() == finished
