"""The report of searches on devices, as far as a run has come."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud.runs.events import record
from cloud.tracking import Registered
from cloudedge.automl.screen import candidate_in_words, in_words
from cloudedge.documents.automl import Limits, Spread, Usual
from cloudedge.documents.kinds.search import Searched
from cloudedge.documents.tasks.edge_automl import Allowed
from cloudedge.errors import NotFound, StoreFailed
from cloudedge.store import DirectoryStore
from components.edge_automl.page import words
from components.edge_automl.page.charts import Dot, ends_of, front
from components.edge_automl.page.findings import DeviceStory, beyond, gather, in_times
from components.edge_automl.page.sections import plane_of, report_of
from components.edge_automl.page.tables import Cell, Table
from components.edge_automl.page.words import in_short
from components.edge_automl.records import DONE, SEARCH
from components.edge_automl.registration import registration_of
from tests.cloudedge.automl.devices import job
from tests.components.collaborative_training.page.reading import Page
from tests.components.edge_automl.searches import AT, BARREN, SITES, STRAIT, Searches, Site, delivery, retold, searched, task

HOSTILE = """<script>alert('x')</script> & <img src=x onerror="alert(1)"> | [a](b)"""

BEST = " best model reaches 93.2% accuracy within its limits on gate-1"

NARROW = task(allowed=Allowed(latency_ms=2.8))
"""So narrow that a network that is predicted to keep it is measured above it."""


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


def page_of(searches: Searches) -> Page:
    return Page(report_of(searches.run).page())


def headline(page: str) -> str:
    found = re.search("<h1>(.*?)</h1>", page)
    assert found
    return found[1].replace("&#39;", "'")


def sections(page: str) -> list[str]:
    return re.findall("<h2>(.*?)</h2>", page)


@pytest.fixture(scope="module")
def best() -> Searched:
    """What the device of the best model says: another one with another meta model."""
    return searched("meters-1.search.gate-1.1", "gate-1", SITES["gate-1"], NARROW)[0]


def network_of(result: Searched) -> str:
    assert result.candidate
    return candidate_in_words(result.candidate)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    absent = {"gate-20": "no sign of life since the order was issued; is the edge online?"}
    sites = {**SITES, "gate-3": BARREN}
    searches = Searches(DirectoryStore(tmp_path_factory.mktemp("store")), NARROW, sites, missing=absent)
    return report_of(searches.ended()).page()


def test_the_page_says_first_what_was_found_and_where(whole: str, best: Searched) -> None:
    assert headline(whole) == f"The best model reaches {best.accuracy:.1%} accuracy within its limits on gate-1."
    text = Page(whole).text
    assert f"3 of 5 devices have a model. The best one has {network_of(best)}." in text
    assert "gate-3 cannot bear any network; what would have to change is below. gate-20 did not deliver." in text


def test_sections_stand_in_the_order_in_which_a_person_asks_and_devices_in_that_of_their_names(whole: str) -> None:
    about = ["Accuracy against latency", "What it costs on which device", "The best model on each device"]
    assert sections(whole) == [*about, "gate-1", "gate-2", "gate-3", "gate-10", "To look up"]


def test_each_device_has_its_picture_with_its_limit_and_the_chosen_network(whole: str, best: Searched) -> None:
    assert best.candidate
    drawings = re.findall(r"<figure><figcaption>(.*?)</figcaption>(.*?)</figure>", whole)
    assert [name for name, _ in drawings] == ["gate-1", "gate-2", "gate-3", "gate-10"]
    texts = [set(re.findall(r"<text[^>]*>([^<]*)</text>", drawing)) for _, drawing in drawings]
    assert {"limit 2.8 ms", in_short(best.candidate)} <= texts[0]
    assert {"limit 2.8 ms", "2/16-32/3"} <= texts[1]
    assert {"← limit 2.8 ms", "no network was trained"} <= texts[2]
    accuracies = [{text for text in drawing if re.fullmatch(r"[01]\.\d+", text) and float(text) > 0.5} for drawing in texts[:2]]
    assert accuracies[0] == accuracies[1] != set()


def test_the_page_needs_nothing_from_outside_and_no_two_drawings_share_an_id(whole: str) -> None:
    page = Page(whole)
    assert page.tags["script"] == page.tags["link"] == page.tags["img"] == page.tags["iframe"] == 0
    assert set(page.ids.values()) == {1}
    assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', whole)) == set(page.ids)
    assert not re.findall(r"(?:fill|stroke): #", whole)


def test_all_colours_of_the_pictures_are_defined_for_light_and_for_dark(whole: str) -> None:
    light, dark = re.findall(r":root \{(.*?)\}", whole, re.DOTALL)
    colours = set(re.findall(r"var\(--([a-z]+)\)", whole)) - {"font"}
    for names in (light, dark):
        assert colours <= set(re.findall(r"--([a-z]+):", names))


def test_a_table_says_what_each_model_costs_beside_the_limits_and_why_a_device_has_none(whole: str, best: Searched) -> None:
    assert best.costs
    rows = {row[0]: row[1:] for row in Page(whole).tables["costs"]}
    network, accuracy, latency, bound, memory, energy, trained, screened = rows["gate-1"]
    assert network == network_of(best)
    assert (accuracy, latency) == (f"{best.accuracy:.3f}", f"{best.costs.latency_ms:.3g} ms")
    assert bound == f"{best.costs.latency_bound_ms:.3g} ms limit 2.8 ms"
    assert memory.endswith("KiB limit 256 MiB")
    assert energy.endswith("mJ")
    assert (trained, screened) == (f"5 {best.refused} refused", f"{best.screened_out}")
    assert rows["gate-3"][0] == "none it can bear no network"
    assert rows["gate-20"][0] == "no sign of life since the order was issued; is the edge online?"


def test_a_column_in_which_nothing_is_known_is_left_out() -> None:
    about = Table(("Device", "Energy", "Trained"), frozenset(("Device",)), [[Cell("a"), Cell(""), Cell("1", "<none> refused")]])
    assert Page(about.markup()).tables[""] == [["Device", "Trained"], ["a", "1 <none> refused"]]
    assert "Energy" not in about.markdown()


def test_each_trial_is_told_with_what_was_predicted_and_what_became_of_it(whole: str) -> None:
    rows = Page(whole).tables["tried"]
    refused, *others = rows[1:6]
    assert refused[:3] == [
        "2 layers of 64 filters with kernels of 3 cross-entropy",
        "refused: latency 1.02 times its limit",
        "0.923",
    ]
    assert refused[3:5] == ["1.91 ms 1.8 ms", "2.87 ms 2.71 ms"]
    assert refused[-1] == "12 epochs 8.5 s"
    assert sorted(other[1] for other in others) == ["chosen", *["keeps the limits"] * 3]


def test_what_was_never_trained_is_counted_by_limit(whole: str) -> None:
    text = Page(whole).text
    assert "103 of 200 networks were screened out: 103 by latency." in text
    assert re.search(r"\d+ would fit and are larger than what the meta model named. \d+ would fit, and their turn", text)


def test_networks_that_break_two_limits_are_said_to(store: DirectoryStore) -> None:
    both = task(allowed=Allowed(latency_ms=2.8, memory_bytes=60_000))
    searches = Searches(store, both, {"gate-2": SITES["gate-2"]})
    searches.ended()
    text = page_of(searches).text
    assert re.search(r"\d+ of 200 networks were screened out: \d+ by latency, \d+ by memory \(some by more than one\)\.", text)


def test_where_no_device_can_bear_any_it_says_so_with_what_would_have_to_change(store: DirectoryStore) -> None:
    searches = Searches(store, task(allowed=Allowed(latency_ms=6.5, memory_bytes=2500)), {"gate-3": STRAIT})
    (result,) = searches.waited().values()
    assert result.nothing
    text = report_of(searches.ended()).page()
    assert headline(text) == "gate-3 cannot bear any network: nothing was trained."
    assert in_words(result.nothing) in Page(text).texts
    rows = Page(text).tables[""]
    assert ["2 layers of 4 filters with kernels of 1", "latency", "9.17 ms", "6.5 ms", "1.41 times as much"] in rows
    assert ["1 layer of 4 filters with kernels of 1", "memory", "3,920 bytes", "2,500 bytes", "1.56 times as much"] in rows
    assert "All 200 networks were screened out" in Page(text).text


def test_the_device_is_told_with_its_queue_and_where_each_figure_is_from(store: DirectoryStore) -> None:
    site = replace(SITES["gate-2"], jobs=(job(0.2, 0.5), job(1.5, 3, npu=0.2)))
    searches = Searches(store, task(allowed=Allowed()), {"gate-2": site})
    searches.ended()
    page = page_of(searches)
    for fact in (
        "2 tasks, the tightest one due in 0.5 s",
        "1.9 (measured)",
        "256 MiB (described)",
        "3.2 W (estimated)",
        "ARM Cortex-A53, 2 cores at 1,400 MHz",
        "took 42.0 s; the former one held no more, as an inference takes 0.5 times as long as on 2026-11-20 10:00 UTC",
        "training memory",
        "the queue's tightest deadline of 500 ms less 10% of its work of 400 ms",
        "The queue as the search began: 2 tasks",
    ):
        assert fact in page.texts, fact
    assert "1.5 s; 0.2 s on an accelerator" in page.texts


def test_the_device_is_told_with_how_it_usually_is(store: DirectoryStore) -> None:
    figures = {
        "free_nodes_cpu": Spread(looks=900, low=0.2, median=1.5, high=1.9),
        "free_memory_cpu": Spread(looks=900, low=2**27, median=2**28, high=2**29),
        "backlog": Spread(looks=900, low=0, median=0, high=120),
        HOSTILE: Spread(looks=900, low=0, median=0, high=0),
    }
    usual = Usual(looks=1000, since=AT - timedelta(hours=84), until=AT, figures=figures)
    searches = Searches(store, task(), {"gate-2": replace(SITES["gate-2"], usual=usual)})
    searches.ended()
    page = page_of(searches)
    assert (
        "cores free 1.5 (0.2 to 1.9), memory free 256 MiB (128 MiB to 512 MiB), work waiting 0.0 s (0.0 s to 2 min 0 s): "
        "median (5% to 95%) of 1,000 looks within 3 d 12 h"
    ) in page.texts
    assert not any("onerror" in text for text in page.texts)
    assert words.usual(usual.model_copy(update={"figures": {HOSTILE: figures[HOSTILE]}})) == ""


def test_a_search_that_tpe_led_says_why(store: DirectoryStore) -> None:
    far = replace(SITES["gate-2"], jobs=(job(1e4, 1e6),))
    searches = Searches(store, task(trials=2), {"gate-2": far})
    searches.ended()
    assert "constrained TPE. Beyond what the meta model was trained on:" in page_of(searches).text


@pytest.mark.parametrize(
    ("far", "said"),
    [
        ("created", "A search for a model on 3 devices."),
        ("dispatched", "3 devices search for a model."),
        (
            "delivered",
            "So far the best model reaches 93.2% accuracy within its limits on gate-1; 3 of 3 devices are done.",
        ),
        ("waited", "The best model reaches 93.2% accuracy within its limits on gate-1."),
    ],
)
def test_a_run_has_a_page_however_far_it_has_come(far: str, said: str, store: DirectoryStore) -> None:
    searches = Searches(store, task(edges=tuple(SITES)))
    getattr(searches, far)()
    assert headline(report_of(searches.run).page()) == said


def test_while_devices_search_those_that_are_done_are_shown_and_the_others_named(store: DirectoryStore) -> None:
    searches = Searches(store)
    searches.delivered(["gate-2"])
    page = report_of(searches.run).page()
    assert headline(page).endswith("on gate-2; 1 of 3 devices is done.")
    rows = {row[0]: row[1] for row in Page(page).tables["costs"]}
    assert rows["gate-10"] == "no sign of life since the order was issued; is the edge online?"


def test_a_run_in_which_nobody_delivered_has_a_page_that_says_why(store: DirectoryStore) -> None:
    searches = Searches(store, sites={}, missing={"gate-1": "failed: no samples", "gate-2": "failed: disk full"})
    text = report_of(searches.ended("failed", "Search got 0 results of the 1 that it needs.")).page()
    assert headline(text) == "No device has delivered what can be read."
    assert "failed: disk full" in text
    assert "<b>Run failed. </b>Search got 0 results" in text


@pytest.mark.parametrize("broken", ["ranking.json", "meta-model.json", "wait", "manifest", DONE, "dispatch"])
@pytest.mark.parametrize("gone", [False, True])
def test_what_cannot_be_read_is_missing_and_the_page_is_a_page_all_the_same(
    broken: str, gone: bool, store: DirectoryStore
) -> None:
    searches = Searches(store)
    run = searches.ended()
    order = delivery("gate-1")
    keys = {
        "wait": run.step_key(SEARCH, "wait.json"),
        "dispatch": run.step_key(SEARCH, "dispatch.json"),
        "manifest": run.manifest_key(order),
        DONE: run.output_key(order, DONE),
    }
    key = keys.get(broken, run.key(broken))
    if gone:
        store.delete(key)
    else:
        store.put(key, b'{"half": ')
    page = report_of(run).page()
    assert headline(page).startswith(f"The{BEST}")
    if broken == DONE:
        assert "What its search did cannot be read:" in page
        assert re.findall("<figcaption>(.*?)</figcaption>", page) == ["gate-2", "gate-10"]
    assert "gate-2" in sections(page)


def test_a_model_that_is_not_taken_is_said_not_to_be_and_is_not_the_best(store: DirectoryStore) -> None:
    searches = Searches(store, faults={"gate-1": "Its file is another than its manifest says."})
    page = report_of(searches.ended()).page()
    assert headline(page).endswith("on gate-2.")
    assert "Its model is not taken. " in Page(page).texts
    assert "not taken: Its file is another than its manifest says." in Page(page).texts
    assert [row[0] for row in Page(page).tables["digests"][1:]] == ["gate-2 (ONNX)", "gate-10 (ONNX)"]


def test_the_texts_of_people_and_edges_never_become_markup(store: DirectoryStore) -> None:
    searches = Searches(store, task(name=HOSTILE), missing={"gate-9": HOSTILE}, faults={"gate-1": HOSTILE})
    report = report_of(searches.ended("failed", HOSTILE))
    page = Page(report.page())
    assert page.tags["script"] == page.tags["img"] == 0
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.texts.count(HOSTILE) >= 4
    (costs,) = report.tables
    assert "<script>" not in costs
    assert "[a](b)" not in costs


def test_many_devices_leave_out_those_with_the_less_accurate_models(store: DirectoryStore) -> None:
    sites = {f"gate-{number}": Site() for number in range(1, 41)} | {"slow": SITES["gate-10"]}
    searches = Searches(store, task(trials=1), sites)
    searches.ended()
    page = report_of(searches.run).page()
    assert page.count("<figure>") == 12
    assert "29 devices with less accurate models are not drawn." in page
    assert "11 devices more are not shown." in page


def test_mlflow_has_the_same_in_short(store: DirectoryStore, best: Searched) -> None:
    assert best.costs
    searches = Searches(store, NARROW, {**SITES, "gate-3": BARREN})
    note = report_of(searches.ended()).note()
    assert note.startswith(f"**Meters.** The best model reaches {best.accuracy:.1%} accuracy within its limits on gate-1.")
    costs = f"{best.costs.latency_ms:.3g} ms &emsp;| {best.costs.latency_bound_ms:.3g} ms; limit 2.8 ms"
    assert f"| gate-1 &emsp;| {network_of(best)} &emsp;| {best.accuracy:.3f} &emsp;| {costs}" in note
    assert "none; it can bear no network" in note


def test_a_version_says_what_its_model_costs_on_which_device(store: DirectoryStore, best: Searched) -> None:
    assert best.costs
    searches = Searches(store, NARROW)
    ranking = searches.ranked()
    said = registration_of(searches.run, ranking, ranking.best, gather(searches.run)).description
    assert f"keeps the limits of the device `gate-1`, {network_of(best)}" in said
    assert re.search(rf"\| gate-1 .*{best.costs.latency_bound_ms:.3g} ms .*measured .*kept \|", said)
    assert re.search(r"\| gate-10 .*predicted .*latency \d+(\.\d+)? times its limit \|", said)
    with pytest.raises(NotFound, match="'gate-7' of run meters-1 has no model; there are models of gate-1, gate-10, gate-2"):
        registration_of(searches.run, ranking, "gate-7", gather(searches.run))


def test_a_version_of_a_run_on_many_devices_says_of_some_what_its_model_costs_there(store: DirectoryStore) -> None:
    sites = {f"a-device-with-a-name-as-long-as-it-may-be-{number:03d}": Site() for number in range(1, 60)}
    searches = Searches(store, task(trials=1, name="n" * 200), sites)
    ranking = searches.ranked()
    said = registration_of(searches.run, ranking, ranking.best, gather(searches.run)).description
    assert said.count("predicted") == 19
    assert "And 39 more devices." in said
    assert "29 devices more are not shown." in report_of(searches.run).page()


def test_a_network_that_costs_no_less_than_one_that_was_measured_above_a_limit_is_counted_and_drawn(
    store: DirectoryStore,
) -> None:
    searches = Searches(store)
    searches.delivered(["gate-1"])

    def another_is_spared(said: Any) -> None:
        fits = next(each for each in said["predictions"] if not each["broken"])
        said["row"]["trials"].append({**fits, "broken": ["latency"]})

    before = gather(searches.run).devices[0]
    retold(searches, "gate-1", another_is_spared)
    after = gather(searches.run).devices[0]
    assert after.tried()[-1].outcome == "screened out: it costs no less than one that was measured above its limit of latency"
    assert len(plane_of(after).screened) == len(plane_of(before).screened) + 1
    assert " 1 would fit, and costs no less than one measured above a limit." in report_of(searches.run).page()


def test_a_store_that_does_not_answer_is_not_taken_for_searches_that_cannot_be_read(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Searches(store).ended()

    def away(*_: object) -> None:
        raise StoreFailed("The store is away.")

    monkeypatch.setattr(DirectoryStore, "get", away)
    with pytest.raises(StoreFailed):
        gather(run)


def test_a_model_that_was_registered_is_said_to_be(store: DirectoryStore) -> None:
    run = Searches(store).ended()
    assert "Registered" not in report_of(run).note()
    record(store, run.id, "anna/register", "registered", model="meters-1")
    assert "Registered as meters-1. Run finished." in report_of(run).note()
    version = {"registered_model": "meters-1", "version": 3, "aliases": [], "sha256": "1" * 64, "model_id": "m", "run_id": "r"}
    run.put(run.key("tracking", "registered.json"), Registered.model_validate(version))
    assert "Registered as meters-1, version 3. Run finished." in report_of(run).note()


def test_the_front_has_only_what_keeps_the_limits_and_is_faster_or_more_accurate_than_the_others() -> None:
    dots = [
        Dot(1, 0.5, kept=True),
        Dot(2, 0.4, kept=True),
        Dot(3, 0.9, kept=True),
        Dot(3, 0.8, kept=True),
        Dot(4, 0.99, kept=False),
        Dot(5, None, kept=False),
        Dot(6, 0.9, kept=True),
    ]
    assert front(dots) == [(1, 0.5), (3, 0.9)]


@pytest.mark.parametrize(
    ("accuracies", "ends"), [([0.914], (0.9, 0.95)), ([0.33, 0.98], (0.3, 1.0)), ([1.0], (0.95, 1.0)), ([0.0], (0.0, 0.05))]
)
def test_an_axis_of_accuracies_holds_them_all(accuracies: list[float], ends: tuple[float, float]) -> None:
    assert ends_of(accuracies) == pytest.approx(ends)


def test_a_network_may_be_refused_before_it_is_trained_or_its_training_come_to_nothing() -> None:
    _, record = searched("meters-1.search.gate-1.1", "gate-1", SITES["gate-1"], task())
    assert record.row
    trial = record.row.trials[0]
    slow = trial.predicted.model_copy(update={"latency_bound_ms": 50.0, "origin": "measured"})
    bare = {"accuracy": None, "epochs": 0, "seconds": 0.0}
    refused = trial.model_copy(update={**bare, "measured": slow, "broken": ("latency",)})
    failed = trial.model_copy(update={**bare, "measured": None, "fault": "The loss is not a number."})
    unmeasured = trial.model_copy(update={"measured": None})
    row = record.row.model_copy(update={"trials": (refused, failed, unmeasured), "best": None})
    told = DeviceStory("gate-1", record=record.model_copy(update={"row": row})).tried()
    assert [one.outcome for one in told] == [
        "refused before it was trained: latency 10 times its limit",
        "training came to nothing: The loss is not a number.",
        "not measured, so not to be chosen",
    ]
    assert not any(one.kept or one.chosen for one in told)


def test_where_nothing_is_allowed_and_where_energy_is_not_known_words_are_found() -> None:
    _, record = searched("meters-1.search.gate-1.1", "gate-1", SITES["gate-1"], task())
    costs = record.predictions[0].predicted.model_copy(update={"energy_joules": None})
    assert in_times(beyond(costs, Limits(latency_ms=0, energy_joules=0.1))) == "latency where none is allowed"
