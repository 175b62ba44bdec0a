"""What is said to who deletes runs, and what a list of runs costs."""

import io
import os
import time
from pathlib import Path

import pytest

from cloud.runs.run import Run
from cloud.runs.state import BETWEEN_STEPS
from cloud.runs.step_records import RunState
from cloudedge.documents import FusionRecord
from pipelines.display.summary import overview
from pipelines.laptop.home import Home
from tests.cloud.runs.builders import NOW, Cloud
from tests.cloud.watched_store import WatchedStore
from tests.terminal import Cloudedge


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with the runs old, new and living."""
    home = Home(tmp_path)
    cloud = Cloud(tmp_path)
    for name, state, days in (("old", "finished", 31), ("new", "failed", 0), ("living", "running", 0)):
        run = cloud.run(name, state)
        run.store.put(run.key("alive"), BETWEEN_STEPS)
        for part in ("alive", "state.json"):
            with run.store.local(run.key(part)) as path:
                os.utime(path, (time.time() - 86_400 * days - (part == "alive") * 5,) * 2)
        (home.logs(name) / "pipeline.log").write_text("said")
    (home.folder / "scratch" / "old").mkdir(parents=True)
    return home


def ids(home: Home) -> list[str]:
    return list(home.store.folders("runs"))


def test_a_run_is_deleted_with_its_logs_and_again_is_no_error(home: Home, cloudedge: Cloudedge) -> None:
    done = cloudedge("tasks", "delete", "old", "new", "--home", home.folder)
    assert (done.code, done.out) == (0, "Run old is deleted: 3 objects.\nRun new is deleted: 3 objects.\n")
    assert ids(home) == ["living"]
    assert [path.name for path in (home.folder / "logs").iterdir()] == ["living"]
    assert list((home.folder / "scratch").iterdir()) == []
    again = cloudedge("tasks", "delete", "old", "--home", home.folder)
    assert again.code == 0
    assert again.out.startswith("Run old was deleted already, on 2")
    (row,) = cloudedge("tasks", "delete", "old", "--home", home.folder, "--json").json
    assert (row["id"], row["objects"], row["already"]) == ("old", 0, True)


def test_one_run_that_cannot_be_deleted_is_named_before_any_is(home: Home, cloudedge: Cloudedge) -> None:
    refused = cloudedge("tasks", "delete", "old", "living", "nothing", "..", "--home", home.folder)
    assert (refused.code, refused.out) == (4, "")
    first, second, third = refused.err.splitlines()
    assert first == "Run living is under way: cancel it first (cloudedge tasks cancel living)."
    assert second == "There is no run 'nothing'; there are: living, new, old."
    assert third.startswith("'..' is not a name of a task")
    assert ids(home) == ["living", "new", "old"]


def test_runs_are_deleted_by_age_once_that_is_confirmed(home: Home, cloudedge: Cloudedge) -> None:
    asked = cloudedge("tasks", "delete", "--older-than", "30d", "--home", home.folder)
    assert (asked.code, asked.out) == (2, "")
    assert asked.err == "old\n1 run would be deleted: add --yes, as there is nobody to ask here.\n"
    assert ids(home) == ["living", "new", "old"]
    done = cloudedge("tasks", "delete", "--older-than", "30d", "--yes", "--home", home.folder)
    assert (done.code, done.out) == (0, "Run old is deleted: 3 objects.\n")
    assert ids(home) == ["living", "new"]
    none = cloudedge("tasks", "delete", "--older-than", "720h", "--home", home.folder)
    assert (none.code, none.out) == (0, "No run is over and untouched for 720h.\n")


@pytest.mark.parametrize(("answer", "left"), [("y", ["living", "new"]), ("n", ["living", "new", "old"])])
def test_who_sits_at_a_terminal_is_asked(
    home: Home, cloudedge: Cloudedge, monkeypatch: pytest.MonkeyPatch, answer: str, left: list[str]
) -> None:
    terminal = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    done = cloudedge("tasks", "delete", "--older-than", "30d", "--home", home.folder)
    assert done.code == 0
    assert "Delete 1 run for good?" in done.err
    assert ids(home) == left


@pytest.mark.parametrize("arguments", [(), ("old", "--older-than", "1d")])
def test_either_ids_or_an_age_are_named(home: Home, cloudedge: Cloudedge, arguments: tuple[str, ...]) -> None:
    refused = cloudedge("tasks", "delete", *arguments, "--home", home.folder)
    assert refused.code == 2
    assert "one of the two" in refused.err


@pytest.mark.parametrize("age", ["30", "d", "-1d", "1m", "1 d", "٣d", "1e3d", "9999999d"])
def test_an_age_that_is_none_is_refused(home: Home, cloudedge: Cloudedge, age: str) -> None:
    refused = cloudedge("tasks", "delete", f"--older-than={age}", "--yes", "--home", home.folder)
    assert (refused.code, refused.out) == (2, "")
    assert f"--older-than is {age!r}: give a number of days or hours" in refused.err
    assert ids(home) == ["living", "new", "old"]


def test_a_line_of_the_list_costs_the_same_after_any_number_of_rounds(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path)
    costs = []
    for rounds in (3, 100):
        run = cloud.run(f"run-{rounds}")
        run.put(run.key("state.json"), RunState(state="running", at=NOW))
        for number in range(1, rounds + 1):
            run.put(run.round_key(number, "fusion.json"), FUSION)
        run.store.put(run.step_key(str(rounds + 1), "dispatch.json"), b"{}")
        store = WatchedStore(cloud.store)
        assert overview(Run(store.as_store, run.id))["rounds"] == rounds
        costs.append(len(store.requests))
    assert costs[0] == costs[1]
    assert costs[0] < 15


FUSION = FusionRecord(
    run="run",
    round=1,
    rule="samples",
    base_sha256="0" * 64,
    base_weight=0,
    contributions=(),
    sha256="0" * 64,
    size=1,
    seconds=1,
    bytes_read=1,
)


def test_a_run_that_cannot_be_read_is_named_and_the_others_are_listed(home: Home, cloudedge: Cloudedge) -> None:
    home.store.put("runs/new/state.json", b"{")
    listed = cloudedge("tasks", "list", "--home", home.folder, "--json")
    assert (listed.code, [row["id"] for row in listed.json]) == (0, ["living", "new", "old"])
    assert listed.json[1]["state"] == "unreadable"
    assert listed.json[0].keys() == listed.json[1].keys()
    assert "new cannot be shown: runs/new/state.json is not a valid runstate" in listed.err
    assert "cloudedge tasks delete new" in listed.err
