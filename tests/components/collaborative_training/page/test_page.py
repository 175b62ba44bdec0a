import json
import re
from pathlib import Path

import pytest

from cloud.runs.run import Run
from cloudedge.errors import NotFound
from cloudedge.store import DirectoryStore
from components.collaborative_training.page.findings import gather
from components.collaborative_training.page.sections import report_of
from tests.components.collaborative_training.page.reading import Page
from tests.components.collaborative_training.page.run_builder import RunBuilder, digest

SECTIONS = [
    "Accuracy over rounds",
    "Accuracy by environment",
    "What each edge reaches alone",
    "The edges",
    "What the final model takes for what",
    "Where the time went",
    "To look up",
]
HOSTILE = """<script>alert('x')</script> & <img src=x onerror="alert(1)"> -->"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    return report_of(gather(RunBuilder(tmp_path_factory.mktemp("store")).build())).page()


def sections(page: str) -> list[str]:
    return [title.replace("&#39;", "'") for title in re.findall("<h2>(.*?)</h2>", page)]


def test_the_page_says_first_how_good_the_model_is_and_what_became_of_it(whole: str) -> None:
    assert "<h1>Fused model: 0.911 on the edges&#39; held-out samples; pretrained: 0.551.</h1>" in whole
    assert (
        "On 1,800 test samples: fused 0.901, best edge alone 0.636, pretrained 0.501. "
        "Gate passed. Registered as digits. Run finished." in Page(whole).text
    )


def test_all_sections_stand_in_the_order_in_which_a_person_asks(whole: str) -> None:
    assert sections(whole) == SECTIONS


def test_the_page_needs_nothing_from_outside_and_runs_no_script(whole: str) -> None:
    page = Page(whole)
    assert page.tags["script"] == page.tags["link"] == page.tags["img"] == page.tags["iframe"] == 0
    links = [value for _, name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert links
    assert all(link.startswith("#") for link in links)
    assert set(re.findall(r"url\((.)", whole)) <= {"#"}
    assert "@import" not in whole


def test_no_two_drawings_share_an_id_and_every_reference_has_its_target(whole: str) -> None:
    ids = Page(whole).ids
    assert set(ids.values()) == {1}
    assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', whole)) == set(ids)


def test_every_colour_is_defined_for_light_and_for_dark(whole: str) -> None:
    light, dark = re.findall(r":root \{(.*?)\}", whole, re.DOTALL)
    colours = set(re.findall(r"var\(--([a-z]+)\)", whole)) - {"font"}
    assert {"ink", "fused", "pretrained", "edge", "heat"} <= colours
    for names in (light, dark):
        assert colours <= set(re.findall(r"--([a-z]+):", names))
    assert not re.findall(r"(?:fill|stroke): #", whole)


def test_the_same_run_gives_the_same_bytes_wherever_it_is_kept_and_however_plots_are_styled(tmp_path: Path, whole: str) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "svg.fonttype": "path"}):
        assert report_of(gather(RunBuilder(tmp_path).build())).page() == whole


def test_the_texts_of_people_and_edges_never_become_markup(tmp_path: Path) -> None:
    builder = RunBuilder(
        tmp_path,
        name=HOSTILE,
        environments=(HOSTILE, "$a_{b$", "plain"),
        classes=(HOSTILE, "b", "c"),
        left_out={(5, "edge-2"): HOSTILE},
        state="failed",
        message=HOSTILE,
    )
    text = report_of(gather(builder.build())).page()
    page = Page(text)
    assert page.tags["script"] == page.tags["img"] == 0
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert text.count("alert(1)") >= 8
    assert HOSTILE in page.texts
    assert f"Left out in round 5: {HOSTILE}" in page.texts
    assert "$a_{b$" in page.texts


def test_a_refused_model_is_said_to_be_refused(tmp_path: Path) -> None:
    text = Page(report_of(gather(RunBuilder(tmp_path, passed=False, rounds=1, environments=()).build())).page()).text
    assert "Gate refused: the fused model is worse than the pretrained one, so it is not registered." in text
    assert "Registered" not in text


def test_a_run_that_failed_half_way_has_a_page_that_says_why(tmp_path: Path) -> None:
    builder = RunBuilder(
        tmp_path, rounds=2, evaluated=False, state="failed", message="Round 3 got 2 results of the 5 it needs."
    )
    text = report_of(gather(builder.build())).page()
    assert "Pretrained model: 0.580 on the cloud&#39;s held-out samples; 2 rounds fused, not evaluated yet." in text
    assert "<b>Run failed. </b>Round 3 got 2 results of the 5 it needs." in text
    assert sections(text) == ["Accuracy over rounds", "The edges", "Where the time went", "To look up"]


def test_a_run_without_edges_and_test_data_has_only_what_it_has(tmp_path: Path) -> None:
    text = report_of(gather(RunBuilder(tmp_path, rounds=0, edges=(), environments=()).build())).page()
    assert "<h1>Pretrained model: 0.580 on the cloud&#39;s held-out samples.</h1>" in text
    assert sections(text) == ["Where the time went", "To look up"]


def test_one_round_is_no_course_to_draw_and_one_environment_is_no_comparison(tmp_path: Path) -> None:
    text = report_of(gather(RunBuilder(tmp_path, rounds=1, environments=("test",)).build())).page()
    assert sections(text) == [title for title in SECTIONS if title not in (SECTIONS[0], SECTIONS[2])]
    assert "Over rounds" not in text


def test_of_many_environments_those_the_final_model_does_worst_on_are_shown(tmp_path: Path) -> None:
    names = [f"site-{number}" for number in range(1, 21)]
    run = RunBuilder(tmp_path, rounds=2, environments=names).build()
    evaluation = run.evaluation()
    assert evaluation is not None
    final = next(model for model in evaluation.models if model.round == 2).scores
    worst = set(sorted(names, key=lambda name: final[name].accuracy)[:12])
    page = Page(report_of(gather(run)).page())
    assert page.tables["heat"][0] == ["Model", "All", *(name for name in names if name in worst)]
    assert "8 environments where the final model does better are not shown." in page.text


def test_an_edge_that_came_later_began_with_what_the_others_learned_and_is_not_called_alone(tmp_path: Path) -> None:
    found = gather(RunBuilder(tmp_path, environments=("clean", "dim"), joined={"edge-1": 4}).build())
    (best,) = [model for model in found.by_edge() if model.name == "edge-1"]
    assert best not in found.alone()
    page = Page(report_of(found).page())
    assert [row[0] for row in page.tables["heat"][1:3]] == ["edge-1, since round 4", "edge-2"]
    assert "Who came later began with what the others had learned." in page.text
    highest = max(model.scores["all"].accuracy for model in found.alone())
    assert f"best edge alone {highest:.3f}" in page.text


def test_a_record_of_an_earlier_version_is_read_and_its_models_of_the_last_round_are_not_called_alone(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path).build()
    key = run.key("evaluation.json")
    former = json.loads(run.store.get(key, 1 << 20))
    for model in former["models"]:
        del model["trained_in"]
    run.store.put(key, json.dumps(former).encode())

    text = report_of(gather(run)).page()

    assert "fused 0.901, pretrained 0.501." in text
    assert "edge alone" not in text
    assert sections(text) == [title for title in SECTIONS if title != "What each edge reaches alone"]


def test_the_digest_of_every_model_can_be_looked_up(whole: str) -> None:
    rows = Page(whole).tables["digests"]
    assert rows[1] == ["pretrained", digest("round 0"), "22.6 KiB"]
    assert [row[:2] for row in rows[2:]] == [[f"fused, round {number}", digest(f"round {number}")] for number in range(1, 6)]


def test_the_task_can_be_taken_from_the_page(tmp_path: Path) -> None:
    run = RunBuilder(tmp_path, rounds=1, environments=()).build()
    assert run.task().to_json().decode() in Page(report_of(gather(run)).page()).texts


def test_a_run_that_only_just_began_has_a_page(tmp_path: Path) -> None:
    run = Run(DirectoryStore(tmp_path / "new"), "digits")
    run.create(RunBuilder(tmp_path / "other").build().task())
    text = report_of(gather(run)).page()
    assert "<h1>No model is trained yet.</h1>" in text
    assert sections(text) == ["To look up"]


def test_there_is_no_page_of_an_unknown_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no run 'other'"):
        gather(Run(DirectoryStore(tmp_path), "other"))
