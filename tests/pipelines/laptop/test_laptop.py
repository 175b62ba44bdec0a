"""What surrounds a laptop's run, where nothing is left to be done but to tell MLflow."""

import logging
import os
import re
import shlex
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.runs.state import set_state
from cloud.runs.step_records import RunState
from cloud.tracking.database import file_of
from pipelines.laptop.home import Home
from tests.cloud.tracking.told import WARNINGS_OF_MLFLOW
from tests.components.cloud import Cloud
from tests.digits import digits_task
from tests.terminal import Cloudedge


@pytest.mark.filterwarnings(*WARNINGS_OF_MLFLOW)
def test_a_home_of_any_name_has_its_own_figures_whatever_the_shell_says_of_mlflow(
    home: Cloud, cloudedge: Cloudedge, digits: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "mlflow")  # Other tests may have loaded it in this process, without our level.
    set_state(home.run, RunState(state="finished", message="", exit_code=0, at=datetime.now(UTC)))
    folder = shutil.copytree(home.root, home.root.parent / "[b] 100%25 :dog: of 'Süd'?")
    task_file = folder / "task.json"
    task_file.write_bytes(home.task.to_json())
    shell = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
        "MLFLOW_RUN_ID": "0123456789abcdef0123456789abcdef",
        "MLFLOW_EXPERIMENT_NAME": "somebody else's",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "MLFLOW_ENABLE_WORKSPACES": "true",
        "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "no such class",
    }

    ended = cloudedge("run", task_file, "--data", digits, "--home", folder, environment=shell)

    assert (ended.code, ended.err) == (0, "")
    assert f"Report    {folder}/store/runs/{home.run.id}/report.html\n" in ended.out
    (command,) = [line.removeprefix("MLflow") for line in ended.out.splitlines() if line.startswith("MLflow")]
    assert file_of(shlex.split(command)[-1]) == folder / "mlflow.db"
    (again,) = re.findall(r"and: (.*)\)$", ended.out, re.MULTILINE)
    assert shlex.split(again)[1:] == ["run", str(task_file), "--data", str(digits), "--home", str(folder)]
    with closing(sqlite3.connect(folder / "mlflow.db")) as told:
        experiments = "SELECT r.name, e.name FROM runs r JOIN experiments e USING (experiment_id) ORDER BY r.start_time"
        assert (home.run.id, "cloudedge") in told.execute(experiments).fetchall()


def test_a_home_of_which_mlflow_cannot_be_told_is_refused_before_anything_is_made(
    cloudedge: Cloudedge, tmp_path: Path, digits: Path
) -> None:
    task_file = tmp_path / "task.json"
    task_file.write_bytes(digits_task().to_json())
    folder = tmp_path / os.fsdecode(b"d\xfcsseldorf")

    for command in (("demo",), ("run", task_file, "--data", digits), ("run", task_file)):
        ended = cloudedge(*command, "--home", folder)

        assert ended.code == 2
        assert "dusseldorf" not in ended.err
        assert r"d\udcfcsseldorf', because of its name: choose another folder" in ended.err
    assert not folder.exists()


def test_a_laptops_steps_do_not_look_for_the_clusters_mlflow(tmp_path: Path) -> None:
    assert Home(tmp_path).environment()["CLOUDEDGE_TRACKING_URI"] == ""
