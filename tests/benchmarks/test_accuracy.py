"""The accuracy benchmark: what it measures is what a real run does."""

import json
from pathlib import Path

import pytest

from benchmarks.accuracy import ALL, ROWS, collaborate, main, pretrain, read_world, share_of_gap
from cloud.runs.run import Run
from cloudedge.documents import TrainingTask
from cloudedge.names import sha256_of
from cloudedge.training import use_threads
from pipelines import Laptop, Task
from pipelines.collaborative_training.demo.digits import write_digits
from pipelines.collaborative_training.demo.task import demo_task
from pipelines.laptop.home import Home
from tests.cloud.tracking.told import WARNINGS_OF_MLFLOW


def quick_task(edges: int, rounds: int) -> TrainingTask:
    task = demo_task(edges, rounds)
    return task.model_copy(update={"pretraining": task.pretraining.model_copy(update={"epochs": 5})})


@pytest.mark.filterwarnings(*WARNINGS_OF_MLFLOW)
def test_the_benchmark_and_a_real_run_give_the_same_models(tmp_path: Path) -> None:
    task = quick_task(edges=2, rounds=2)
    write_digits(tmp_path / "data", edges=2)
    with Laptop(tmp_path / "home") as laptop:
        laptop.run(Task.of(task), tmp_path / "data", compact=True, display=False)
    run = Run(Home(tmp_path / "home").store, task.id)

    use_threads(task.pretraining.threads)
    world = read_world(tmp_path / "data", task)
    fused = [sha256_of(path) for path in collaborate(task, world, pretrain(task, world), tmp_path / "benchmark")]

    assert fused == [record.sha256 for number in (1, 2) if (record := run.fusion(number))]


def test_the_benchmark_writes_every_row_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.accuracy.demo_task", quick_task)
    monkeypatch.setattr("benchmarks.accuracy.POOLED", quick_task(1, 1).pretraining)
    main(["--seeds", "7", "8", "--edges", "2", "--rounds", "2", "--out", str(tmp_path / "accuracy.json")])

    figures = json.loads((tmp_path / "accuracy.json").read_text())
    assert list(figures["seeds"]) == ["7", "8"]
    for result in figures["seeds"].values():
        assert tuple(result["accuracy"]) == ROWS
        assert all(set(row) == {ALL, "clean", "dim-hall", "noisy-line"} for row in result["accuracy"].values())
        assert result["accuracy_by_round"][-1] == result["accuracy"]["fused over rounds"][ALL]
        assert result["share_of_gap_closed"][ALL] == share_of_gap(result["accuracy"], ALL)
    printed = capsys.readouterr().out
    assert printed.count("| 7 |") == printed.count("| 8 |") == len(ROWS) + 1


def test_the_share_of_the_gap_is_counted_from_pretrained_to_pooled() -> None:
    accuracy = {"pretrained": {ALL: 0.5}, "fused over rounds": {ALL: 0.8}, "pooled": {ALL: 0.9}}
    assert share_of_gap(accuracy, ALL) == pytest.approx(0.75)


def test_there_is_no_share_where_pooling_hardly_helps() -> None:
    accuracy = {"pretrained": {ALL: 0.9}, "fused over rounds": {ALL: 0.8}, "pooled": {ALL: 0.94}}
    assert share_of_gap(accuracy, ALL) is None
