"""cloudedge from Python, as a data scientist uses it: samples in memory, a task for them, a run, its model."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from mlflow import MlflowClient
from optuna.distributions import FloatDistribution

import pipelines
from cloudedge.errors import InvalidInput, NotFound, WorkFailed
from pipelines import Laptop, Run, Task, compare
from tests.cloud.tracking.told import WARNINGS_OF_MLFLOW

pytestmark = pytest.mark.filterwarnings(*WARNINGS_OF_MLFLOW)


def machines(rows: int, vibration: float = 0.0, temperature: float = 0.0) -> pandas.DataFrame:
    chance, worn = numpy.random.default_rng(rows), numpy.arange(rows) % 2
    shown = {
        "vibration": chance.normal(2 + 1.5 * worn + vibration, 0.5),
        "temperature": chance.normal(60 + 12 * worn + temperature, 4),
    }
    return pandas.DataFrame({**shown, "state": numpy.where(worn, "worn", "good")})


DATA = {
    "cloud": machines(40),
    "edges": {"hall-1": machines(300, 1.5), "hall-2": machines(300, 0, 15)},
    "test": {"hall-1": machines(200, 1.5), "hall-2": machines(200, 0, 15)},
}
TASK = Task.for_data(
    DATA, label="state", name="Bearings", id="bearings", collaboration={"rounds": 2}, pretraining={"epochs": 3}
)


def write_folder(folder: Path) -> Path:
    """The samples as files."""
    for place, table in (("cloud", DATA["cloud"]), *((f"edges/{name}", table) for name, table in DATA["edges"].items())):
        (folder / "machines" / place).mkdir(parents=True)
        columns: dict[str, Any] = {name: table[name].to_numpy() for name in ("vibration", "temperature")}
        numpy.savez(folder / "machines" / place / "samples.npz", state=table["state"].to_numpy(str), **columns)
    return folder / "machines"


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with Laptop(tmp_path_factory.mktemp("home")) as laptop:
        yield laptop


@pytest.fixture(scope="module")
def run(laptop: Laptop) -> Run:
    return laptop.run(TASK, DATA, display=False)


def test_a_run_says_all_of_itself(run: Run) -> None:
    assert run.state == "finished"
    assert run.task["collaboration.edges"] == ["hall-1", "hall-2"]
    assert run.accuracy.loc["all", "fused"] > run.accuracy.loc["all", "pretrained"]
    assert list(run.rounds.index) == [0, 1, 2]
    assert set(run.edges.index.get_level_values("edge")) == {"hall-1", "hall-2"}
    assert run.epochs.loc[("hall-1", 2)].index.tolist() == list(range(11))
    assert run.confusion.to_numpy().sum() == 400
    assert run.digest == run.rounds.loc[2, "sha256"] == run.summary["model"]["sha256"]
    found = run.mlflow
    assert found is not None
    assert found.data.metrics["accuracy_on_edges"] == pytest.approx(run.accuracy.loc["edges' held-out samples", "fused"])


def test_its_model_predicts_records_as_they_are(run: Run) -> None:
    test = DATA["test"]["hall-2"]

    found = run.predict(test.drop(columns="state"))

    assert list(found.columns) == ["predicted", "good", "worn"]
    assert (found["predicted"].to_numpy() == test["state"].to_numpy()).mean() == pytest.approx(
        run.accuracy.loc["hall-2", "fused"]
    )
    assert numpy.allclose(found[["good", "worn"]].sum(axis=1), 1)


def test_a_run_may_be_begun_and_waited_for_and_is_found_again(run: Run, laptop: Laptop) -> None:
    begun = laptop.submit(TASK.changed({"collaboration.fusion.rule": "median"}, id="median"), DATA)

    assert begun.wait().state == "finished"
    assert [found.id for found in laptop.runs()] == ["bearings", "median"]
    assert laptop.open("median").digest == begun.digest
    compared = compare([run, laptop.open("median")])
    assert compared.table["collaboration.fusion.rule"].tolist() == ["samples", "median"]


def test_a_sweep_runs_each_combination_once_and_goes_on_where_it_was(laptop: Laptop) -> None:
    over: dict[str, list[Any]] = {"collaboration.rounds": [1], "collaboration.fusion.rule": ["samples", "uniform"]}

    sweep = laptop.sweep(TASK, over, DATA, display=False)

    assert [run.state for run in sweep.runs] == ["finished", "finished"]
    assert sweep.table.index.tolist() == [(1, "samples"), (1, "uniform")]
    assert sweep.best in sweep.runs
    began = [run.events["at"].iloc[0] for run in sweep.runs]
    again = laptop.sweep(TASK, over, DATA, display=False)
    assert [run.events["at"].iloc[0] for run in again.runs] == began
    assert again.table.equals(sweep.table)


def test_a_sweep_is_one_run_in_mlflow_with_its_runs_below_it_and_its_best_model_is_the_champion(laptop: Laptop) -> None:
    over = {"collaboration.training.learning_rate": FloatDistribution(0.001, 0.5, log=True)}

    sweep = laptop.sweep(TASK, over, DATA, trials=3, at_once=2, display=False)

    assert sweep.study is not None
    assert [trial.value for trial in sweep.study.trials] == pytest.approx([run.accuracy["fused"].iloc[0] for run in sweep.runs])
    client = MlflowClient(laptop.tracking_uri)
    parents = {run.mlflow.data.tags["mlflow.parentRunId"] for run in sweep.runs if run.mlflow}
    (parent,) = (client.get_run(parent) for parent in parents)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["best"] == sweep.best.accuracy["fused"].iloc[0]
    note = parent.data.tags["mlflow.note.content"]
    assert note == "A sweep of Bearings over learning_rate FloatDistribution(high=0.5, log=True, low=0.001, step=None)."
    champion = client.get_model_version_by_alias("bearings-sweep", "champion")
    assert (champion.tags["cloudedge.run"], champion.tags["cloudedge.sha256"]) == (sweep.best.id, sweep.best.digest)

    more = laptop.sweep(TASK, over, DATA, trials=4, display=False)

    assert [run.id for run in more.runs][:3] == [run.id for run in sweep.runs]
    assert {run.mlflow.data.tags["mlflow.parentRunId"] for run in more.runs if run.mlflow} == parents


def test_a_run_whose_training_diverges_spoils_no_sweep(laptop: Laptop) -> None:
    rates = {"collaboration.training.learning_rate": [0.05, 100.0]}

    sweep = laptop.sweep(TASK, rates, DATA, display=False)

    assert [trial.values["collaboration.training.learning_rate"] for trial in sweep.trials] == [0.05]
    assert len(sweep.failures) == 1
    assert laptop.run(TASK, DATA, display=False).state == "finished"


def test_a_finished_run_is_not_run_again_with_other_samples_and_that_is_said(
    run: Run, laptop: Laptop, capsys: pytest.CaptureFixture[str]
) -> None:
    again = laptop.run(TASK, DATA, display=False)
    assert capsys.readouterr().err == ""

    other = laptop.run(TASK, {**DATA, "cloud": machines(60)}, display=False)

    assert again.digest == other.digest == run.digest
    assert "Run bearings is finished, on the samples in" in capsys.readouterr().err


def test_once_mlflows_database_is_gone_the_same_calls_tell_it_all_again(laptop: Laptop) -> None:
    values = {"collaboration.rounds": [1]}
    laptop.sweep(TASK, values, DATA, seeds=2, display=False)
    for file in laptop.home.glob("mlflow.db*"):
        file.unlink()

    sweep = laptop.sweep(TASK, values, DATA, seeds=2, display=False)

    told = [run.mlflow for run in sweep.runs]
    assert all(run and run.data.metrics["accuracy_on_edges"] for run in told)
    assert len({run.data.tags["mlflow.parentRunId"] for run in told if run}) == 1


def test_a_run_whose_process_was_killed_is_said_to_be_left_and_goes_on(tmp_path: Path) -> None:
    file = TASK.changed({"collaboration.rounds": 8}, id="left").save(tmp_path / "task.json")
    begun = f"""if True:
        import os, signal
        from pipelines import Laptop, Task
        run = Laptop({str(tmp_path)!r}).submit(Task.from_file({str(file)!r}), {str(write_folder(tmp_path))!r})
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", begun], check=False)
    with Laptop(tmp_path) as laptop:
        left = laptop.open("left")

        with pytest.raises(WorkFailed, match="Nobody works on the run 'left' any more. Run its task again"):
            left.wait()

        assert laptop.run(Task.from_file(file), tmp_path / "machines", display=False).state == "finished"
        assert left.wait().state == "finished"


def test_what_cannot_be_begun_is_said_at_once(laptop: Laptop) -> None:
    with pytest.raises(NotFound, match="There is no run 'nothing'"):
        laptop.open("nothing")
    with pytest.raises(InvalidInput, match="about other samples than the demo's: name yours"):
        laptop.run(TASK.changed(id="without"))
    with pytest.raises(InvalidInput, match="names the edges hall-9"):
        laptop.submit(TASK.changed({"collaboration.edges": ["hall-9"]}, id="hall-9"), DATA)


def test_the_public_names_are_these_and_are_loaded_when_they_are_asked_for() -> None:
    assert pipelines.__all__ == ["Cluster", "Comparison", "Laptop", "Run", "Sweep", "Task", "compare"]
    assert set(pipelines.__all__) <= set(dir(pipelines))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pipelines.nothing  # noqa: B018
    code = "import sys, pipelines; print([name for name in ('kfp', 'torch', 'pandas', 'pydantic') if name in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert loaded.stdout == "[]\n"
