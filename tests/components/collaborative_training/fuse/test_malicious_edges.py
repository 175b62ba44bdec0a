"""The worst that an edge, or whoever stole its URLs, delivers to a real MinIO: it is refused, and named where a user looks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from cloud.runs.events import events
from cloud.runs.run import Run
from cloud.settings import Settings
from cloudedge import weights
from cloudedge.documents import Manifest, Order, TrainingTask, UploadTarget
from cloudedge.documents.manifest import MAX_MANIFEST_BYTES
from cloudedge.documents.report import MAX_REPORT_BYTES
from cloudedge.errors import QuorumMissed
from cloudedge.transport import Transport
from components.collaborative_training.fuse.step import fuse_round
from components.collaborative_training.pretrain.step import pretrain
from components.dispatch.step import dispatch_step
from components.wait.step import wait_step
from tests.cluster.object_store import MinioServer
from tests.components.cloud import Cloud, file_at, manifest, trained
from tests.digits import EDGES

HONEST, THIEF = EDGES[:2], EDGES[2]


@dataclass
class Attack:
    """A run on MinIO, whose edges the test plays, and what is asked of the store."""

    cloud: Cloud
    run: Run
    scratch: Path
    asked: list[str]

    def order(self, edge: str) -> Order:
        (order,) = self.cloud.orders(edge)
        return order

    def model(self, order: Order) -> Path:
        """What an edge trains: the base, a little changed."""
        base = self.scratch / f"{order.id}.base"
        Transport().fetch(order.inputs["base"], base)
        path = base.with_suffix(".safetensors")
        weights.save({name: tensor + 0.1 for name, tensor in weights.load(base).items()}, path)
        return path

    def manifest(self, order: Order, model: Path, **said: Any) -> Manifest:
        return manifest(order, trained(order, **said), {"model": file_at(model)})

    def deliver(self, *edges: str) -> None:
        for edge in edges:
            order = self.order(edge)
            model = self.model(order)
            assert put(order.outputs["model"], model.read_bytes()) == 200
            assert put(order.manifest, self.manifest(order, model).to_json()) == 200

    def dispatch(self, number: int = 1) -> None:
        dispatch_step(self.run.id, str(number))

    def end_round(self, number: int = 1) -> None:
        wait_step(self.run.id, str(number))
        fuse_round(self.run.id, number)

    def left_out(self) -> dict[str, str]:
        """Who was left out and why, as the operation log has it."""
        return self.told("left-out")

    def told(self, action: str) -> dict[str, str]:
        """Of whom the operation log tells this, and why."""
        told = [event for _, event in events(self.run.store, self.run.id) if event.action == action]
        return {event.details["edge"]: event.details["reason"] for event in told}


def put(target: UploadTarget, content: bytes) -> int:
    """What the store says to content of any size."""
    http = urllib3.PoolManager(retries=False)  # Its own, as a store that refuses closes the connection.
    return http.request("PUT", target.url, body=content, headers=target.headers).status


@pytest.fixture
def attack(cloud: Cloud, minio: MinioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attack:
    for name, value in minio.root.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CLOUDEDGE_STORE", f"{minio.url}/{minio.bucket()}")
    asked: list[str] = []
    original = urllib3.connectionpool.HTTPConnectionPool.urlopen

    def urlopen(pool: Any, method: str, url: str, *arguments: Any, **options: Any) -> Any:
        asked.append(f"{method} {url.partition('?')[0].rpartition('/rounds/')[2]}")
        return original(pool, method, url, *arguments, **options)

    monkeypatch.setattr(urllib3.connectionpool.HTTPConnectionPool, "urlopen", urlopen)
    collaboration = cloud.task.collaboration.model_copy(update={"quorum": 2, "rounds": 2, "round_deadline_seconds": 60})
    task = TrainingTask.model_validate(cloud.task.model_copy(update={"collaboration": collaboration}).model_dump())
    for edge in EDGES:
        cloud.inboxes.enroll(edge)
    pretrain(task, str(cloud.cloud_data))
    return Attack(cloud, Run(Settings().open_store(), task.id), tmp_path, asked)


Tampering = Callable[[Attack, Order], None]


def too_large_a_model(attack: Attack, order: Order) -> None:
    path = attack.scratch / "large"
    path.write_bytes(bytes(order.outputs["model"].max_bytes + 1))
    assert put(order.outputs["model"], path.read_bytes()) == 200
    assert put(order.manifest, attack.manifest(order, path).to_json()) == 200


def too_large_a_manifest(attack: Attack, order: Order) -> None:
    assert put(order.manifest, b" " * (MAX_MANIFEST_BYTES + 1)) == 200


def the_manifest_of_another_edge(attack: Attack, order: Order) -> None:
    other = attack.order(HONEST[0])
    assert put(order.manifest, attack.manifest(other, attack.model(other)).to_json()) == 200


def the_manifest_of_another_run(attack: Attack, order: Order) -> None:
    honest = attack.manifest(order, attack.model(order))
    foreign = honest.model_copy(update={"order": f"other.1.{THIEF}.1"})
    assert put(order.manifest, foreign.to_json()) == 200


@pytest.mark.parametrize(
    ("tampering", "reason"),
    [
        (too_large_a_model, "more than the 10"),
        (too_large_a_manifest, "more than the 4194304 bytes that are read"),
        (the_manifest_of_another_edge, "is about digits.1.edge-1.1, not digits.1.edge-3.1"),
        (the_manifest_of_another_run, "is about other.1.edge-3.1, not digits.1.edge-3.1"),
    ],
)
def test_what_is_no_result_is_left_out_and_the_round_goes_on(attack: Attack, tampering: Tampering, reason: str) -> None:
    attack.dispatch()
    tampering(attack, attack.order(THIEF))
    attack.deliver(*HONEST)

    attack.end_round()

    record = attack.run.fusion(1)
    assert record is not None
    assert [one.edge for one in record.contributions] == list(HONEST)
    assert {one.edge: reason in one.reason for one in record.left_out} == {THIEF: True}
    assert {edge: reason in told for edge, told in attack.left_out().items()} == {THIEF: True}
    assert f"GET 000001/results/{HONEST[0]}-1/model.safetensors" in attack.asked
    assert f"GET 000001/results/{THIEF}-1/model.safetensors" not in attack.asked


def test_a_report_that_is_too_large_is_told_of_and_its_edges_result_counts(attack: Attack) -> None:
    attack.dispatch()
    assert put(attack.order(THIEF).report, b" " * (MAX_REPORT_BYTES + 1)) == 200
    attack.deliver(*EDGES)

    attack.end_round()

    record = attack.run.fusion(1)
    assert record is not None
    assert [one.edge for one in record.contributions] == list(EDGES)
    assert attack.left_out() == {}
    assert "more than the 4194304 bytes that are read" in attack.told("misreported")[THIEF]


def the_old_manifest(attack: Attack, order: Order, old: Order, model: Path) -> None:
    assert put(order.outputs["model"], model.read_bytes()) == 200
    assert put(order.manifest, attack.manifest(old, model).to_json()) == 200


def the_old_result_under_the_new_order(attack: Attack, order: Order, old: Order, model: Path) -> None:
    assert put(order.outputs["model"], model.read_bytes()) == 200
    assert put(order.manifest, attack.manifest(order, model, base_sha256=old.inputs["base"].sha256).to_json()) == 200


@pytest.mark.parametrize(
    ("replay", "reason"),
    [
        (the_old_manifest, "is about digits.1.edge-3.1, not digits.2.edge-3.1"),
        (the_old_result_under_the_new_order, "was trained from another base than that of round 2"),
    ],
)
def test_a_result_of_an_earlier_round_is_left_out(
    attack: Attack, replay: Callable[[Attack, Order, Order, Path], None], reason: str
) -> None:
    attack.dispatch()
    old = attack.order(THIEF)
    model = attack.model(old)
    attack.deliver(*EDGES)
    attack.end_round()
    attack.dispatch(2)

    replay(attack, attack.order(THIEF), old, model)
    attack.deliver(*HONEST)
    attack.end_round(2)

    record = attack.run.fusion(2)
    assert record is not None
    assert [one.edge for one in record.contributions] == list(HONEST)
    assert {edge: reason in told for edge, told in attack.left_out().items()} == {THIEF: True}


def test_a_result_of_an_earlier_attempt_is_not_taken_for_a_later_ones(attack: Attack) -> None:
    attack.dispatch()
    first = {edge: attack.order(edge) for edge in EDGES}
    for edge in EDGES[1:]:
        assert put(first[edge].manifest, b"{") == 200
    attack.deliver(EDGES[0])
    with pytest.raises(QuorumMissed):
        wait_step(attack.run.id, "1")
    attack.dispatch()
    stale = attack.manifest(first[THIEF], attack.model(first[THIEF])).to_json()

    # Its first manifest was taken back as it was none, so that the old URL writes again; but nobody looks there any more.
    assert put(first[THIEF].manifest, stale) == 200
    assert put(attack.order(THIEF).manifest, stale) == 200
    attack.deliver(EDGES[1])
    attack.end_round()

    record = attack.run.fusion(1)
    assert record is not None
    assert [one.edge for one in record.contributions] == list(HONEST)
    assert "is about digits.1.edge-3.1, not digits.1.edge-3.2" in attack.left_out()[THIEF]


def test_a_result_that_was_delivered_stays_whoever_writes_again(attack: Attack) -> None:
    attack.dispatch()
    orders = {edge: attack.order(edge) for edge in EDGES}
    attack.deliver(*EDGES)

    for order in orders.values():
        assert put(order.outputs["model"], b"another model") == 412
        assert put(order.manifest, b"another manifest") == 412
    attack.end_round()

    record = attack.run.fusion(1)
    assert record is not None
    assert [one.edge for one in record.contributions] == list(EDGES)
    assert attack.left_out() == {}
