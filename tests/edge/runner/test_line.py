"""The line's service beside a real runner."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.line.settings import open_line
from tests.edge.line.site import LineSite, free_ports, services
from tests.edge.site import Site, gone
from tests.waiting import until


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An edge whose runner gets no work."""
    return Site(tmp_path)


@pytest.fixture
def line(site: Site) -> Iterator[LineSite]:
    """Its line."""
    line = LineSite(site.root)
    yield line
    line.close()


def test_where_no_line_is_no_service_runs(site: Site) -> None:
    site.want()
    with site.running() as runner:
        until(lambda: "at work" in runner.text())
        assert runner.family() == []


def test_a_runner_that_is_told_of_its_line_has_its_service(site: Site, line: LineSite) -> None:
    line.folders.line_settings.unlink()
    port, _, _ = free_ports(3)
    with site.running("--line", f"127.0.0.1:{port}") as runner:
        until(line.answers)
        assert line.settings.listen == f"127.0.0.1:{port}"
        assert len(services(runner)) == 1


def test_a_service_that_dies_is_started_again_and_ends_with_its_runner(site: Site, line: LineSite) -> None:
    with site.running() as runner:
        until(line.answers)
        (first,) = services(runner)
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: [process for process in services(runner) if process.pid != first.pid])
        until(line.answers)
        second = services(runner)
        runner.kill()
        until(gone(second), what="the end of the service")
    with site.running() as runner:
        until(line.answers)
        third = services(runner)
        assert runner.end() == 0
        assert gone(third)()


def test_a_line_that_is_opened_otherwise_has_its_service_anew(site: Site, line: LineSite) -> None:
    with site.running() as runner:
        until(line.answers)
        (first,) = services(runner)
        listen, join, page = (f"127.0.0.1:{port}" for port in free_ports(3))
        open_line(line.folders, listen, join, page)
        until(gone([first]))
        until(line.answers)
        assert line.line.add("north").startswith(f"{join}/north/")
        line.folders.line_settings.unlink()
        until(lambda: not services(runner))
