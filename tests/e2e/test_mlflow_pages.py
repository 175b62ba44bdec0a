"""What a person sees of two runs in MLflow, in a browser: which is better, by how much, what they differ in, what they made."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Locator, Page, expect

import pipelines
from cloud.runs.run import Run
from cloud.tracking import Relay, TrackingLog, TrackingRecord
from cloudedge.documents import Fusion
from cloudedge.store import DirectoryStore
from pipelines import Task
from tests.cloud.tracking.server import MlflowServer
from tests.cloud.tracking.told import START, WARNINGS_OF_MLFLOW, edge_record, point
from tests.digits import EDGES, digits_task
from tests.e2e.conftest import Finished
from tests.e2e.laptop import Laptop
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500), pytest.mark.filterwarnings(*WARNINGS_OF_MLFLOW)]

CAREFUL = Fusion(rule="fedavgm", parameters={"learning_rate": 0.3, "momentum": 0.0})
"""Takes a third of each step, so that two rounds bring less."""


@dataclass(frozen=True)
class Told:
    """A server that was told of two finished runs."""

    uri: str
    runs: dict[str, Run]
    ids: dict[str, str]

    def page_of(self, run: str, part: str = "") -> str:
        return f"{self.uri}/#/experiments/1/runs/{self.ids[run]}{part}"

    @property
    def comparison(self) -> str:
        return f"{self.uri}/#/compare-runs?runs={quote(json.dumps(list(self.ids.values())))}&experiments=%5B%221%22%5D"

    def accuracy_on_edges(self, run: str) -> float:
        evaluation = self.runs[run].evaluation()
        assert evaluation is not None
        assert evaluation.gate is not None
        assert evaluation.gate.fused is not None
        return evaluation.gate.fused


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Laptop:
    """A finished run that differs in its fusion rule alone."""
    task = digits_task("careful-digits", fusion=CAREFUL)

    laptop = Laptop(tmp_path_factory.mktemp("careful"), samples, task)
    with pipelines.Laptop(laptop.home.folder) as python:
        assert python.run(Task.of(task), samples, display=False).state == "finished"
    return laptop


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, flat: Finished, careful: Laptop) -> Iterator[Told]:
    """Both runs' records, carried to one server as a cluster's steps carry theirs."""
    folder = tmp_path_factory.mktemp("mlflow")
    server = MlflowServer(f"sqlite:///{folder / 'mlflow.db'}", folder)
    server.start()
    try:
        runs = {}
        for laptop in (flat.laptop, careful):
            store = DirectoryStore(folder / laptop.task.id)
            shutil.copytree(laptop.store.root, store.root)
            shutil.rmtree(store.root / laptop.run.key("tracking", "relayed.json"), ignore_errors=True)
            Relay(store, laptop.task.id, server.uri, "cloudedge").push()
            runs[laptop.task.id] = Run(store, laptop.task.id)
        found = MlflowClient(server.uri).search_runs(["1"], "tags.`cloudedge.run` LIKE '%digits'")
        ids = {run.data.tags["cloudedge.run"]: run.info.run_id for run in found}
        yield Told(server.uri, runs, {name: ids[name] for name in runs})
    finally:
        server.kill()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A server that was told of fifty runs of two edges: of more than a page of MLflow's lists, edges and all."""
    folder = tmp_path_factory.mktemp("many")
    uri, store = f"sqlite:///{folder / 'mlflow.db'}", DirectoryStore(folder / "store")
    edges = ["hall-1", "hall-2"]
    names = [f"run-{number:02d}" for number in range(50)]
    for name in names:
        TrackingLog(store, name).append(
            [TrackingRecord(at=START), *(edge_record(edge, point("accuracy", 0.5, 1)) for edge in edges)], "wait-1"
        )
        Relay(store, name, uri, "cloudedge").push()
    server = MlflowServer(uri, folder)
    server.start()
    try:
        yield Told(server.uri, {}, dict.fromkeys(names, ""))
    finally:
        server.kill()


def test_two_runs_compare_at_a_glance(told: Told, page: Page) -> None:
    page.set_viewport_size({"width": 1600, "height": 3000})
    page.goto(told.comparison)

    expect(page.get_by_role("heading", name="Comparing 2 Runs from 1 Experiment")).to_be_visible()
    assert row(page, "Run Name:") == list(told.runs)
    for title in ("Parameters", "Metrics", "Tags"):
        page.get_by_role("switch", name=f"{title} - Show diff only").click()
    # Nothing differs by its nature: what is listed is what was changed, and what came of it.
    assert row(page, "collaboration.fusion.rule") == ["samples", "fedavgm"]
    assert row(page, "collaboration.fusion.parameters.learning_rate") == ["", "0.3"]
    assert page.get_by_text("collaboration.rounds", exact=True).count() == 0
    figures = [told.accuracy_on_edges(run) for run in told.runs]
    assert figures[0] > figures[1]
    assert row(page, "accuracy_on_edges") == [f"{figure:.3g}" for figure in figures]
    assert len(set(row(page, "cloudedge.sha256"))) == 2

    # The chart is of the figure that counts, drawn before anybody chooses one.
    chart = page.locator(".js-plotly-plot svg.main-svg").first
    expect(chart).to_be_visible()
    expect(page.locator(".js-plotly-plot")).to_contain_text("accuracy_on_edges")
    expect(page.locator(".js-plotly-plot")).to_contain_text("collaboration.fusion.rule")
    # Both have a report, to be looked at side by side.
    expect(page.get_by_text("report.html")).to_be_visible()


def test_the_rounds_of_all_runs_are_drawn_in_one_chart(told: Told, page: Page) -> None:
    page.goto(f"{told.uri}/#/experiments/1/runs?compareRunsMode=CHART")

    card = page.get_by_test_id("experiment-view-compare-runs-card").filter(has_text="accuracy_on_edges")
    for run in told.runs:
        expect(card.get_by_text(f"{run} (accuracy_on_edges)", exact=True)).to_be_visible()
    until(
        lambda: [line.count("L") + 1 for line in drawn(card)] == [3, 3],
        what="a line for each run, pretrained and after each round",
    )


def drawn(card: Locator) -> set[str]:
    """The lines of a chart; MLflow draws each run's twice, the second time to be lit up under the mouse."""
    lines = card.locator(".scatterlayer path.js-line").evaluate_all("lines => lines.map(line => line.getAttribute('d'))")
    return set(lines)


def test_a_runs_page_explains_itself(told: Told, page: Page) -> None:
    page.set_viewport_size({"width": 1600, "height": 2500})
    page.goto(told.page_of("digits"))

    expect(page.get_by_role("heading", name="digits", exact=True)).to_be_visible()
    accuracy = told.accuracy_on_edges("digits")
    expect(page.get_by_text(f"Fused model: {accuracy:.3f} on the edges' held-out samples; pretrained: ")).to_be_visible()
    expect(page.get_by_text("Gate passed. Registered as tiny-digits. Run finished.")).to_be_visible()
    expect(page.get_by_text(re.compile(r"cloud \([0-9a-f]{32}\)"))).to_be_visible()


def test_the_report_is_shown_with_its_run(told: Told, page: Page) -> None:
    page.goto(told.page_of("digits", "/artifacts/report.html"))

    report = page.frame_locator("iframe").get_by_role("heading", level=1)
    expect(report).to_contain_text(f"Fused model: {told.accuracy_on_edges('digits'):.3f}")


def test_the_curves_of_a_runs_edges_are_a_click_away_from_it(told: Told, page: Page) -> None:
    page.goto(told.page_of("digits"))
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Epoch by epoch").click()
    curves = opened.value

    for child in ("pretraining", *EDGES):
        expect(curves.get_by_role("link", name=f"digits/{child}", exact=True)).to_be_visible()
    expect(curves.get_by_text("careful-digits")).to_have_count(0)
    card = curves.get_by_test_id("experiment-view-compare-runs-card").filter(has_text="train_loss")
    until(lambda: len(drawn(card)) == 1 + len(EDGES), what="a line for pretraining and each edge")


def test_the_first_page_of_an_experiment_shows_all_of_its_runs_and_nothing_else(many: Told, page: Page) -> None:
    page.set_viewport_size({"width": 1600, "height": 2600})
    page.goto(f"{many.uri}/#/experiments/1/runs")

    expect(page.get_by_text("50 matching runs")).to_be_visible()
    expect(page.get_by_role("button", name="Load more")).to_have_count(0)
    for run in many.ids:
        expect(page.get_by_role("link", name=run, exact=True)).to_be_visible()
    assert page.get_by_role("link", name=re.compile("hall-")).count() == 0


def test_an_edges_page_says_what_it_trained_on_and_for_whom(told: Told, page: Page) -> None:
    client = MlflowClient(told.uri)
    mine = f"tags.`mlflow.parentRunId` = '{told.ids['digits']}' and tags.`cloudedge.edge` = 'edge-1'"
    (run,) = client.search_runs(["1", "2"], mine)
    page.goto(f"{told.uri}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}")

    expect(page.get_by_role("heading", name="digits/edge-1")).to_be_visible()
    expect(page.get_by_role("link", name="digits", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile(r"edge-1 \([0-9a-f]{32}\)"))).to_be_visible()
    for figure in ("accuracy", "recall", "loss", "train_loss"):
        expect(page.get_by_role("link", name=figure, exact=True)).to_be_visible()


def test_a_versions_page_says_what_the_model_is_made_of(told: Told, page: Page) -> None:
    version = MlflowClient(told.uri).get_model_version_by_alias("tiny-digits", "champion")
    page.goto(f"{told.uri}/#/models/tiny-digits/versions/{version.version}")

    expect(page.get_by_text("champion")).to_be_visible()
    expect(page.get_by_text("fused by the rule fedavgm, 2 rounds, in run careful-digits.")).to_be_visible()
    record = told.runs["careful-digits"].fusion(2)
    assert record is not None
    expect(page.get_by_text(record.sha256).first).to_be_visible()
    for contribution in record.contributions:
        round_number, weight, samples, fingerprint, sha256 = row(page, contribution.edge)
        assert (round_number, weight) == ("2", f"{contribution.weight:.3f}")
        assert (samples, sha256) == (str(contribution.samples), contribution.sha256[:12])
        assert re.fullmatch("[0-9a-f]{12}", fingerprint)
    page.get_by_text("Inputs (1)").click()
    expect(page.get_by_text(re.compile(r"Tensor \(dtype: float32, shape: \[-1,1,8,8\]\)"))).to_be_visible()


BESIDE = """
name => {
  const row = name.closest("tr");
  if (row) return [...row.querySelectorAll("td")].map(cell => cell.innerText.trim()).slice(name.closest("td") ? 1 : 0);
  const metrics = name.closest("[role=grid]").parentElement.parentElement;
  const {top, bottom, right} = name.getBoundingClientRect(), middle = (top + bottom) / 2;
  return [...metrics.querySelectorAll("*")]
    .filter(cell => !cell.children.length && cell.innerText.trim())
    .map(cell => ({text: cell.innerText.trim(), box: cell.getBoundingClientRect()}))
    .filter(({box}) => box.left >= right && box.top <= middle && middle <= box.bottom)
    .sort((one, other) => one.box.left - other.box.left)
    .map(({text}) => text);
}
"""
"""What stands to the right of a name. MLflow's metrics are a table to the eye alone, so there the eye's way is taken."""


def row(page: Page, name: str) -> list[str]:
    found: list[str] = page.get_by_text(name, exact=True).last.evaluate(BESIDE)
    return found
