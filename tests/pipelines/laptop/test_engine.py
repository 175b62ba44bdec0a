"""A pipeline that something kills goes on by itself; one that fails says why at once."""

import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.runs import events
from cloud.runs.run import Run
from cloud.runs.step_records import RunState
from cloudedge.errors import CloudedgeError
from cloudedge.store import DirectoryStore
from pipelines.laptop import engine
from pipelines.laptop.engine import Engine, Pipeline
from pipelines.laptop.job import Job
from tests.waiting import until

PATIENCE = 600
"""Seconds for a pipeline's processes, which begin one after the other, on a machine that has much else to do."""

STARTED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from cloudedge.store import DirectoryStore
from cloud.runs import events
from cloud.runs.step_records import RunState
from cloud.runs.run import Run
folder = Path(sys.argv[1])
number = len(list(folder.glob("start-*"))) + 1
(folder / f"start-{number}").touch()
run = Run(DirectoryStore(folder / "store"), "mine")
def done(step):
    events.record(run.store, run.id, "pipeline", "step-done", step=step, seconds=1)
def say(state, code):
    run.put(run.key("state.json"), RunState(state=state, message="as planned", exit_code=code, at=datetime.now(UTC)))
def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_PAUSE_SECONDS", 0)


def outcome(folder: Path, program: str) -> CloudedgeError | None:
    """What becomes of a pipeline that does this each time that it is started."""
    run = Run(DirectoryStore(folder / "store"), "mine")
    engine = Engine([sys.executable, "-c", STARTED + program, str(folder)], folder)
    pipeline = Pipeline(run, engine, job(folder))
    try:
        until(pipeline.over, PATIENCE, "the pipeline's end")
    except CloudedgeError as error:
        return error
    finally:
        pipeline.end()
        engine.end()
    return None


def job(folder: Path) -> Job:
    return Job("task.json", str(folder / "root"), False, {}, str(folder / "pipeline.log"), {})


def starts(folder: Path) -> int:
    return len(list(folder.glob("start-*")))


def told(folder: Path) -> list[str]:
    store = DirectoryStore(folder / "store")
    return [str(event.details["why"]) for _, event in events.events(store, "mine") if event.action == "resumed"]


@pytest.mark.parametrize(
    ("death", "how"), [("die()", "was killed by SIGKILL"), ("sys.exit(137)", "was killed by SIGKILL"), ("sys.exit(195)", "67")]
)
def test_one_that_is_killed_twice_goes_on_and_says_so(tmp_path: Path, death: str, how: str) -> None:
    assert outcome(tmp_path, f"if number < 3: {death}") is None

    assert starts(tmp_path) == 3
    assert [how in why for why in told(tmp_path)] == [True, True]
    assert not (tmp_path / "root").exists()


def test_one_that_dies_each_time_at_the_same_place_ends_with_the_way_out(tmp_path: Path) -> None:
    error = outcome(tmp_path, "done('pretrain'); die()")

    assert error
    assert error.exit_code == 8
    assert str(error) == (
        "The pipeline was killed by SIGKILL 3 times in a row and no step could say why; "
        f"see {tmp_path}/pipeline.log. The same command goes on where the run was."
    )
    assert starts(tmp_path) == 3


def test_one_that_gets_further_each_time_is_never_given_up(tmp_path: Path) -> None:
    assert outcome(tmp_path, "done(f'fuse-{number}')\nif number < 6: die()") is None

    assert starts(tmp_path) == 6


@pytest.mark.parametrize(
    ("end", "code", "message"),
    [
        ("say('failed', 6); sys.exit(1)", 6, "as planned"),
        ("say('stopped', 130); die()", 130, "as planned"),
        ("say('cancelled', 7); run.cancel(run.state()); die()", 7, "Run mine was cancelled"),
        ("sys.exit(1)", 8, "The pipeline ended with 1 and no step could say why"),
    ],
)
def test_one_that_fails_by_itself_is_not_repeated(tmp_path: Path, end: str, code: int, message: str) -> None:
    error = outcome(tmp_path, end)

    assert error
    assert error.exit_code == code
    assert str(error).startswith(message)
    assert starts(tmp_path) == 1
    assert told(tmp_path) == []


def test_what_an_earlier_try_said_is_no_reason_of_this_one(tmp_path: Path) -> None:
    run = Run(DirectoryStore(tmp_path / "store"), "mine")
    run.put(run.key("state.json"), RunState(state="failed", message="long ago", exit_code=6, at=datetime.now(UTC)))

    assert outcome(tmp_path, "if number == 1: die()") is None


ANSWERING = """
import sys
for code in map(int, sys.argv[1:]):
    sys.stdin.readline()
    print(code, flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(("code", "stays"), [(0, True), (1, True), (137, False)])
def test_the_next_pipeline_is_run_by_the_same_process_unless_something_killed_a_step(
    tmp_path: Path, code: int, stays: bool
) -> None:
    run = Run(DirectoryStore(tmp_path / "store"), "mine")
    engine = Engine([sys.executable, "-c", ANSWERING, str(code), "0"], tmp_path)
    processes = []
    try:
        for _ in range(2):
            with suppress(CloudedgeError):
                pipeline = Pipeline(run, engine, job(tmp_path))
                processes.append(engine._process)
                until(pipeline.over, PATIENCE, "the pipeline's end")
            pipeline.end()
    finally:
        engine.end()

    assert (processes[0] is processes[1]) is stays


def test_a_pipeline_that_is_interrupted_ends_with_its_process_and_the_next_has_another(tmp_path: Path) -> None:
    engine = Engine([sys.executable, "-c", "import sys; sys.stdin.readline(); sys.stdin.readline()"], tmp_path)
    processes = []
    for _ in range(2):
        pipeline = Pipeline(Run(DirectoryStore(tmp_path / "store"), "mine"), engine, job(tmp_path))
        processes.append(engine._process)
        assert not pipeline.over()
        pipeline.end()
        assert engine._process is None

    assert processes[0] is not processes[1]
