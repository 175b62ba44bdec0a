"""cloudedge tasks, events and report: looking at runs and ending them."""

from pathlib import Path

import pytest

from components.shared.lifecycle import reap
from components.shared.records import RunState
from components.shared.step import set_state
from tests.components.cloud import Cloud
from tests.pipelines.terminal import Cloudedge

COMMANDS = [("tasks", "show"), ("tasks", "cancel"), ("events",), ("report",)]


def test_runs_are_listed(home: Cloud, cloudedge: Cloudedge) -> None:
    ended = cloudedge("tasks", "list", "--home", home.root)

    titles, row = (line.split() for line in ended.out.splitlines())
    assert titles == ["id", "name", "state", "rounds", "pretrained", "fused", "since"]
    assert row[:4] == ["digits", "Digits", "running", "1"]


def test_runs_are_listed_for_programs(home: Cloud, cloudedge: Cloudedge) -> None:
    (row,) = cloudedge("tasks", "list", "--home", home.root, "--json").json

    assert set(row) == {"id", "name", "state", "message", "since", "rounds", "pretrained", "fused"}
    assert (row["id"], row["state"], row["rounds"], row["fused"]) == ("digits", "running", 1, None)


def test_a_folder_that_is_no_run_does_not_hide_the_others(home: Cloud, cloudedge: Cloudedge) -> None:
    # What a step leaves that failed before its task was kept.
    home.store.put("runs/half/alive", b"")

    assert [row["id"] for row in cloudedge("tasks", "list", "--home", home.root, "--json").json] == ["digits"]


def test_one_run_is_shown_with_its_task(home: Cloud, cloudedge: Cloudedge) -> None:
    found = cloudedge("tasks", "show", "digits", "--home", home.root, "--json").json

    assert found["task"] == home.task.model_dump(mode="json")
    assert set(found["seconds"]) == {"pretrain", "dispatch-1", "wait-1", "fuse-1", "dispatch-2"}
    assert cloudedge("tasks", "show", "digits", "--home", home.root).out.startswith("id: digits\n")


def test_cancelling_closes_the_orders_and_again_is_no_error(home: Cloud, cloudedge: Cloudedge) -> None:
    assert home.open_orders()

    assert cloudedge("tasks", "cancel", "digits", "--home", home.root).out == "Run digits is cancelled.\n"
    assert home.open_orders() == []
    assert cloudedge("tasks", "cancel", "digits", "--home", home.root).out == "Run digits was cancelled already.\n"
    assert cloudedge("tasks", "cancel", "digits", "--home", home.root, "--json").json == {
        "id": "digits",
        "state": "cancelled",
        "already": True,
    }
    assert cloudedge("tasks", "list", "--home", home.root, "--json").json[0]["state"] == "cancelled"


def test_a_finished_run_is_not_cancelled(home: Cloud, cloudedge: Cloudedge) -> None:
    state = home.run.state()
    assert state is not None
    set_state(home.run, RunState(state="finished", at=state.at))

    ended = cloudedge("tasks", "cancel", "digits", "--home", home.root)

    assert ended.code == 4
    assert "is finished since" in ended.err


def test_reaping_closes_the_orders_of_dead_runs_alone(home: Cloud, cloudedge: Cloudedge) -> None:
    assert cloudedge("tasks", "reap", "--home", home.root).out == "There is nothing to close.\n"
    assert len(home.open_orders()) == 3

    closed = cloudedge("tasks", "reap", "--home", home.root, "--silent-seconds", "0", "--json").json

    assert closed == {"digits": ["digits.2.edge-1.1", "digits.2.edge-2.1", "digits.2.edge-3.1"]}
    assert home.open_orders() == []


def test_events_tell_who_did_what(home: Cloud, cloudedge: Cloudedge) -> None:
    found = cloudedge("events", "digits", "--home", home.root, "--json").json

    assert [(event["actor"], event["action"]) for event in found if event["action"] != "step-done"] == [
        ("pipeline", "created"),
        ("pipeline/pretrain", "pretrained"),
        ("pipeline/dispatch-1", "dispatched"),
        ("pipeline/wait-1", "waited"),
        ("pipeline/fuse-1", "fused"),
        ("pipeline/dispatch-2", "dispatched"),
    ]
    assert "edges edge-1, edge-2, edge-3" in cloudedge("events", "digits", "--home", home.root).out


def test_the_report_is_found_and_copied(home: Cloud, cloudedge: Cloudedge, tmp_path: Path) -> None:
    assert cloudedge("report", "digits", "--home", home.root).code == 3
    home.store.put(home.run.key("report.html"), b"<!doctype html>")

    shown = Path(cloudedge("report", "digits", "--home", home.root).out.strip())
    assert shown.read_bytes() == b"<!doctype html>"
    assert cloudedge("report", "digits", "--home", home.root, "-o", tmp_path / "copy.html").code == 0
    assert (tmp_path / "copy.html").read_bytes() == b"<!doctype html>"


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_run_ends_with_3_and_names_those_there_are(
    home: Cloud, cloudedge: Cloudedge, command: tuple[str, ...]
) -> None:
    ended = cloudedge(*command, "other", "--home", home.root)

    assert (ended.code, ended.out) == (3, "")
    assert "There is no run 'other'; there are: digits." in ended.err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["../../etc", "A", "a/b", "a" * 54, "digits\n"])
def test_a_name_that_is_none_never_becomes_a_path(
    home: Cloud, cloudedge: Cloudedge, command: tuple[str, ...], name: str
) -> None:
    ended = cloudedge(*command, name, "--home", home.root)

    assert (ended.code, ended.out) == (2, "")
    assert "is not a name of a task: use lower-case letters, digits and inner hyphens" in ended.err


@pytest.mark.parametrize("command", [("tasks", "list"), ("tasks", "reap"), *((*command, "digits") for command in COMMANDS)])
def test_where_nothing_has_run_every_command_says_so(cloudedge: Cloudedge, tmp_path: Path, command: tuple[str, ...]) -> None:
    ended = cloudedge(*command, "--home", tmp_path / "empty")

    assert ended.code == 3
    assert "Nothing has run in" in ended.err
    assert not (tmp_path / "empty").exists()


def test_whoever_goes_on_with_a_run_spares_it_when_reaping(home: Cloud) -> None:
    before = home.open_orders()

    assert list(reap(home.store, home.inboxes, "somebody", silent_seconds=0, spare="digits")) == []
    assert home.open_orders() == before
    state = home.run.state()
    assert state is not None
    assert state.state == "running"
