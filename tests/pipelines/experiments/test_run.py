"""A run in Python says in DataFrames what its report draws."""

from pathlib import Path

import pandas
import pytest

from cloud.inboxes import DirectoryInboxes
from cloud.runs.run import Run as StoredRun
from cloud.runs.state import set_state
from cloud.runs.step_records import RunState
from cloudedge.errors import Cancelled, Conflict, InvalidInput, NotFound, WorkFailed
from pipelines import Run, compare
from tests.components.collaborative_training.page.run_builder import BEGAN, RunBuilder, digest


class Nowhere:
    """A place without MLflow."""

    def __init__(self, folder: Path) -> None:
        self.inboxes = DirectoryInboxes(folder / "inboxes")
        self.tracking_uri = ""


def run_of(folder: Path, **changes: object) -> Run:
    builder = RunBuilder(folder)
    for name, value in changes.items():
        setattr(builder, name, value)
    return Run(builder.build(), Nowhere(folder))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_of(tmp_path_factory.mktemp("store"), left_out={(2, "edge-3"): "it was away"})


def test_its_accuracy_is_by_environment_and_model(run: Run) -> None:
    accuracy = run.accuracy

    assert list(accuracy.columns) == ["pretrained", "best edge alone", "fused"]
    assert list(accuracy.index[:2]) == ["edges' held-out samples", "all"]
    assert accuracy.loc["edges' held-out samples", "pretrained"] == pytest.approx(0.551)
    assert accuracy.loc["all"].round(3).tolist() == [0.501, 0.636, 0.901]


def test_its_rounds_begin_with_the_pretrained_model(run: Run) -> None:
    rounds = run.rounds

    assert list(rounds.index) == [0, 1, 2, 3, 4, 5]
    assert rounds.loc[0, "sha256"] == digest("round 0")
    assert rounds.loc[5, "sha256"] == run.digest == digest("round 5")
    assert rounds.loc[2, "left out"] == 1
    assert rounds.loc[5, "accuracy on edges"] == pytest.approx(0.911, abs=0.001)
    assert rounds["accuracy, all"].is_monotonic_increasing


def test_its_edges_say_what_each_brought_in_each_round_and_why_one_did_not(run: Run) -> None:
    edges = run.edges

    assert edges.loc[("edge-3", 2), "left out"] == "it was away"
    assert len(edges) == 25
    assert edges.loc[("edge-1", 1), "samples"] > 0
    assert (edges["accuracy after"].dropna() <= 1).all()


def test_its_epochs_are_those_of_pretraining_where_no_edge_kept_a_history(run: Run) -> None:
    epochs = run.epochs

    assert set(epochs.index.get_level_values("edge")) == {"cloud"}
    assert {"accuracy", "recall", "loss"} <= set(epochs.columns)


def test_its_confusion_has_true_classes_as_rows(run: Run) -> None:
    confusion = run.confusion

    assert list(confusion.index) == list(confusion.columns) == list("0123456789")
    assert confusion.index.name == "true"


def test_it_shows_its_report_in_a_frame_of_its_own(run: Run, tmp_path: Path) -> None:
    shown = run._repr_html_()

    assert shown.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert 'sandbox=""' in shown
    assert "<h1>Fused model: 0.911" in run.report.save(tmp_path / "report.html").read_text()
    assert run.events["what"].tolist()[0] == "created"
    assert repr(run) == "Run 'digits': finished"
    assert run.mlflow is None


def test_a_run_that_is_not_done_is_shown_as_far_as_it_has_come(tmp_path: Path) -> None:
    begun = run_of(tmp_path, evaluated=False, state="running", rounds=1)

    assert begun.state == "running"
    assert begun.accuracy.empty
    assert begun.wait(seconds=0) is begun
    with pytest.raises(NotFound, match="no confusion matrix"):
        begun.confusion  # noqa: B018
    with pytest.raises(InvalidInput, match="Only finished runs are compared; these are not: Run 'digits': running"):
        compare([begun])
    assert "1 round fused" in begun._repr_html_()


def test_waiting_for_a_run_that_failed_says_why_and_with_which_code(tmp_path: Path) -> None:
    failed = run_of(tmp_path, state="running", evaluated=False)
    stored = StoredRun(failed._stored.store, "digits")
    set_state(stored, RunState(state="failed", message="The disk is full.", exit_code=5, at=BEGAN))

    with pytest.raises(WorkFailed, match="The disk is full") as raised:
        failed.wait()
    assert raised.value.exit_code == 5
    assert raised.value._render_traceback_() == ["WorkFailed: The disk is full."], "what a notebook shows"


def test_a_run_is_cancelled_once_and_not_after_its_end(tmp_path: Path, run: Run) -> None:
    begun = run_of(tmp_path, state="running", evaluated=False)

    begun.cancel()

    with pytest.raises(Cancelled):
        begun.wait()
    with pytest.raises(Conflict, match="is finished since"):
        run.cancel()


def test_runs_beside_each_other_are_told_by_what_their_tasks_differ_in(run: Run, tmp_path: Path) -> None:
    other = run_of(tmp_path, rounds=3)

    found = compare([run, other])

    assert "0.901" in repr(found)
    assert "all" in found.table.columns
    assert "font-weight" in found._repr_html_()
    assert len(found.plot().axes) == 2
    with pytest.raises(InvalidInput, match="no run to compare"):
        compare([])


def test_runs_that_differ_in_their_seeds_alone_are_one_row_with_mean_and_spread(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / str(seed), seed=seed) for seed in range(3)]
    other = run_of(tmp_path / "other", rounds=3)

    found = compare([*runs, other])

    each = [run.accuracy.loc["all", "fused"] for run in runs]
    assert found.table["seeds"].tolist() == [3, 1]
    assert found.table["all"].tolist() == pytest.approx([sum(each) / 3, other.accuracy.loc["all", "fused"]])
    assert found.table["± all"].tolist() == pytest.approx([pandas.Series(each).std(ddof=0), 0])
    assert "seed" not in found.table.columns
    assert len(found.plot().axes) == 2


def test_runs_with_the_same_seed_stay_apart(tmp_path: Path) -> None:
    found = compare([run_of(tmp_path / "one"), run_of(tmp_path / "other")])

    assert found.table.index.tolist() == ["digits", "digits (2)"]
