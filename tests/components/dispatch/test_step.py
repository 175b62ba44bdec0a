"""Dispatch: one order for each edge, once, however often the step is repeated."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from cloud.faults import Faults
from cloud.orders.dispatch import Participants, dispatch
from cloud.orders.issue import Assignment, StoredFile, renew
from cloud.runs.closing import close_orders
from cloud.runs.lifecycle import cancel
from cloud.step import step
from cloudedge.documents import Evaluate, Fusion, Phase, RemoteFile, Train
from cloudedge.errors import Cancelled, InvalidInput, NotFound
from cloudedge.store import DirectoryStore
from components.collaborative_training.pretrain.step import pretrain
from tests.components.cloud import Cloud, content
from tests.digits import EDGES


def test_each_edge_gets_an_order_for_the_pretrained_model(cloud: Cloud) -> None:
    cloud.pretrained()

    assert cloud.dispatched() == 3

    record = cloud.run.pretraining()
    assert record is not None
    for edge in EDGES:
        (order,) = cloud.orders(edge)
        assert order == cloud.run.order("1", edge)
        assert order.id == f"digits.1.{edge}.1"
        assert isinstance(order.work, Train)
        assert (order.work.kind, order.state, order.work.model_file_name) == ("train", "run", "tiny-digits.safetensors")
        assert (order.inputs["base"].sha256, order.inputs["base"].size) == (record.sha256, record.size)
        assert order.work.training == cloud.task.collaboration.training
        assert order.time_limit_seconds == cloud.task.collaboration.round_deadline_seconds
        assert (order.outputs["model"].once, order.manifest.once, order.report.once) == (True, True, False)


def test_without_named_edges_all_enrolled_ones_take_part(cloud: Cloud) -> None:
    cloud.pretrained(edges=())
    for edge in ("b", "a"):
        cloud.inboxes.enroll(edge)

    assert cloud.dispatched() == 2
    assert cloud.open_orders() == ["digits.1.a.1", "digits.1.b.1"]


def test_an_edge_that_enrolls_during_a_round_takes_part_in_the_next(cloud: Cloud) -> None:
    cloud.pretrained(edges=())
    cloud.inboxes.enroll("a")
    cloud.dispatched()
    cloud.inboxes.enroll("b")

    assert cloud.dispatched() == 1
    cloud.deliver("a")
    cloud.waited()
    cloud.round(1, [])
    assert cloud.dispatched(2) == 2


def test_repeated_it_changes_no_order_and_no_inbox(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    cloud.deliver("edge-1")
    cloud.report("edge-2", Phase.TRAINING, [0.1])
    before = content(cloud.store, cloud.run.key("rounds"))
    generations = [cloud.inboxes.read(edge).generation for edge in EDGES]

    assert cloud.dispatched() == 3

    assert content(cloud.store, cloud.run.key("rounds")) == before
    assert [cloud.inboxes.read(edge).generation for edge in EDGES] == generations


def test_after_its_orders_were_closed_a_round_asks_again_where_nothing_was_delivered(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    cloud.deliver("edge-1")
    close_orders(cloud.inboxes, cloud.task.id, Faults())

    cloud.dispatched()

    assert cloud.open_orders() == ["digits.1.edge-2.2", "digits.1.edge-3.2"]


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.DONE])
def test_an_edge_that_ended_without_a_result_is_asked_again(cloud: Cloud, phase: Phase) -> None:
    cloud.pretrained().dispatched()
    cloud.report("edge-1", phase)

    cloud.dispatched()

    assert cloud.open_orders() == ["digits.1.edge-1.2", "digits.1.edge-2.1", "digits.1.edge-3.1"]


def test_an_edge_whose_report_cannot_be_read_is_asked_again(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    (order,) = cloud.orders("edge-1")
    cloud.store.put(cloud.run.report_key(order), b"{")

    cloud.dispatched()

    assert [order.id for order in cloud.orders("edge-1")] == ["digits.1.edge-1.2"]


def test_edges_whose_orders_lead_to_where_the_store_was_are_asked_again(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A home that was moved or renamed: they could send neither a result nor word of why."""
    cloud.pretrained().dispatched()
    cloud.deliver("edge-1")
    moved = cloud.store.root.rename(tmp_path / "moved")
    monkeypatch.setenv("CLOUDEDGE_STORE", moved.as_uri())

    assert cloud.dispatched() == 3

    assert [order.id for order in cloud.orders("edge-2")] == ["digits.1.edge-2.2"]
    assert cloud.orders("edge-2")[0].report.url.startswith(moved.as_uri())
    assert [order.id for order in cloud.orders("edge-1")] == ["digits.1.edge-1.1"]


def test_a_round_that_has_its_results_orders_nothing_more(cloud: Cloud) -> None:
    cloud.pretrained(quorum=2).dispatched()
    cloud.report("edge-1", Phase.FAILED)
    cloud.deliver("edge-2")
    cloud.deliver("edge-3")
    cloud.waited()
    close_orders(cloud.inboxes, cloud.task.id, Faults())

    assert cloud.dispatched() == 3
    assert cloud.open_orders() == []


def test_orders_of_runs_that_are_over_leave_the_inbox_and_those_of_running_ones_stay(cloud: Cloud) -> None:
    over = Cloud(cloud.root, cloud.task.model_copy(update={"id": "over"}), cloud.cloud_data).pretrained()
    running = Cloud(cloud.root, cloud.task.model_copy(update={"id": "running"}), cloud.cloud_data).pretrained()
    over.dispatched()
    running.dispatched()
    # As a step leaves it whose process was killed while it closed its orders.
    over.store.put(
        over.run.key("state.json"), b'{"state": "failed", "exit_code": 6, "at": "2026-01-01T00:00:00Z", "message": "m"}'
    )

    cloud.pretrained().dispatched()

    assert [order.id for order in cloud.orders("edge-1")] == ["running.1.edge-1.1", "digits.1.edge-1.1"]


def test_rounds_end_when_the_base_model_reached_the_target_on_the_edges(cloud: Cloud) -> None:
    cloud.pretrained(target_accuracy=0.4, rounds=5).round(1, EDGES)

    assert cloud.dispatched(2) == 0
    assert cloud.open_orders() == ["digits.1.edge-1.1", "digits.1.edge-2.1", "digits.1.edge-3.1"]


def test_rounds_go_on_below_the_target_and_end_with_their_number(cloud: Cloud) -> None:
    cloud.pretrained(target_accuracy=0.41, rounds=2).round(1, EDGES)

    assert cloud.dispatched(2) == 3
    assert cloud.dispatched(3) == 0


def test_a_task_without_collaboration_orders_nothing(cloud: Cloud) -> None:
    cloud.task = cloud.task.model_copy(update={"collaborate": False})

    assert cloud.pretrained().dispatched() == 0
    assert cloud.open_orders() == []


def test_an_edge_that_is_not_enrolled_is_named(cloud: Cloud) -> None:
    for edge in EDGES:
        cloud.inboxes.enroll(edge)
    asked = cloud.task.collaboration.model_copy(update={"edges": ("edge-1", "nobody")})
    pretrain(cloud.task.model_copy(update={"collaboration": asked}), str(cloud.cloud_data))

    with pytest.raises(NotFound, match="not enrolled: nobody. Enrolled are: edge-1, edge-2, edge-3"):
        cloud.dispatched()


def test_without_any_edge_it_says_what_to_do(cloud: Cloud) -> None:
    with pytest.raises(InvalidInput, match="Enroll edges first, or ask for what needs none"):
        cloud.pretrained(edges=()).dispatched()


def test_a_round_before_its_base_model_is_refused(cloud: Cloud) -> None:
    with pytest.raises(NotFound, match="Round 2 of digits has no base model yet"):
        cloud.pretrained().dispatched(2)


def test_a_run_cancelled_while_orders_went_out_leaves_none_open(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    former = cloud.orders("edge-1")
    cancel(cloud.store, cloud.inboxes, cloud.task.id, "somebody", Faults())
    # A dispatch that had looked before the run was cancelled.
    cloud.inboxes.update("edge-1", lambda orders: [*orders, *former])

    with pytest.raises(Cancelled):
        cloud.waited()

    assert cloud.open_orders() == []


def test_only_orders_that_are_open_are_renewed_and_an_edge_that_was_removed_is_passed_over(cloud: Cloud) -> None:
    cloud.pretrained().dispatched()
    record = cloud.run.dispatched("1")
    assert record is not None
    cloud.inboxes.update("edge-2", lambda _: [])
    shutil.rmtree(cloud.root / "inboxes" / "edge-3")
    (former,) = cloud.orders("edge-1")

    with step(cloud.task.id, "wait-1") as work:
        renew(work, record.orders)

    assert cloud.orders("edge-1") == [former], "in a folder a URL stays as it is"
    assert cloud.orders("edge-2") == []
    assert cloud.inboxes.edges() == ["edge-1", "edge-2"]


def test_a_late_order_and_one_to_evaluate_are_renewed_with_the_models_that_they_had(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.pretrained(rounds=2, quorum=2).dispatched()
    cloud.report("edge-3", Phase.TRAINING)
    cloud.round(1, EDGES[:2])
    cloud.dispatched(2)
    record, pretraining, fused = cloud.run.dispatched("2"), cloud.run.pretraining(), cloud.run.fusion(1)
    assert record is not None
    assert pretraining is not None
    assert fused is not None
    assert record.late == {"edge-3": "1"}
    download = DirectoryStore.download

    def with_another_url(*arguments: Any, **options: Any) -> RemoteFile:
        file = download(*arguments, **options)
        return file.model_copy(update={"url": f"{file.url}?new"})

    monkeypatch.setattr(DirectoryStore, "download", with_another_url)

    with step(cloud.task.id, "wait-2") as work:
        renew(work, record.orders)
    bases = {edge: cloud.orders(edge)[0].inputs["base"] for edge in EDGES}
    assert {edge: base.sha256 for edge, base in bases.items()} == {
        "edge-1": fused.sha256,
        "edge-2": fused.sha256,
        "edge-3": pretraining.sha256,
    }
    assert bases["edge-3"].url.endswith("pretrained/model.safetensors?new")
    assert bases["edge-1"].url.endswith("rounds/000001/fused.safetensors?new")

    models = {
        "pretrained": StoredFile(cloud.run.pretrained_key, pretraining.sha256, pretraining.size),
        "fused": StoredFile(cloud.run.fused_key(1), fused.sha256, fused.size),
    }
    with step(cloud.task.id, "evaluate") as work:
        judging_them = Evaluate(model=cloud.task.model, data=cloud.task.data)
        dispatch(work, Assignment("evaluate", judging_them, models, {}, 60), Participants(EDGES))
        evaluating = cloud.run.dispatched("evaluate")
        assert evaluating is not None
        renew(work, evaluating.orders)
    judging = [order for order in cloud.orders("edge-1") if order.work.kind == "evaluate"]
    assert [{name: file.sha256 for name, file in order.inputs.items()} for order in judging] == [
        {"pretrained": pretraining.sha256, "fused": fused.sha256}
    ]
    assert all(file.url.endswith("?new") for order in judging for file in order.inputs.values())


def test_nobody_trains_for_a_rule_that_has_no_weight_for_an_edge(cloud: Cloud) -> None:
    given = Fusion(rule="given", parameters={"weights": {"edge-1": 1}})
    cloud.pretrained(edges=(), fusion=given)
    for edge in EDGES:
        cloud.inboxes.enroll(edge)

    with pytest.raises(InvalidInput, match="no weight for edge-2, edge-3"):
        cloud.dispatched()

    assert cloud.open_orders() == []
