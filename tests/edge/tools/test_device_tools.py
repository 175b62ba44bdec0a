"""The site engineer's commands about a device, as they are typed."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloudedge.automl.predicting import LEAST_MEASUREMENTS
from edge.calibration import calibrating
from edge.cli import main
from edge.folders import Folders
from edge.probes.resources import conditions
from edge.probes.telemetry import Telemetry
from tests.cloudedge.automl.test_graph import a_format
from tests.terminal import Ended, called

DESCRIPTION = {
    "idle_watts": 2,
    "busy_watts": 2,
    "accelerators": [{"name": "Ascend 310", "nodes": 2, "memory_bytes": 8000, "speed": 10, "watts": 8}],
}


def edge(*arguments: str | Path) -> Ended:
    return called(*arguments, program=main)


def test_a_device_tells_what_it_has_to_give_and_where_each_figure_comes_from(tmp_path: Path) -> None:
    state, description = tmp_path / "state", tmp_path / "device.json"
    description.write_text(json.dumps(DESCRIPTION))
    shown = edge("device", "--state", state, "--describe", description)
    assert shown.code == 0, shown.err
    assert f"kept as {Folders(state).description}" in shown.out
    assert "usually: not known" in shown.out
    lines = {words[0]: words for line in shown.out.splitlines() if (words := line.split())}
    assert lines["free_nodes_cpu"][-1] == "measured"
    assert lines["average_power"][-1] in ("estimated", "measured")
    assert "described" in shown.out
    assert "job: none" in shown.out
    assert "calibrations: none" in shown.out
    told = edge("device", "--state", state, "--json").json
    assert told["state"]["resources"]["origins"]["free_memory_cpu"] == "measured"
    assert told["calibrations"] == []


def test_a_device_that_was_watched_tells_how_it_usually_is(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for memory in (3000, 5000):
        figures = {"free_memory_cpu": memory, "free_nodes_cpu": 1.5, "waiting": 0}
        Telemetry(Folders(state).telemetry).note(figures, conditions(None), datetime.now(UTC))
    shown = edge("device", "--state", state)
    assert shown.code == 0, shown.err
    _, *lines = shown.out[shown.out.index("usually (from ") :].splitlines()
    table = {words[0]: words[1:] for line in lines if (words := line.split())}
    assert table["free_memory_cpu"] == ["3,000", "3,000", "5,000", "bytes", "2"]
    assert table["free_nodes_cpu"] == ["1.50", "1.50", "1.50", "cores", "2"]
    assert table["waiting"] == ["0", "0", "0", "tasks", "2"]
    assert edge("device", "--state", state, "--json").json["state"]["usual"]["looks"] == 2


def test_where_it_cannot_be_read_how_a_device_usually_is_the_rest_is_told(tmp_path: Path) -> None:
    path = Folders(tmp_path / "state").telemetry
    path.parent.mkdir()
    path.write_bytes(b"no database, and longer than the header of one. " * 100)
    shown = edge("device", "--state", path.parent)
    assert shown.code == 0, shown.err
    assert "usually: not known" in shown.out
    assert "free_memory_cpu" in shown.out


def test_a_description_with_a_fault_is_not_kept(tmp_path: Path) -> None:
    state, description = tmp_path / "state", tmp_path / "device.json"
    description.write_text('{"busy_watts": -1}')
    refused = edge("device", "--state", state, "--describe", description)
    assert refused.code == 2
    assert "busy_watts: found -1; give 0.0 or more" in refused.err
    assert not Folders(state).description.exists()
    missing = edge("device", "--state", state, "--describe", tmp_path / "none.json")
    assert missing.code == 2
    assert "Give a device description" in missing.err


def test_a_description_whose_control_groups_cannot_be_entered_is_not_kept_and_the_former_one_holds(tmp_path: Path) -> None:
    state, description, folder = tmp_path / "state", tmp_path / "device.json", tmp_path / "folder"
    folder.mkdir()
    description.write_text(json.dumps(DESCRIPTION))
    assert edge("device", "--state", state, "--describe", description).code == 0
    before = Folders(state).description.read_bytes()
    for group in (folder, tmp_path / "none"):
        description.write_text(json.dumps({"control_groups": [str(group)]}))
        refused = edge("device", "--state", state, "--describe", description)
        assert refused.code == 5
        assert f"There is no control group {group}." in refused.err
    assert Folders(state).description.read_bytes() == before
    assert not list(folder.iterdir())


def test_a_control_group_is_named_by_its_whole_path_and_one_that_is_none_is_refused(tmp_path: Path) -> None:
    description, group = tmp_path / "device.json", tmp_path / "group"
    description.write_text(json.dumps({"control_groups": ["box"]}))
    refused = edge("device", "--state", tmp_path / "state", "--describe", description)
    assert refused.code == 2
    assert "control_groups.0: found 'box'; give the whole path of a folder, from / on" in refused.err
    group.mkdir()
    os.mkfifo(group / "cgroup.procs")
    description.write_text(json.dumps({"control_groups": [str(group)]}))
    refused = edge("device", "--state", tmp_path / "state", "--describe", description)
    assert refused.code == 5
    assert f"Cannot enter the control group {group}: File or stream is not seekable." in refused.err


def test_a_device_that_takes_less_at_work_than_with_nothing_to_do_is_described_wrong(tmp_path: Path) -> None:
    description = tmp_path / "device.json"
    description.write_text('{"idle_watts": 5, "busy_watts": 2}')
    refused = edge("device", "--state", tmp_path / "state", "--describe", description)
    assert refused.code == 2
    assert "busy_watts: found 2; a device at work takes no less than one with nothing to do; give 5 or more" in refused.err


def test_a_device_is_calibrated_and_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for many in ("_ALONE", "_MEMORY", "_BUSY"):
        monkeypatch.setattr(calibrating, many, LEAST_MEASUREMENTS)  # For so many there is time on any machine.
    state, form = tmp_path / "state", tmp_path / "format.json"
    form.write_text(a_format((1, 8, 8)).model_dump_json())
    state.mkdir()
    if os.geteuid() == 0:  # Who calibrates as root makes it for the runner that owns the state.
        os.chown(state, 10001, 10001)
    found = edge("calibrate", "--state", state, "--format", form, "--seconds", "100")
    assert found.code == 0, found.err
    assert found.out.splitlines()[0].endswith("for 1 x 8 x 8 uint8, 3 classes, 1 threads")
    assert "AT MOST MS" in found.out
    (kept,) = edge("device", "--state", state, "--json").json["calibrations"]
    assert kept["measured"] == LEAST_MEASUREMENTS
    assert kept["stale"] is None
    assert kept["processor"]["cores"] > 0
    assert {path.stat().st_uid for path in state.rglob("*")} == {state.stat().st_uid}


def test_samples_that_cannot_be_searched_for_are_refused(tmp_path: Path) -> None:
    form = tmp_path / "format.json"
    form.write_text(a_format((5,)).model_dump_json())
    refused = edge("calibrate", "--state", tmp_path / "state", "--format", form)
    assert refused.code == 2
    assert "Correct the field's shape" in refused.err
