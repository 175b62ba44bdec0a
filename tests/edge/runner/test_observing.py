"""What a runner notes of its device, beside whatever it does."""

import sqlite3

from cloudedge.documents import Phase
from edge.folders import Folders
from edge.probes.telemetry import Telemetry
from tests.edge.runner.test_runner import LONG
from tests.edge.site import Site
from tests.waiting import until

OFTEN = ("--telemetry-seconds", "0.1")


def test_a_runner_looks_at_its_device_and_at_what_waits_also_while_it_works(site: Site) -> None:
    kept = Telemetry(Folders(site.state).telemetry)
    site.want()
    with site.running(*OFTEN):
        until(lambda: len(kept.looks()) > 2)
        assert all(each.resources.free_memory_cpu > 0 and not each.jobs for each in kept.looks())
        site.want(site.order(1, training=LONG), site.order(2, training=LONG))
        until(lambda: len(kept.looks()[-1].jobs) == 2)
    before = len(kept.looks())
    with site.running(*OFTEN):
        until(lambda: len(kept.looks()) > before)
    usual = kept.usual()
    assert usual is not None
    assert usual.looks > before
    assert usual.figures["waiting"].high <= 2


def test_no_order_fails_because_nothing_can_be_noted(site: Site) -> None:
    path = Folders(site.state).telemetry
    site.state.mkdir(parents=True)
    path.write_bytes(b"no database, and longer than the header of one. " * 100)
    order = site.order()
    site.want(order)
    with site.running(*OFTEN) as runner:
        site.finish(order)
        until(lambda: "what the device has to give is not noted" in runner.log.read_text())
        assert site.phase(order) == Phase.DONE
        said = runner.log.read_text().count("what the device has to give is not noted")
        path.unlink()
        until(lambda: bool(Telemetry(path).looks()))
    assert said == 1


def test_looks_of_a_later_version_stay_as_they_are(site: Site) -> None:
    path = Folders(site.state).telemetry
    site.state.mkdir(parents=True)
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 9")
    database.close()
    order = site.order()
    site.want(order)
    with site.running(*OFTEN) as runner:
        site.finish(order)
        until(lambda: "has version 9 of its tables" in runner.log.read_text())
