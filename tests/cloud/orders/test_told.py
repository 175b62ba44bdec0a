"""A round watched on a real MinIO, which says itself what was written."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import urllib3

from cloud.orders.watch import OrderWatch
from cloud.runs.run import Run
from cloud.runs.step_records import DispatchRecord, IssuedOrder
from cloud.stores import open_store
from cloudedge.documents import Manifest, Phase, Report, Trained, order_id
from tests.cluster.object_store import MinioServer
from tests.waiting import until

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def dispatched(minio: MinioServer, monkeypatch: pytest.MonkeyPatch, folder: Path, edges: int) -> Run:
    """A run whose first round went to some edges."""
    for name, value in minio.root.environment.items():
        monkeypatch.setenv(name, value)
    run = Run(open_store(f"{minio.url}/{minio.bucket()}", for_edges="", scratch=folder, patience_seconds=60), "run")
    names = tuple(f"edge-{number:03d}" for number in range(edges))
    orders = tuple(
        IssuedOrder(id=order_id("run", "1", edge, 1), edge=edge, step="1", attempt=1, issued_at=NOW) for edge in names
    )
    run.put(run.step_key("1", "dispatch.json"), DispatchRecord(edges=names, orders=orders))
    return run


def report(run: Run, order: IssuedOrder, sequence: int = 1) -> None:
    said = Report(order=order.id, edge=order.edge, sequence=sequence, phase=Phase.TRAINING, heartbeat_at=NOW)
    run.put(run.report_key(order), said)


def deliver(run: Run, order: IssuedOrder) -> None:
    trained = Trained(base_sha256="0" * 64, samples=1)
    run.put(run.manifest_key(order), Manifest(order=order.id, edge=order.edge, result=trained, seconds=1))


class Requests:
    """Counts what goes over HTTP from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        original = urllib3.connectionpool.HTTPConnectionPool.urlopen

        def urlopen(pool: Any, method: str, url: str, *arguments: Any, **options: Any) -> Any:
            self.asked.append(f"{method} {url.partition('?')[0].partition('/rounds/')[2]}")
            return original(pool, method, url, *arguments, **options)

        monkeypatch.setattr(urllib3.connectionpool.HTTPConnectionPool, "urlopen", urlopen)

    def of(self, watch: OrderWatch) -> tuple[list[str], Sequence[str]]:
        """Edges with a change, and what was asked for to know it."""
        self.asked.clear()
        changed = [watched.order.edge for watched in watch.look()]
        return changed, list(self.asked)


@pytest.mark.parametrize("edges", [3, 300])
def test_a_look_asks_for_what_changed_and_for_nothing_else(
    minio: MinioServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, edges: int
) -> None:
    run = dispatched(minio, monkeypatch, tmp_path, edges)
    watch = OrderWatch.of(run, "1")
    orders = [watched.order for watched in watch.edges.values()]
    for order in orders:
        report(run, order)
    requests = Requests(monkeypatch)
    with watch.told():
        until(lambda: requests.of(watch) == ([], []), what="being told")
        assert all(watched.report for watched in watch.edges.values())
        report(run, orders[1], sequence=2)
        until(lambda: requests.of(watch)[0] == ["edge-001"])
        assert requests.asked == ["GET 000001/reports/edge-001-1.json"]
        assert requests.of(watch) == ([], [])


def test_what_is_delivered_while_the_store_starts_again_is_seen(
    own_minio: MinioServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = dispatched(own_minio, monkeypatch, tmp_path, 3)
    watch = OrderWatch.of(run, "1")
    orders = [watched.order for watched in watch.edges.values()]
    requests = Requests(monkeypatch)
    with watch.told():
        until(lambda: requests.of(watch) == ([], []), what="being told")
        own_minio.kill()
        own_minio.start()
        deliver(run, orders[0])
        until(lambda: watch.look() or watch.delivered)
        until(lambda: requests.of(watch) == ([], []), what="being told again")
        deliver(run, orders[1])
        until(lambda: watch.look() or len(watch.delivered) == 2)
    assert watch.delivered == {"edge-000", "edge-001"}
    assert watch.pending == {"edge-002"}
