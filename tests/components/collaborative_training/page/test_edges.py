from pathlib import Path

from components.collaborative_training.page.findings import gather
from components.collaborative_training.page.sections import report_of
from tests.components.collaborative_training.page.reading import Page
from tests.components.collaborative_training.page.run_builder import RunBuilder


def rows(page: Page) -> dict[str, dict[str, str]]:
    head, *body = page.tables["edges"]
    return {row[0]: dict(zip(head, row, strict=True)) for row in body}


def test_each_edge_has_its_data_its_accuracies_and_its_weight(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path, environments=()).build()
    evaluation, first, fusion = run.evaluation(), run.fusion(1), run.fusion(5)
    assert evaluation is not None
    assert evaluation.gate is not None
    assert first is not None
    assert fusion is not None
    alone = {contribution.edge: contribution.accuracy for contribution in first.contributions}
    found = rows(Page(report_of(gather(run)).page()))
    assert list(found) == ["edge-1", "edge-2", "edge-3", "edge-4", "edge-5"]
    for contribution in fusion.contributions:
        judged = evaluation.gate.edges[contribution.edge]
        row = found[contribution.edge]
        assert row["Samples"] == str(contribution.samples)
        assert row["Epochs"] == "5"
        assert row["Pretrained"] == f"{judged['pretrained'].accuracy:.3f}"
        assert row["Alone"] == f"{alone[contribution.edge]:.3f}"
        assert row["Fused"] == f"{judged['fused'].accuracy:.3f}"
        assert row["Weight"] == "0.180"


def test_what_went_wrong_at_an_edge_is_told_with_its_reason(tmp_path: Path) -> None:
    builder = RunBuilder(
        tmp_path,
        environments=(),
        left_out={(2, "edge-4"): "is it online?", (4, "edge-4"): "still training", (5, "edge-2"): "a value is not finite"},
        late={(3, "edge-4"): 2},
    )
    found = rows(Page(report_of(gather(builder.build())).page()))
    assert found["edge-1"]["Remarks"] == ""
    assert found["edge-2"]["Remarks"] == "Left out in round 5: a value is not finite"
    assert found["edge-2"]["Weight"] == ""
    assert found["edge-3"]["Remarks"] == (
        "Collected samples 2 more times. Passed over 3 files of samples: 'cloudedge-edge status' there says which and why. "
        "Below its target accuracy."
    )
    assert found["edge-4"]["Remarks"] == (
        "Late: an earlier round's model joined in round 3. Left out in 2 of 5 rounds; in round 4: still training"
    )


def test_an_edge_that_never_delivered_is_not_forgotten(tmp_path: Path) -> None:
    builder = RunBuilder(tmp_path, rounds=2, environments=(), left_out={(1, "edge-5"): "offline", (2, "edge-5"): "offline"})
    row = rows(Page(report_of(gather(builder.build())).page()))["edge-5"]
    assert (row["Samples"], row["Alone"], row["Weight"]) == ("", "", "")
    assert row["Remarks"] == "Left out in 2 of 2 rounds; in round 2: offline"


def test_an_edge_that_is_worse_off_with_the_fused_model_stands_out(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path, rounds=1, environments=(), passed=False).build()
    evaluation = run.evaluation()
    assert evaluation is not None
    assert evaluation.gate is not None
    worse = [
        f"{scores['fused'].accuracy:.3f}"
        for scores in evaluation.gate.edges.values()
        if scores["fused"].accuracy < scores["pretrained"].accuracy
    ]
    assert worse
    assert Page(report_of(gather(run)).page()).classes["worse"] == worse


def test_of_many_edges_those_with_the_lowest_accuracy_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path, edges=[f"edge-{number}" for number in range(1, 201)], rounds=2).build()
    fusion = run.fusion(2)
    assert fusion is not None
    lowest = sorted(fusion.contributions, key=lambda c: c.accuracy or 0.0)[:30]
    page = Page(report_of(gather(run)).page())
    assert sorted(rows(page)) == sorted(c.edge for c in lowest)
    assert "The 30 edges with the lowest accuracy are shown, 170 more are not." in page.text
    assert {row[0] for row in page.tables["heat"][1:]} == {c.edge for c in lowest} | {"Pretrained", "Fused, round 2"}


def test_the_map_of_models_marks_where_each_edge_model_is_best(tmp_path: Path) -> None:
    page = Page(report_of(gather(RunBuilder(tmp_path).build())).page())
    head, *body = page.tables["heat"]
    assert head == ["Model", "All", "clean", "dim", "glare", "noisy", "rotated"]
    assert [row[0] for row in body] == ["edge-1", "edge-2", "edge-3", "edge-4", "edge-5", "Pretrained", "Fused, round 5"]
    assert [body[index][2 + index] for index in range(5)] == ["0.930"] * 5
    assert page.classes["best"] == ["0.930"] * 5


def test_a_label_histogram_tells_its_counts_and_gives_up_drawing_where_classes_are_many(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "few", rounds=1, environments=(), classes=("cat", "dog")).build()
    assert any(title.startswith("cat: 0, dog: ") for title in Page(report_of(gather(run)).page()).titles)
    many = RunBuilder(tmp_path / "many", rounds=1, environments=(), classes=[f"c{number}" for number in range(70)]).build()
    page = Page(report_of(gather(many)).page())
    assert all(row["By class"].endswith(" of 70 classes") for row in rows(page).values())


def test_an_edge_that_measures_nothing_has_no_accuracy_and_a_remark_says_so(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path, rounds=2, environments=()).build()
    for number in (1, 2):
        record = run.fusion(number)
        assert record is not None
        first, *others = record.contributions
        unmeasured = record.model_copy(update={"contributions": (first.model_copy(update={"accuracy": None}), *others)})
        run.put(run.round_key(number, "fusion.json"), unmeasured)
    row = rows(Page(report_of(gather(run)).page()))["edge-1"]
    assert (row["Alone"], row["Over rounds"]) == ("", "")
    assert "Its model is not measured: too few samples of each class to hold one out." in row["Remarks"]
