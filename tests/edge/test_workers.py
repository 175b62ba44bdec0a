"""The fork server by itself: one connection is one process, and nothing outlives what it belongs to."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from edge import sockets
from edge.messages import Job, line
from tests.edge.site import Site, gone
from tests.waiting import PATIENCE, until


def job(site: Site) -> bytes:
    return line(site.job(site.order()))


def messages(connection: socket.socket) -> list[dict[str, object]]:
    """All that is said until a job is done or the connection ends."""
    said: list[dict[str, object]] = []
    with connection.makefile("rb") as file:
        for text in filter(bytes.strip, file):
            said.append(json.loads(text))
            if said[-1].get("done"):
                break
    return said


def test_a_process_does_one_job_after_another(site: Site) -> None:
    assert site.workers is not None
    with sockets.connect(site.workers) as connection:
        for _ in range(3):
            connection.sendall(job(site))
            assert messages(connection)[-1] == {"done": True}
            assert len(site.work()) == 1


def test_the_last_message_tells_how_the_process_ended(site: Site) -> None:
    assert site.workers is not None
    with sockets.connect(site.workers) as connection:
        connection.sendall(b"nonsense\n")
        assert messages(connection) == [{"exit": 1}]


def test_a_process_whose_job_failed_does_no_other(site: Site) -> None:
    assert site.workers is not None
    failing = Job(order=site.order(), begun=False, state=str(site.state), samples=None, mirror_samples=False, file_roots=())
    with sockets.connect(site.workers) as connection:
        connection.sendall(line(failing) + job(site))
        *_, failed, last = messages(connection)
    assert "failed" in failed
    assert last == {"exit": 0}


def test_jobs_run_beside_each_other_and_the_end_of_one_ends_no_other(site: Site) -> None:
    assert site.workers is not None
    first, second = sockets.connect(site.workers), sockets.connect(site.workers)
    until(lambda: len(site.work()) == 2)
    first.close()
    until(lambda: len(site.work()) == 1)
    with second:
        second.sendall(job(site))
        assert messages(second)[-1] == {"done": True}
    until(lambda: not site.work())


def test_a_runner_that_shuts_its_side_ends_the_work_and_hears_of_it(site: Site) -> None:
    assert site.workers is not None
    with sockets.connect(site.workers) as connection:
        until(lambda: len(site.work()) == 1)
        connection.shutdown(socket.SHUT_WR)
        assert messages(connection)[-1]["exit"] in (0, 143)
    until(lambda: not site.work())


def test_the_server_has_one_thread(site: Site) -> None:
    assert site.workers is not None
    with sockets.connect(site.workers) as connection:
        connection.sendall(job(site))
        messages(connection)
    assert psutil.Process(site.server).num_threads() == 1


def test_work_dies_with_its_server_and_the_server_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    path = tmp_path / "workers.sock"
    command = [sys.executable, "-m", "edge.workers", "--socket", str(path), "--parent", str(parent.pid)]
    with parent, subprocess.Popen(command) as server:
        until(path.exists)
        with sockets.connect(path):
            until(lambda: psutil.Process(server.pid).children())
            family = psutil.Process(server.pid).children()
            parent.kill()
            assert server.wait(PATIENCE) == 0
            until(gone(family))
    assert not path.exists()


def test_a_server_whose_parent_is_gone_already_ends_at_once(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as parent:
        pass
    command = [sys.executable, "-m", "edge.workers", "--socket", str(tmp_path / "s"), "--parent", str(parent.pid)]
    assert subprocess.run(command, timeout=PATIENCE, check=False).returncode == 0


def test_a_socket_may_lie_deeper_than_the_kernel_takes_a_path(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 100) / ("e" * 100) / "workers.sock"
    with sockets.listen(path) as listener, sockets.connect(path) as connection:
        accepted, _ = listener.accept()
        with accepted:
            connection.sendall(b"hello")
            assert accepted.recv(5) == b"hello"
    assert path.stat().st_mode & 0o077 == 0


def test_a_socket_that_a_dead_server_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "workers.sock"
    sockets.listen(path).close()
    assert path.exists()
    with sockets.listen(path), sockets.connect(path) as connection:
        assert connection.fileno() > 0
