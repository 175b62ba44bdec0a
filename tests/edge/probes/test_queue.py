"""Job: what waits on a device, read from its runner's ledger."""

from pathlib import Path

import pytest

from cloudedge.documents import Order, Phase, Point, Stream, Training
from cloudedge.documents.automl import Accelerator
from cloudedge.documents.report import MOST_SECONDS
from edge.clock import now
from edge.probes.queue import queue
from edge.runner.ledger import Entry, Ledger
from tests.edge.runner.test_reconciling import an_order
from tests.edge.searches.digits import order_of
from tests.edge.site import Site


def accepted(ledger: Ledger, *orders: Order) -> list[Entry]:
    entries = [Entry(order, Phase.ACCEPTED, now()) for order in orders]
    ledger.apply(1, "edge-1", entries, [], [], [])
    return entries


def test_an_order_under_way_still_takes_what_its_epochs_took_so_far(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    (entry,) = accepted(ledger, an_order(1, epochs=10))
    ledger.add_points(entry, [Point(sequence=4, seconds=2.0, values={})])
    (job,) = queue(tmp_path / "ledger.db", watts=5)
    assert job.runtime_cpu == pytest.approx(3.0)
    assert job.energy_cpu == pytest.approx(15.0)
    assert (job.nodes_cpu, job.runtime_npu, job.energy_npu, job.nodes_npu) == (1, None, None, None)
    assert 50 < job.latency_limit <= 60


def test_an_order_that_waits_takes_what_the_last_of_its_kind_took_an_epoch(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    done, _ = accepted(ledger, an_order(1, epochs=2), an_order(2, epochs=6))
    ledger.add_points(done, [Point(sequence=2, seconds=8.0, values={})])
    ledger.stand(
        Entry(done.order, Phase.DONE, done.accepted, progress=(Stream(name="epochs", done=2, total=2, unit="epochs"),))
    )
    (job,) = queue(tmp_path / "ledger.db")
    assert job.runtime_cpu == pytest.approx(24.0)
    assert job.energy_cpu == 0


def test_an_order_of_which_nothing_is_known_may_take_all_its_time_and_the_one_that_asks_is_none(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    first, second = an_order(1), an_order(2)
    accepted(ledger, first, second)
    (job,) = queue(tmp_path / "ledger.db", but=second.id)
    assert job.runtime_cpu == job.latency_limit


def test_a_search_that_trained_one_of_its_candidates_still_takes_the_others(tmp_path: Path) -> None:
    order = order_of(Site(tmp_path), trials=4, training=Training(epochs=10))
    ledger = Ledger(tmp_path / "ledger.db")
    (entry,) = accepted(ledger, order)
    ledger.add_points(entry, [Point(sequence=10, seconds=2.0, values={})])
    (job,) = queue(tmp_path / "ledger.db")
    assert job.runtime_cpu == pytest.approx(6.0)


def test_what_an_order_would_take_on_an_accelerator_is_told_by_its_description(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    (entry,) = accepted(ledger, an_order(1, epochs=10))
    ledger.add_points(entry, [Point(sequence=4, seconds=2.0, values={})])
    slow = Accelerator(name="slow", nodes=4, memory_bytes=1, speed=1e-300, watts=1e6)
    fast = Accelerator(name="Ascend 310", nodes=2, memory_bytes=1, speed=10, watts=8)
    (job,) = queue(tmp_path / "ledger.db", accelerators=(slow, fast))
    assert [job.runtime_npu, job.energy_npu, job.nodes_npu] == pytest.approx([0.3, 2.4, 2])
    (job,) = queue(tmp_path / "ledger.db", accelerators=(slow,))
    assert job.runtime_npu == MOST_SECONDS


def test_whatever_a_description_says_the_energy_of_the_longest_order_can_be_told(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    accepted(ledger, an_order(1).model_copy(update={"time_limit_seconds": 10_000_000}))
    (job,) = queue(tmp_path / "ledger.db", watts=1e6)
    assert job.energy_cpu == pytest.approx(1e13)


def test_without_a_runner_nothing_waits(tmp_path: Path) -> None:
    assert queue(tmp_path / "ledger.db") == ()
    assert not (tmp_path / "ledger.db").exists()
