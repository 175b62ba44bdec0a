"""Whatever is killed, cut off or full: the model ends as the same bytes, or the order with a message."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudedge.documents import Order, Phase, Recollection, Training
from edge.folders import Folders
from edge.runner.ledger import Ledger
from edge.runner.orders import MOST_CRASHES
from tests.edge.site import RunnerProcess, Site, gone, write_samples
from tests.waiting import PATIENCE, until

WORK = Training(epochs=120, batch_size=4, learning_rate=0.02, optimizer="adam")
SLOW = Training(epochs=3, batch_size=1, learning_rate=0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, workers: tuple[Path, "subprocess.Popen[bytes]"]) -> str:
    """Digest of the model that undisturbed work ends with."""
    site = Site(tmp_path_factory.mktemp("undisturbed"), workers[0], workers[1].pid)
    write_samples(site.samples / "first.jsonl")
    order = site.order(training=WORK)
    site.want(order)
    with site.running():
        site.finish(order)
    return site.model_digest(order)


def kill_runner(site: Site, runner: RunnerProcess) -> RunnerProcess:
    runner.kill()
    until(lambda: not site.work(), what="the end of the work")
    return site.start()


def kill_work(site: Site, runner: RunnerProcess) -> RunnerProcess:
    for process in site.work():
        with suppress(psutil.NoSuchProcess):  # It may be dying from the kill before.
            process.kill()
    return runner


def _are_survived(kills: Iterable[Callable[[Site, RunnerProcess], RunnerProcess]]) -> bool:
    """Whether work dies less often than makes an order fail, though it came no further between two of its deaths."""
    return sum(kill is kill_work for kill in kills) < MOST_CRASHES


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kills=st.lists(
        st.tuples(st.sampled_from([kill_runner, kill_work]), st.integers(0, WORK.epochs)), min_size=1, max_size=3
    ).filter(lambda kills: _are_survived(kill for kill, _ in kills))
)
def test_kills_at_any_epoch_change_no_byte(
    tmp_path_factory: pytest.TempPathFactory,
    workers: tuple[Path, "subprocess.Popen[bytes]"],
    undisturbed: str,
    kills: list[tuple[Callable[[Site, RunnerProcess], RunnerProcess], int]],
) -> None:
    site = Site(tmp_path_factory.mktemp("killed"), workers[0], workers[1].pid)
    write_samples(site.samples / "first.jsonl")
    order = site.order(training=WORK)
    site.want(order)
    runner = site.start()
    try:
        for kill, epoch in sorted(kills, key=lambda pair: pair[1]):
            until(lambda epoch=epoch: site.epochs(order) >= epoch or ended(site, order))  # type: ignore[misc]
            runner = kill(site, runner)
        site.finish(order)
    finally:
        runner.kill()
    assert site.model_digest(order) == undisturbed
    assert site.manifest(order).outputs["model"].sha256 == undisturbed
    assert [point.sequence for point in site.history(order)] == list(range(WORK.epochs + 1))


def ended(site: Site, order: Order) -> bool:
    phase = site.phase(order)
    return phase is not None and phase.over


@pytest.mark.parametrize("phase", ["accepted", "fetching", "collecting", "training", "evaluating", "uploading"])
def test_a_runner_killed_in_any_phase_changes_no_byte(site: Site, undisturbed: str, phase: str) -> None:
    order = site.order(training=WORK)
    site.want(order)
    wanted = Phase(phase)
    runner = site.start()
    try:
        until(lambda: Folders(site.state).ledger.exists())
        ledger = Ledger(Folders(site.state).ledger)
        phases = list(Phase)
        until(lambda: any(phases.index(entry.phase) >= phases.index(wanted) for entry in ledger.entries(latest=1)))
        runner = kill_runner(site, runner)
        site.finish(order)
    finally:
        runner.kill()
    assert site.model_digest(order) == undisturbed


def test_samples_that_arrive_after_a_crash_wait_for_the_next_order(site: Site, undisturbed: str) -> None:
    order = site.order(training=WORK)
    site.want(order)
    runner = site.start()
    try:
        until(lambda: site.epochs(order) > 2)
        runner.kill()
        write_samples(site.samples / "a-second.jsonl", seed=1)
        runner = site.start()
        site.finish(order)
        later = site.order(2)
        site.want(later)
        site.finish(later)
    finally:
        runner.kill()
    assert site.model_digest(order) == undisturbed
    assert site.trained(later).samples == 60


def test_a_kill_between_collections_changes_no_byte(site: Site, tmp_path: Path) -> None:
    target = Training(epochs=8, batch_size=4, learning_rate=1e-5, target_accuracy=1.0)
    digests = []
    for disturbed in (False, True):
        place = Site(tmp_path / str(disturbed), site.workers, site.server)
        write_samples(place.samples / "first.jsonl")
        order = place.order(training=target, recollection=Recollection(most=1, wait_seconds=60))
        place.want(order)
        runner = place.start()
        try:
            until(lambda place=place, order=order: place.phase(order) is Phase.COLLECTING and place.epochs(order) == 8)  # type: ignore[misc]
            if disturbed:
                runner = kill_runner(place, runner)
            write_samples(place.samples / "second.jsonl", seed=1)
            until(lambda place=place, order=order: place.epochs(order) > 8)  # type: ignore[misc]
            if disturbed:
                runner = kill_runner(place, runner)
            place.finish(order)
        finally:
            runner.kill()
        assert place.trained(order).recollections == 1
        digests.append(place.model_digest(order))
    assert digests[0] == digests[1]


def test_work_that_dies_three_times_without_progress_fails_with_the_signal(site: Site) -> None:
    write_samples(site.samples / "many.jsonl", 20_000, seed=2)
    order = site.order(training=SLOW)
    site.want(order)
    with site.running():
        for _ in range(3):
            until(lambda: (report := site.report(order)) and report.phase is Phase.TRAINING and site.work())
            (work,) = site.work()
            work.kill()
            until(lambda: work not in site.work())  # noqa: B023  # It is asked now.
        report = site.finish(order, Phase.FAILED)
    assert report.error is not None
    assert "SIGKILL" in report.error.message


def test_a_process_is_kept_for_the_next_order_and_replaced_if_it_died_meanwhile(site: Site) -> None:
    with site.running():
        first, second, third = site.order(1), site.order(2), site.order(3)
        site.want(first)
        site.finish(first)
        (work,) = site.work()
        site.want(second)
        site.finish(second)
        assert site.work() == [work]
        work.kill()
        until(lambda: work not in site.work())
        site.want(third)
        site.finish(third)
        assert site.work() not in ([], [work])
    assert "died" not in (site.root / "runner.log").read_text()


def test_an_idle_process_is_let_go(site: Site) -> None:
    with site.running("--keep-workers-seconds", "0.1"):
        order = site.order()
        site.want(order)
        site.finish(order)
        until(lambda: not site.work())


def test_an_own_fork_server_that_is_killed_is_replaced_and_changes_no_byte(site: Site, undisturbed: str) -> None:
    alone = Site(site.root)
    order = alone.order(training=WORK)
    alone.want(order)
    with alone.running("--keep-workers-seconds", "0.5") as runner:
        until(lambda: alone.epochs(order) > 2)
        server, work = runner.family()
        server.kill()
        until(gone([work]), what="the end of the orphan")
        alone.finish(order)
        until(lambda: not runner.family(), what="the end of the idle fork server")
    assert alone.model_digest(order) == undisturbed


def test_a_shared_fork_server_that_dies_is_replaced_by_an_own_one(site: Site, undisturbed: str) -> None:
    from tests.edge.site import fork_server

    socket = site.root / "shared.sock"
    place = Site(site.root, socket)
    order = place.order(training=WORK)
    place.want(order)
    with fork_server(socket) as server, place.running() as runner:
        until(lambda: place.epochs(order) > 2)
        server.kill()
        server.wait()
        place.finish(order)
        assert "starting a fork server of our own" in runner.text()
    assert place.model_digest(order) == undisturbed


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_survives_its_runner(site: Site, number: int) -> None:
    alone = Site(site.root)
    order = alone.order(training=Training(epochs=100_000, batch_size=4))
    alone.want(order)
    runner = alone.start(start_new_session=True)
    try:
        until(lambda: alone.epochs(order) > 2)
        family = runner.family()
        assert len(family) == 2
        if number == signal.SIGINT:
            os.killpg(runner.process.pid, number)  # As Ctrl-C in a terminal does.
        else:
            runner.process.send_signal(number)
        code = runner.process.wait(PATIENCE)
        until(gone(family), what="the end of its processes")
    finally:
        runner.process.kill()
    assert code == {signal.SIGKILL: -9, signal.SIGTERM: 0, signal.SIGINT: 130}[number]  # type: ignore[index]
    assert "Traceback" not in runner.text()


def test_a_runner_ends_with_its_parent(site: Site) -> None:
    order = site.order(training=Training(epochs=100_000, batch_size=4))
    site.want(order)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as parent:
        runner = site.start("--parent", str(parent.pid))
        until(lambda: site.epochs(order) > 2)
        parent.kill()
    assert runner.process.wait(PATIENCE) == 0
    until(lambda: not site.work(), what="the end of the work")


def test_a_second_runner_on_the_same_state_is_refused(site: Site) -> None:
    site.want()
    with site.running() as first:
        until(lambda: "at work" in first.text())
        second = site.start()
        assert second.process.wait(PATIENCE) == 4
        assert "Another runner works in" in second.text()


def test_a_dead_inbox_ends_an_idle_runner(site: Site) -> None:
    order = site.order()
    site.want(order)
    with site.running() as runner:
        site.finish(order)
        (site.inbox / "..data").unlink()
        assert runner.process.wait(PATIENCE) == 0
        assert "the inbox has died" in runner.text()


def test_a_dead_inbox_ends_a_runner_after_an_epoch_and_work_goes_on_from_its_checkpoint(site: Site) -> None:
    write_samples(site.samples / "many.jsonl", 20_000, seed=2)  # An epoch takes seconds, the look into the inbox less.
    order = site.order(training=SLOW)
    site.want(order)
    with site.running() as runner:
        until(lambda: site.phase(order) is Phase.TRAINING)
        saved = site.root / "saved"
        site.inbox.rename(saved)
        assert runner.process.wait(PATIENCE) == 0
    epoch = Ledger(Folders(site.state).ledger).points(order.id, 2)[-1].sequence
    assert (site.state / "checkpoints" / f"{order.id}.safetensors").exists() is (epoch > 0)
    saved.rename(site.inbox)
    with site.running():
        site.finish(order)
    assert len(site.history(order)) == SLOW.epochs + 1


def _limit_files(runner: RunnerProcess, size: int) -> None:
    for process in (psutil.Process(runner.process.pid), *runner.family()):
        with suppress(psutil.NoSuchProcess):  # Work that cannot go on ends at any moment.
            process.rlimit(psutil.RLIMIT_FSIZE, (size, psutil.RLIM_INFINITY))


def test_a_full_disk_holds_work_up_and_loses_nothing(site: Site) -> None:
    """Files may not grow beyond 20 kB: the fork server's children inherit the limit and cannot store the samples."""
    write_samples(site.samples / "many.jsonl", 2000, seed=2)
    alone = Site(site.root)
    order = alone.order()
    alone.want(order)
    with alone.running() as runner:
        until(lambda: alone.report(order))
        until(lambda: len(runner.family()) >= 1)
        _limit_files(runner, 20_000)
        until(lambda: "interrupted" in runner.text() or "Cannot" in runner.text())
        assert not ended(alone, order)
        until(lambda: len(runner.family()) >= 1)
        _limit_files(runner, psutil.RLIM_INFINITY)
        alone.finish(order)
    assert alone.trained(order).samples == 1530
