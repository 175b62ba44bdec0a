"""A system of a package's own, as the page has it: wherever a run of cloudedge's shows itself, so does one of it."""

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml
from rich.console import Console

from cloud.orders.watch import OrderWatch
from cloud.runs.run import Run
from cloudedge.documents import read_task
from cloudedge.errors import InvalidDocument
from cloudedge.store import DirectoryStore
from components.systems import steps_of
from pipelines.display.live import edge_table
from tests.cloud.tracking.told import WARNINGS_OF_MLFLOW
from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader, installed

PAGE = ROOT / "docs" / "own-system.md"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Somebody who has the front page's machines, and has done what the page says."""
    reader = Reader(tmp_path_factory.mktemp("tally"))
    (machines,) = (block for block in blocks(ROOT / "README.md") if block.title == "machines.py")
    reader.follow(machines)
    subprocess.run([sys.executable, "machines.py"], cwd=reader.folder, check=True)
    reader.write_files(PAGE)
    reader.add_packages(installed(reader.folder / "tally", reader.folder / "site-packages"))
    reader.read(PAGE)
    return reader


@pytest.fixture
def run(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Its run, in a process that has the package too."""
    monkeypatch.syspath_prepend(reader.folder / "site-packages")
    return Run(DirectoryStore(reader.folder / "cloudedge-home" / "store"), "states")


def test_every_edge_has_counted_and_the_report_says_what(run: Run) -> None:
    waited = run.waited("count")

    assert waited is not None
    assert [delivery.edge for delivery in waited.delivered] == ["hall-1", "hall-2"]
    assert json.loads(run.output(waited.delivered[0], "counts", 1000)) == {"good": 150, "worn": 150}
    page = run.store.get(run.key("report.html"), 1 << 20).decode()
    assert "<h1>600 rows at 2 edges, 2 values of state.</h1>" in page
    assert "Run finished." in page
    for step in ("begin", "dispatch-count", "wait-count"):
        assert f"<b>{step}</b>" in page, "where the time went"


def test_its_edges_are_drawn_while_they_are_at_work(run: Run) -> None:
    watch = OrderWatch.of(run, "count")
    watch.look()
    console = Console(width=120, record=True, quiet=False)

    with console.capture() as drawn:
        console.print(edge_table(watch, steps_of(run.task()).figures))

    head, first, *_ = drawn.get().splitlines()
    assert head.split() == ["edge", "phase", "progress", "rows"]
    assert first.split()[:2] == ["hall-1", "done"]
    assert first.split()[-5:] == ["1", "of", "1", "files", "300"]


def test_it_is_among_the_runs_with_its_kind(reader: Reader) -> None:
    listed = reader._run(["cloudedge", "tasks", "list", "--json"])

    (found,) = json.loads(listed.stdout)
    assert {name: found[name] for name in ("id", "kind", "state", "rounds")} == {
        "id": "states",
        "kind": "tally",
        "state": "finished",
        "rounds": None,
    }


@pytest.mark.filterwarnings(*WARNINGS_OF_MLFLOW)
def test_mlflow_has_its_settings_its_end_and_a_child_run_with_the_points_of_each_edge(reader: Reader) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{reader.folder}/cloudedge-home/mlflow.db")
    runs = {
        found.info.run_name: found
        for experiment in client.search_experiments()
        for found in client.search_runs([experiment.experiment_id])
    }

    assert set(runs) == {"states", "states/hall-1", "states/hall-2"}
    assert runs["states"].info.status == runs["states/hall-1"].info.status == "FINISHED"
    assert runs["states"].data.params["column"] == "state"
    assert "600 rows at 2 edges" in runs["states"].data.tags["mlflow.note.content"]
    assert runs["states/hall-1"].data.metrics == {"rows": 300}


def test_its_package_has_a_field_for_each_of_its_tasks_and_the_steps_of_every_system(reader: Reader) -> None:
    spec: dict[str, Any] = next(yaml.safe_load_all((reader.folder / "states.yaml").read_bytes()))

    fields = spec["root"]["inputDefinitions"]["parameters"]
    assert {name: field["defaultValue"] for name, field in fields.items()} == {
        "task_name": "States of the machines",
        "task_id": "",
        "column": "state",
        "edges": [],
        "quorum": 0,
        "deadline_seconds": 600,
    }
    assert set(spec["root"]["dag"]["tasks"]) == {"begin", "dispatch", "wait", "report"}


def test_where_the_package_is_missing_the_task_is_refused_and_what_there_is_is_named(reader: Reader) -> None:
    with pytest.raises(
        InvalidDocument,
        match="kind: found .tally.; install the package that is this system, or give one that there is here: collab",
    ):
        read_task((reader.folder / "states.json").read_bytes(), "states.json")
