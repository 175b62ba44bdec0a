"""What devices are asked, which meta model leads them, and what is kept of what they did."""

from pathlib import Path

import pytest

from cloud.inboxes import DirectoryInboxes
from cloud.searches import meta_models
from cloudedge.automl.meta.files import SHIPPED
from cloudedge.automl.meta.model import MetaModel
from cloudedge.documents import SampleField
from cloudedge.documents.kinds.search import Search
from cloudedge.documents.tasks.edge_automl import EdgeAutomlTask
from cloudedge.errors import InvalidInput, NotFound, QuorumMissed
from cloudedge.store import DirectoryStore
from components.begin.step import begin_run
from components.dispatch.step import dispatch_step
from components.edge_automl.records import DONE, SEARCH, used_meta_model
from components.wait.step import wait_step
from tests.cloud.searches.rows import kept
from tests.components.edge_automl.searches import SITES, Searches, delivery, task


@pytest.fixture
def inboxes(tmp_path: Path) -> DirectoryInboxes:
    inboxes = DirectoryInboxes(tmp_path / "inboxes")
    for name in SITES:
        inboxes.enroll(name)
    return inboxes


@pytest.fixture
def newest(store: DirectoryStore, tmp_path: Path) -> meta_models.MetaModelRecord:
    """A meta model that a run has trained, and that leads."""
    shipped = MetaModel.load(SHIPPED)
    MetaModel(shipped.card.model_copy(update={"trained_on": "searches"}), shipped._network).save(tmp_path / "trained")
    record = meta_models.put(store, tmp_path / "trained", run="meta-1")
    meta_models.settle(store, record)
    return record


def leads(store: DirectoryStore, asked: EdgeAutomlTask) -> str:
    """Run that trained the meta model of a run that orders now."""
    begin_run(asked)
    dispatch_step(asked.id, SEARCH)
    record = used_meta_model(Searches(store, asked).run)
    assert record is not None
    return record.run


def test_each_device_is_asked_with_the_tasks_settings_and_the_meta_models_files(
    store: DirectoryStore, inboxes: DirectoryInboxes
) -> None:
    asked = task(edges=("gate-1",), trials=2, backlog_share=0.2, inference_threads=2, model_name="meters")
    assert leads(store, asked) == ""
    (order,) = inboxes.read("gate-1").orders
    assert isinstance(order.work, Search)
    assert (order.work.name, order.work.trials, order.work.backlog_share, order.work.threads) == ("meters", 2, 0.2, 2)
    assert order.work.limits == asked.allowed.limits
    shipped = meta_models.shipped(store)
    assert {name: file.sha256 for name, file in order.inputs.items()} == {
        "meta": shipped.weights.sha256,
        "card": shipped.card.sha256,
    }


@pytest.mark.parametrize(("named", "run"), [("", "meta-1"), ("meta-1", "meta-1"), ("shipped", "")])
def test_the_newest_meta_model_leads_or_the_one_that_the_task_names(
    named: str, run: str, store: DirectoryStore, inboxes: DirectoryInboxes, newest: meta_models.MetaModelRecord
) -> None:
    assert leads(store, task(meta_model=named)) == run


def test_a_run_keeps_its_meta_model_when_a_newer_one_comes(
    store: DirectoryStore, inboxes: DirectoryInboxes, newest: meta_models.MetaModelRecord
) -> None:
    assert leads(store, task()) == "meta-1"
    meta_models.settle(store, meta_models.put(store, SHIPPED, run="meta-2"))
    dispatch_step("meters-1", SEARCH)
    record = used_meta_model(Searches(store, task()).run)
    assert record is not None
    assert record.run == "meta-1"


def test_a_task_that_is_mended_before_anybody_was_asked_is_led_by_the_meta_model_that_it_names_then(
    store: DirectoryStore, inboxes: DirectoryInboxes, newest: meta_models.MetaModelRecord
) -> None:
    with pytest.raises(NotFound, match="not enrolled: gate-7"):
        leads(store, task(edges=("gate-7",)))
    assert leads(store, task(edges=("gate-1",), meta_model="shipped")) == ""


def test_samples_that_are_no_images_are_refused_before_a_device_is_asked(
    store: DirectoryStore, inboxes: DirectoryInboxes
) -> None:
    table = task().data.model_copy(update={"fields": (SampleField(name="vibration"),)})
    with pytest.raises(InvalidInput, match="image"):
        leads(store, task(data=table))
    assert not any(inboxes.read(name).orders for name in SITES)


def test_searches_that_are_over_are_kept_though_their_run_fails_for_want_of_others(store: DirectoryStore) -> None:
    searches = Searches(store, task(quorum=3, deadline_seconds=0.1))
    searches.delivered(["gate-1", "gate-2"])
    store.put(searches.run.output_key(delivery("gate-2"), DONE), b"{}")
    with pytest.raises(QuorumMissed, match="got 2 results of the 3 it needs"):
        wait_step(searches.run.id, SEARCH)
    assert [row.device for row in kept(store)] == ["gate-1"]


def test_a_device_that_comes_too_late_is_left_out_and_the_others_are_kept(store: DirectoryStore) -> None:
    searches = Searches(store, task(quorum=1, deadline_seconds=0.1))
    searches.delivered(["gate-1", "gate-2"])
    delivered, page = wait_step(searches.run.id, SEARCH)
    assert delivered == 2
    assert "gate-10" in page
    assert {row.device for row in kept(store)} == {"gate-1", "gate-2"}
