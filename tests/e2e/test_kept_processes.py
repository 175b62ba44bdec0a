"""What a laptop's run has started serves the next one, whatever became of the run, and is gone when it should be."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from cloud.runs.run import Run as StoredRun
from cloudedge.errors import Cancelled, QuorumMissed, WorkFailed
from pipelines import Laptop, Task
from pipelines.laptop.home import Home
from tests.cloud.tracking.told import WARNINGS_OF_MLFLOW
from tests.digits import EDGES, digits_task
from tests.e2e.laptop import PATIENCE
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500), pytest.mark.filterwarnings(*WARNINGS_OF_MLFLOW)]

ENDLESS = {"training": {"epochs": 100_000}}


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """One for all tests: what it keeps, it keeps from test to test."""
    before = set(psutil.Process().children())
    with Laptop(tmp_path_factory.mktemp("kept") / "home") as laptop:
        yield laptop
    assert set(psutil.Process().children()) <= before


def task(task_id: str, **collaboration: Any) -> Task:
    """A task of one short round."""
    asked = {"rounds": 1, "training": {"epochs": 2}, **collaboration}
    return Task.of(digits_task(task_id)).changed({f"collaboration.{name}": value for name, value in asked.items()})


def at_work(parent: int | None = None) -> dict[str, int]:
    """Ids of what a Python keeps at work, by what it is."""
    found = {}
    for child in psutil.Process(parent).children():
        try:
            words = child.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if "edge.runner" in words:
            found[Path(words[words.index("--state") + 1]).name] = child.pid
        found |= {name: child.pid for name in ("edge.workers", "pipelines.laptop.local") if name in words}
    return found


def remove(home: Path) -> None:
    """At once, although what is at work may be writing there."""
    gone = Path(tempfile.mkdtemp(dir=home.parent))
    shutil.rmtree(home.rename(gone / "home"), ignore_errors=True)


def until_an_edge_trains(laptop: Laptop, run: str) -> None:
    store, key = Home(laptop.home).store, StoredRun(Home(laptop.home).store, run).key
    until(lambda: store.stat(key("rounds", "000001", "reports", f"{EDGES[0]}-1.json")), PATIENCE, "the first report")


def test_the_next_run_has_the_same_processes_whatever_became_of_the_one_before(laptop: Laptop, samples: Path) -> None:
    first = laptop.run(task("first"), samples, display=False)
    kept = at_work()
    assert set(kept) == {*EDGES, "edge.workers", "pipelines.laptop.local"}

    with pytest.raises(Exception, match="edge") as missed:
        laptop.run(task("late", **ENDLESS, round_deadline_seconds=1), samples, display=False)
    assert getattr(missed.value, "exit_code", None) == QuorumMissed.exit_code
    begun = laptop.submit(task("cancelled", **ENDLESS), samples)
    until_an_edge_trains(laptop, "cancelled")
    begun.cancel()
    with pytest.raises(Cancelled):
        begun.wait()
    second = laptop.run(task("second"), samples, display=False)

    assert at_work() == kept
    assert second.digest == first.digest
    for run in ("first", "second"):
        for edge in EDGES:
            said = (laptop.home / "logs" / run / f"{edge}.log").read_text()
            assert {words.split()[2].split(".")[0] for words in said.splitlines() if " INFO " in words} <= {run, "-"}
            assert f" {run}." in said


def test_a_run_whose_objects_somebody_deleted_begins_anew_edges_and_all_and_changes_no_byte(
    laptop: Laptop, samples: Path
) -> None:
    first = laptop.run(task("lost"), samples, display=False)
    digest, accuracy = first.digest, first.accuracy
    shutil.rmtree(laptop.home / "store" / "runs" / "lost")

    again = laptop.run(task("lost"), samples, display=False)

    assert again.digest == digest
    assert again.accuracy.equals(accuracy)


def test_an_interrupted_run_ends_what_it_was_doing_and_the_next_one_works(laptop: Laptop, samples: Path) -> None:
    def interrupt() -> None:
        until_an_edge_trains(laptop, "mine")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        laptop.run(task("mine", **ENDLESS), samples, display=False)
    assert laptop.open("mine").state == "stopped"
    assert [Home(laptop.home).inboxes.read(edge).orders for edge in EDGES] == [()] * 3
    kept = at_work()
    assert set(kept) == {*EDGES, "edge.workers"}

    assert laptop.run(task("next"), samples, display=False).state == "finished"

    assert kept.items() <= at_work().items()


def test_a_run_that_is_under_way_ends_with_its_laptop_and_goes_on_with_the_next_run(laptop: Laptop, samples: Path) -> None:
    long = task("long", rounds=8, training={"epochs": 20})
    run = laptop.submit(long, samples)
    until(
        lambda: Home(laptop.home).store.stat(StoredRun(Home(laptop.home).store, "long").key("pretrained", "record.json")),
        PATIENCE,
    )

    laptop.close()

    assert at_work() == {}
    with pytest.raises(WorkFailed, match="its laptop was closed"):
        run.wait()
    assert laptop.run(long, samples, display=False).state == "finished"


def test_what_nobody_uses_any_more_ends(laptop: Laptop, samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.laptop.kept.KEEP_SECONDS", 0)

    assert laptop.run(task("let-go"), samples, display=False).state == "finished"
    until(lambda: not at_work(), PATIENCE, "the end of what is kept")

    assert laptop.run(task("let-go"), samples, display=False).state == "finished"
    assert at_work() == {}


def test_who_begins_a_run_in_the_same_home_has_it_and_a_home_that_is_gone_keeps_nobody(laptop: Laptop, samples: Path) -> None:
    laptop.run(task("again"), samples, display=False)
    remove(laptop.home)
    assert laptop.run(task("again"), samples, display=False).state == "finished"
    kept = set(at_work().values())
    with Laptop(laptop.home) as other:
        assert other.run(task("others"), samples, display=False).state == "finished"
        assert not kept & set(at_work().values())

        remove(laptop.home)
        until(lambda: not at_work(), PATIENCE, "the end of what was kept for the home")


NOTEBOOK = """
import sys
from pathlib import Path
from pipelines import Laptop, Task
laptop = Laptop(sys.argv[1])
for number in (1, 2):
    laptop.run(Task.from_file(sys.argv[2]).changed(id=f"run-{number}"), sys.argv[3], display=False)
    try:
        print("done", flush=True)
        sys.stdin.readline()
    except KeyboardInterrupt:
        pass
sys.stdin.readline()
"""


def test_what_is_kept_outlives_an_interrupt_of_the_python_that_keeps_it_but_not_its_end(tmp_path: Path, samples: Path) -> None:
    task_file = task("mine").save(tmp_path / "task.json")
    command = [sys.executable, "-c", NOTEBOOK, str(tmp_path / "home"), str(task_file), str(samples)]
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        )
        stack.callback(process.kill)
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "done\n"
        kept = at_work(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # As Jupyter interrupts a cell.
        assert process.stdout.readline() == "done\n"
        assert at_work(process.pid) == kept
        everything = psutil.Process(process.pid).children(recursive=True)

        process.kill()

        _, left = psutil.wait_procs(everything, PATIENCE)
        assert left == []
