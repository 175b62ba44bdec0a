"""One fork server for all tests of the edge, because importing torch takes seconds."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.site import Site, fork_server, write_samples
from tests.waiting import until


@pytest.fixture(scope="session")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, "subprocess.Popen[bytes]"]]:
    """A shared fork server: its socket and its process."""
    socket = tmp_path_factory.mktemp("workers") / "workers.sock"
    with fork_server(socket) as process:
        yield socket, process


@pytest.fixture
def site(tmp_path: Path, workers: tuple[Path, "subprocess.Popen[bytes]"]) -> Site:
    """An edge with samples, whose runner uses the shared fork server."""
    socket, process = workers
    site = Site(tmp_path, socket, process.pid)
    until(lambda: not site.work(), what="the end of the work of whatever ran before")
    write_samples(site.samples / "first.jsonl")
    return site
