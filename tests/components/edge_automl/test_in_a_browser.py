"""The report of searches on devices as it is seen, on a desk and on a phone."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from cloudedge.documents.tasks.edge_automl import Allowed
from cloudedge.store import DirectoryStore
from components.edge_automl.page.sections import report_of
from tests.components.collaborative_training.page.test_in_a_browser import SMALLEST_TEXT
from tests.components.edge_automl.searches import BARREN, SITES, Searches, task

OVERLAPS = """
() => [...document.querySelectorAll("svg.chart")].flatMap(chart => {
  const boxes = [...chart.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]);
  return boxes.flatMap(([name, box], place) => boxes.slice(place + 1).filter(([, other]) =>
    box.left < other.right - 1 && other.left < box.right - 1 && box.top < other.bottom - 1 && other.top < box.bottom - 1
  ).map(([other]) => `${name} and ${other}`));
})
"""
"""Texts in drawings that stand in each other's way."""


@pytest.mark.parametrize("names", [["gate-2"], ["gate-1", "gate-2", "gate-3", "gate-10"]])
@pytest.mark.parametrize("width", [1600, 390])
def test_the_report_fits_its_window_and_its_pictures_can_be_read(
    width: int, names: list[str], page: Page, tmp_path: Path
) -> None:
    sites = {name: {**SITES, "gate-3": BARREN}[name] for name in names}
    searches = Searches(DirectoryStore(tmp_path / "store"), task(allowed=Allowed(latency_ms=2.8)), sites)
    file = tmp_path / "report.html"
    file.write_text(report_of(searches.ended()).page())

    page.set_viewport_size({"width": width, "height": 800})
    page.goto(file.as_uri())

    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("svg.chart").count() == len(names)
    assert page.evaluate(SMALLEST_TEXT) >= 8
    assert page.evaluate(OVERLAPS) == []
