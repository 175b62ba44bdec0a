"""What a runner notes of its device, beside whatever it does."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cloudedge.documents import Phase
from edge.folders import Folders
from edge.probes.resources import conditions
from edge.probes.telemetry import Telemetry
from tests.edge.runner.test_runner import LONG
from tests.edge.site import Site
from tests.waiting import until

OFTEN = ("--telemetry-seconds", "0.1")
TROUBLE = "how the device is, is not noted"


def noted(site: Site) -> list[dict[str, float]]:
    return [figures for _, figures in Telemetry(Folders(site.state).telemetry).looks(conditions(None))]


def test_a_runner_looks_at_its_device_and_goes_on_after_its_end(site: Site) -> None:
    site.want()
    with site.running(*OFTEN):
        until(lambda: len(noted(site)) > 2)
    before = noted(site)
    assert all(figures["free_memory_cpu"] > 0 and figures["waiting"] == 0 for figures in before)
    with site.running(*OFTEN):
        until(lambda: len(noted(site)) > len(before))


def test_while_it_works_it_notes_what_waits_and_not_what_it_takes_itself(site: Site) -> None:
    site.want(site.order(1, training=LONG), site.order(2, training=LONG))
    with site.running(*OFTEN):
        until(lambda: any(figures["waiting"] == 2 for figures in noted(site)))
        until(lambda: noted(site)[-1].keys() == {"waiting", "backlog"})
        assert noted(site)[-1]["backlog"] > 0
        site.want()
        until(lambda: "free_memory_cpu" in noted(site)[-1])


@pytest.mark.parametrize(
    "content",
    [
        b'{"busy_watts": -1}',
        b'{"control_groups": ["/sys/fs/cgroup/none/of/that/name"]}',
        b"no description",
    ],
)
def test_a_description_with_a_fault_is_told_once_and_ends_no_runner(site: Site, content: bytes) -> None:
    path = Folders(site.state).description
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    site.want()
    with site.running(*OFTEN) as runner:
        until(lambda: TROUBLE in runner.log.read_text())
        path.unlink()
        until(lambda: bool(noted(site)))
        assert runner.log.read_text().count(TROUBLE) == 1


def _no_database(path: Path) -> None:
    path.write_bytes(b"no database, and longer than the header of one. " * 100)


def _of_a_later_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 9")


@pytest.mark.parametrize("put", [_no_database, _of_a_later_version])
def test_no_order_fails_because_nothing_can_be_noted(site: Site, put: Callable[[Path], None]) -> None:
    path = Folders(site.state).telemetry
    path.parent.mkdir(parents=True)
    put(path)
    before = path.read_bytes()[100:]  # SQLite's header says who looked at it last.
    order = site.order()
    site.want(order)
    with site.running(*OFTEN) as runner:
        site.finish(order)
        until(lambda: TROUBLE in runner.log.read_text())
        assert "The file may be removed." in runner.log.read_text()
        assert site.phase(order) == Phase.DONE
        assert path.read_bytes()[100:] == before
        path.unlink()
        until(lambda: bool(noted(site)))
        assert runner.log.read_text().count(TROUBLE) == 1


def test_a_pipe_in_place_of_the_description_is_not_waited_for(site: Site) -> None:
    path = Folders(site.state).description
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    site.want()
    with site.running(*OFTEN) as runner:
        until(lambda: "it is no file" in runner.log.read_text())
