"""The report in short, which MLflow shows with the run."""

from pathlib import Path

from components.collaborative_training.page.findings import gather
from components.collaborative_training.page.headline import headline
from components.collaborative_training.page.sections import report_of
from tests.components.collaborative_training.page.run_builder import RunBuilder


def test_it_says_what_the_report_says_first(tmp_path: Path) -> None:
    found = gather(RunBuilder(tmp_path).build())

    text = report_of(found).note()

    assert text.startswith(f"**{found.task.name}.** {headline(found)}\n\n")
    assert "Gate passed." in text
    assert text.count("\n| edge-") == 5
    assert "| all test samples" in text


def test_a_run_of_many_edges_fits_what_mlflow_takes(tmp_path: Path) -> None:
    edges = tuple(f"edge-{'x' * 44}-{number}" for number in range(60))
    text = report_of(gather(RunBuilder(tmp_path, edges=edges).build())).note()

    assert text.count("\n| edge-") == 30
    assert "And 30 edges more." in text
    assert len(text) < 8000


def test_a_run_without_collaboration_has_no_tables(tmp_path: Path) -> None:
    text = report_of(gather(RunBuilder(tmp_path, rounds=0, edges=(), environments=()).build())).note()

    assert "|" not in text
    assert "report.html" in text
