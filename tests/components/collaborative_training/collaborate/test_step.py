"""All rounds in one step: what the single steps do, until the run needs no further round."""

import threading

import pytest

from cloudedge.errors import QuorumMissed
from cloudedge.store import Entry
from components.collaborative_training.collaborate.step import collaborate_rounds
from components.collaborative_training.fuse.step import fuse_round
from tests.components.cloud import Cloud, content
from tests.digits import EDGES
from tests.waiting import until


def test_it_gives_what_the_single_steps_give(cloud: Cloud) -> None:
    cloud.pretrained()
    single = Cloud(cloud.root / "single", cloud.task, cloud.cloud_data)
    rounds: list[int] = []
    at_work = threading.Thread(target=lambda: rounds.append(collaborate_rounds(cloud.task.id)))
    at_work.start()
    for number in (1, 2):
        deliver_all(cloud, number)
    at_work.join()
    assert rounds == [2]

    together = {key: cloud.run.fusion(key) for key in (1, 2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLOUDEDGE_STORE", single.store.root.as_uri())
        patch.setenv("CLOUDEDGE_INBOXES", single.inboxes.root.as_uri())
        single.pretrained()
        for number in (1, 2):
            single.dispatched(number)
            for edge in EDGES:
                single.deliver(edge, 0.1 * number)
            single.waited(number)
            fuse_round(single.task.id, number)
    for number, record in together.items():
        other = single.run.fusion(number)
        assert record is not None
        assert other is not None
        assert record.sha256 == other.sha256


def deliver_all(cloud: Cloud, number: int) -> None:
    for edge in EDGES:
        until(lambda edge=edge: cloud.orders(edge) and cloud.orders(edge)[0].step == str(number))  # type: ignore[misc]
        cloud.deliver(edge, 0.1 * number)


def test_it_ends_early_at_the_target(cloud: Cloud) -> None:
    cloud.pretrained(rounds=100, target_accuracy=0.4).round(1, EDGES)

    assert collaborate_rounds(cloud.task.id) == 1


def test_without_collaboration_it_does_nothing(cloud: Cloud) -> None:
    cloud.task = cloud.task.model_copy(update={"collaborate": False})
    cloud.pretrained()

    assert collaborate_rounds(cloud.task.id) == 0


def test_repeated_after_all_rounds_it_orders_nothing_from_an_edge_that_had_failed(cloud: Cloud) -> None:
    cloud.pretrained(rounds=2, quorum=2).round(1, ["edge-1", "edge-2"])
    cloud.round(2, ["edge-1", "edge-2"])
    before = content(cloud.store, cloud.run.key("rounds"))
    generation = cloud.inboxes.read("edge-3").generation

    assert collaborate_rounds(cloud.task.id) == 2

    assert content(cloud.store, cloud.run.key("rounds")) == before
    assert cloud.inboxes.read("edge-3").generation == generation


def test_it_goes_on_in_the_round_where_it_failed(cloud: Cloud) -> None:
    cloud.pretrained(quorum=3, round_deadline_seconds=0.3).round(1, EDGES)
    with pytest.raises(QuorumMissed, match="Round 2"):
        collaborate_rounds(cloud.task.id)
    first: Entry | None = cloud.store.stat(cloud.run.round_key(1, "fusion.json"))

    cloud.dispatched(2)
    for edge in EDGES:
        cloud.deliver(edge)

    assert collaborate_rounds(cloud.task.id) == 2
    assert cloud.store.stat(cloud.run.round_key(1, "fusion.json")) == first
