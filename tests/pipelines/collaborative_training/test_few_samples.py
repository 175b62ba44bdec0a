"""What is known of a folder of samples before a run begins."""

from pathlib import Path

from cloudedge.documents import DataFormat, SampleField
from pipelines.collaborative_training.display import sentence
from pipelines.collaborative_training.samples import unmeasured

DATA = DataFormat(storage="csv", fields=(SampleField(name="x"),), classes=("good", "worn"))


def test_edges_with_too_few_samples_to_hold_one_out_are_named(tmp_path: Path) -> None:
    (tmp_path / "cloud").mkdir()
    folders = {}
    for edge, labels in {"one": ["good"], "two": ["good", "worn"] * 2, "enough": ["good"] * 3, "none": []}.items():
        folders[edge] = tmp_path / "edges" / edge
        folders[edge].mkdir(parents=True)
        rows = [f"{number},{label}" for number, label in enumerate(labels)]
        (folders[edge] / "samples.csv").write_text("\n".join(["x,label", *rows]) + "\n")
    folders["damaged"] = tmp_path / "edges" / "damaged"
    folders["damaged"].mkdir()
    (folders["damaged"] / "samples.csv").write_text("y\n1\n")

    assert unmeasured(DATA, folders) == ["one", "two", "none"]


def test_it_is_said_where_nothing_is_measured_and_what_follows_if_that_is_everywhere() -> None:
    assert sentence("unmeasured", {"edges": ["one"], "of": 3}) == (
        "Too few samples of each class to hold one out at one: so no model is measured there. "
        "What is trained there counts all the same."
    )
    assert "one, two: so no model can be measured there, and none is registered." in sentence(
        "unmeasured", {"edges": ["one", "two"], "of": 2}
    )
