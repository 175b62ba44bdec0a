"""The demo of searching for models, whole: three devices with limits of their own, and all that comes of them."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloud.runs.run import Run
from cloud.tracking.client import connect
from cloud.tracking.versions import version_named
from cloudedge.automl.screen import broken
from cloudedge.documents.kinds.search import Searched
from cloudedge.interpreter import environment, python
from cloudedge.store import DirectoryStore
from components.edge_automl.records import SEARCH, ranking_of, search_of
from components.systems import steps_of
from tests.cloud.searches.rows import kept
from tests.cloud.tracking.told import WARNINGS_OF_MLFLOW, runs_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1500),
    *(pytest.mark.filterwarnings(warning) for warning in WARNINGS_OF_MLFLOW),
]

DEVICES = {"gateway", "controller", "meter"}


@dataclass(frozen=True)
class Shown:
    """A demo that has ended."""

    home: Path
    summary: dict[str, Any]
    said: str

    @property
    def run(self) -> Run:
        return Run(DirectoryStore(self.home / "store"), self.summary["run"])

    @property
    def mlflow(self) -> str:
        return f"sqlite:///{self.home / 'mlflow.db'}"

    def result(self, device: str) -> Searched:
        ranking = ranking_of(self.run)
        assert ranking is not None
        return ranking.devices[device].result


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    home = tmp_path_factory.mktemp("automl") / "home"
    command = python("pipelines.cli", "demo", "automl", "--home", home, "--json")
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=1400, check=False)
    assert done.returncode == 0, done.stderr
    return Shown(home, json.loads(done.stdout), done.stderr)


def test_no_device_gets_a_model_that_breaks_a_limit_as_measured_there(shown: Shown) -> None:
    devices, limit = shown.summary["devices"], shown.summary["limit_ms"]
    assert devices.keys() == DEVICES
    assert limit >= 0.25  # More only where this machine is so busy that no device could bear anything within that.
    for name, device in devices.items():
        assert device["broken_limits"] == []
        assert device["limit_ms"] == limit
        assert device["trials"] <= 3
        if device["model"]:
            result = shown.result(name)
            assert result.costs is not None
            assert result.costs.origin == "measured"
            assert not broken(result.costs, result.limits)
            assert 0 < device["latency_ms"] <= device["latency_bound_ms"] <= limit
    best = devices[shown.summary["best"]]["accuracy"]
    assert best == max(device["accuracy"] or 0 for device in devices.values())
    assert best > 0.5  # By chance a tenth is right.


def test_each_device_is_what_its_description_says(shown: Shown) -> None:
    """Where control groups can be had, what was measured was measured within them."""
    cores = {"gateway": 0.9, "controller": 0.5, "meter": 0.3}
    for name, allowed in cores.items():
        processor = shown.result(name).processor
        assert processor is not None
        if shown.summary["limited_by"] == "control groups":
            assert processor.cores == pytest.approx(allowed)
        waited = shown.run.waited(SEARCH)
        assert waited is not None
        delivery = next(each for each in waited.delivered if each.edge == name)
        resources = search_of(shown.run, delivery).state.resources
        assert resources.free_nodes_cpu <= allowed
        assert resources.origins["average_power"] in ("measured", "estimated")


def test_the_searches_are_kept_for_the_next_meta_model_and_each_trial_is_a_run_in_mlflow(shown: Shown) -> None:
    rows = {row.device: row for row in kept(shown.run.store)}
    searched = {name for name in DEVICES if shown.result(name).by != "nobody"}
    assert rows.keys() == searched
    runs = runs_of(connect(shown.mlflow), "cloudedge")
    parent = runs[shown.summary["run"]]
    assert parent.data.tags["cloudedge.best"] == shown.summary["best"]
    trials = [run for run in runs.values() if "cloudedge.trial" in run.data.tags]
    assert {trial.data.tags["mlflow.parentRunId"] for trial in trials} == {parent.info.run_id}
    assert f"{shown.summary['run']}/{shown.summary['best']}/trial-001" in runs
    measured = sum(bool(trial.measured or trial.fault) for row in rows.values() for trial in row.trials)
    assert len(trials) == measured
    assert sum(trial.data.tags["cloudedge.trial"] == "chosen" for trial in trials) == sum(
        bool(shown.result(name).sha256) for name in searched
    )
    chosen = next(trial for trial in trials if trial.data.tags["cloudedge.trial"] == "chosen")
    assert {"accuracy", "latency_ms", "latency_bound_ms", "memory_bytes", "predicted_latency_ms"} <= chosen.data.metrics.keys()
    assert {"layers", "filters", "kernel", "loss", "seed"} <= chosen.data.params.keys()


def test_the_models_are_registered_by_device_and_ready_to_be_deployed(shown: Shown, tmp_path: Path) -> None:
    best = shown.summary["best"]
    for name in DEVICES:
        result = shown.result(name)
        if not result.sha256:
            continue
        version = version_named(shown.mlflow, f"meter-reading@on-{name}")
        assert (version.run, version.sha256) == (shown.summary["run"], result.sha256)
        offered = steps_of(shown.run.task()).offer(shown.run, tmp_path, version.sha256)
        assert (offered.deployable.sha256, offered.passed) == (result.sha256, True)
        assert offered.deployable.lineage.edge == name
        assert offered.deployable.image is not None
    assert version_named(shown.mlflow, "meter-reading").sha256 == shown.result(best).sha256


def test_the_report_draws_each_device(shown: Shown) -> None:
    page = Path(shown.summary["report"]).read_text()
    assert "Accuracy against latency" in page
    for name in DEVICES:
        assert name in page
    assert "Three devices, limited by" in shown.said
    for name, device in shown.summary["devices"].items():
        assert f"{name}: {device['words']}" in shown.said
