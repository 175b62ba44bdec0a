"""The notebook for the cluster, executed against real servers."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from cloud.runs.run import Run
from cloudedge.documents import TrainingTask
from pipelines import Cluster, Task
from pipelines.collaborative_training.demo.digits import write_digits
from pipelines.collaborative_training.demo.task import demo_task
from pipelines.kubeflow.client import Kubeflow, KubeflowSettings
from pipelines.laptop.home import Home
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubeflow import KubeflowServer
from tests.cluster.object_store import MinioServer
from tests.cluster.site import PATIENCE, Site
from tests.docs.pages import ROOT
from tests.waiting import until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    # Of what the notebook's kernel is talked to with.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

NOTEBOOK = ROOT / "notebooks" / "on_the_cluster.ipynb"
EDGES = demo_task(2).collaboration.edges


@pytest.fixture
def site(control_plane: ControlPlane, minio: MinioServer, tmp_path: Path) -> Site:
    """A site without runs: the notebook's all have one id."""
    return Site(tmp_path, control_plane, minio)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """The notebook's own, where it looks for them; the edges have theirs of it."""
    folder = tmp_path / "laptop" / "data" / "digits-2"
    write_digits(folder, 2)
    return folder


@pytest.fixture
def terminal(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an engineer's terminal knows of the cluster when the notebook is opened."""
    for name, value in site.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))))


@pytest.mark.usefixtures("terminal")
def test_a_run_on_the_cluster_and_one_on_the_laptop_stand_side_by_side(site: Site, samples: Path, tmp_path: Path) -> None:
    with site.edges(samples, EDGES):
        shown = executed(edges=2, rounds=2, home=str(tmp_path))

    cluster, laptop = site.run(task(2)), Run(Home(tmp_path / "laptop").store, task(2).id)
    digests = [[record.sha256 for number in (1, 2) if (record := run.fusion(number))] for run in (cluster, laptop)]
    assert len(digests[0]) == 2
    assert digests[0] == digests[1]
    # What a person reads of it, cell by cell.
    assert "Round 2: 2 models fused" in shown
    assert shown.count(digests[0][1][:16]) >= 2
    assert "False" not in shown
    for figure in ("edges' held-out samples", "best edge alone", "wait-2", "weight"):
        assert figure in shown


@pytest.mark.usefixtures("terminal")
def test_a_sweep_on_the_cluster_runs_its_tasks_there_two_at_a_time(site: Site, samples: Path, tmp_path: Path) -> None:
    site.put_samples(samples)
    cluster = Cluster(folder=tmp_path / "here", kubeflow="")
    values = {"collaboration.fusion": [{"rule": "samples"}, {"rule": "median"}]}
    with site.edges(samples, EDGES):
        sweep = cluster.sweep(Task.of(task(1)), values, "store:digits-cloud", "store:digits-test", at_once=2, display=False)

    assert [run.state for run in sweep.runs] == ["finished", "finished"]
    assert {run.id for run in sweep.runs} <= {run.id for run in cluster.runs()}
    assert sweep.best in sweep.runs


@pytest.mark.usefixtures("terminal")
def test_with_kubeflows_address_the_run_is_submitted_and_followed_there(
    site: Site, kubeflow: KubeflowServer, samples: Path, tmp_path: Path
) -> None:
    submitted = Kubeflow(KubeflowSettings(kubeflow=kubeflow.url))

    def as_argo_would() -> None:
        until(lambda: submitted.under_way(task(1).id), PATIENCE, "a run of Kubeflow's")
        (run,) = submitted.under_way(task(1).id)
        site.finish(site.pipeline(task(1), compact=False))
        kubeflow.report(run.id, "Succeeded", pretrain="Succeeded")

    site.put_samples(samples)
    with site.edges(samples, EDGES), ThreadPoolExecutor(1) as others:
        argo = others.submit(as_argo_would)
        shown = executed(edges=2, rounds=1, home=str(tmp_path), kubeflow=kubeflow.url)
        argo.result()

    assert "Round 1: 2 models fused" in shown
    assert "False" not in shown


def task(rounds: int) -> TrainingTask:
    """The notebook's."""
    return demo_task(2, rounds).model_copy(update={"id": "demo-on-the-cluster"})


def executed(**parameters: Any) -> str:
    """Execute the notebook with other parameters; all that its cells show, as JSON."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source += "".join(f"\n{name} = {value!r}" for name, value in parameters.items())
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    return json.dumps([cell.outputs for cell in notebook.cells if cell.cell_type == "code"], ensure_ascii=False)
