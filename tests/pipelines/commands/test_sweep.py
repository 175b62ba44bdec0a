"""`cloudedge sweep`: a file that cannot be swept is refused in one message, before anything is run."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.digits import digits_task
from tests.terminal import Cloudedge, Ended

TASK = json.loads(digits_task().to_json())
RATE = "collaboration.training.learning_rate"


def asked(cloudedge: Cloudedge, folder: Path, **fields: Any) -> Ended:
    file = folder / "sweep.json"
    file.write_text(json.dumps({"task": TASK, "over": {"collaboration.rounds": [1, 2]}, **fields}))
    return cloudedge("sweep", str(file), "--home", str(folder / "home"), "--data", str(folder))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"ovr": {}}, "ovr: no such field"),
        ({"over": {}}, "over: "),
        ({"seeds": 0}, "seeds: found 0; give 1 or more"),
        ({"trials": 0}, "trials: found 0; give 1 or more"),
        ({"over": {RATE: {"low": 1, "high": 0.1}}}, "low, 1, is more than high, 0.1; exchange them"),
        ({"over": {RATE: {"low": 0, "high": 1, "log": True}}}, "low is 0, and log needs more than 0"),
        ({"over": {RATE: {"low": 0.1, "high": 1, "log": True, "step": 0.1}}}, "log and step do not go together"),
        ({"over": {RATE: {"low": 0.1, "high": 1, "step": 0.4}}, "trials": 2}, "no number of steps of 0.4 leads to high, 1"),
        ({"over": {RATE: {"low": -1e308, "high": 1e308, "step": 1}}, "trials": 2}, "no number of steps of 1"),
        ({"over": {RATE: {"low": 0.1, "high": 1}}}, "there is a range: say with trials how many values"),
        ({"over": {RATE: {"low": -0.1, "high": 1}}, "trials": 2}, "The sweep cannot try learning_rate -0.1"),
        ({"over": {"collaboration.rounds": [0]}}, "The sweep cannot try rounds 0"),
        ({"over": {"collaboration.rounds": []}}, "no values for collaboration.rounds"),
        ({"over": {"rounds": [1]}}, "The task has no field 'rounds'"),
        ({"task": {**TASK, "seed": -1}}, "seed: found -1"),
    ],
)
def test_what_cannot_be_tried_is_refused(cloudedge: Cloudedge, tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    ended = asked(cloudedge, tmp_path, **fields)

    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "home").exists()


def test_its_file_and_its_tasks_file_must_be_there(cloudedge: Cloudedge, tmp_path: Path) -> None:
    absent = cloudedge("sweep", str(tmp_path / "none.json"))
    of_task = asked(cloudedge, tmp_path, task="none.json")

    assert (absent.code, absent.err) == (3, f"There is no file {tmp_path}/none.json: correct the path of the sweep.\n")
    assert (of_task.code, of_task.err) == (3, f"There is no file {tmp_path}/none.json: correct the path of the task.\n")
