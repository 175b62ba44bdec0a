"""The report as it is seen, on a desk and on a phone."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from components.collaborative_training.page.findings import gather
from components.collaborative_training.page.sections import report_of
from tests.components.collaborative_training.page.run_builder import RunBuilder

SMALLEST_TEXT = """
() => Math.min(...[...document.querySelectorAll("svg.chart")].flatMap(chart => {
  const scale = chart.getBoundingClientRect().width / chart.viewBox.baseVal.width;
  return [...chart.querySelectorAll("text")].map(text => parseFloat(getComputedStyle(text).fontSize) * scale);
}))
"""
"""In CSS pixels, of all that is written in a drawing."""


@pytest.mark.parametrize("width", [1600, 390])
def test_the_report_fits_its_window_and_can_be_read(width: int, page: Page, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(report_of(gather(RunBuilder(tmp_path / "store").build())).page())
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    page.set_viewport_size({"width": width, "height": 800})
    page.goto(file.as_uri())

    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("svg.chart").count() > 2
    assert page.evaluate(SMALLEST_TEXT) >= 8
    assert page.get_by_role("heading", level=1).inner_text().startswith("Fused model: 0.911")
    assert not errors
