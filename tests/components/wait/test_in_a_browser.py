"""How the edges of a round fared, as it is seen in a window and in Kubeflow's panel beside the graph."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from cloudedge.documents import Phase
from components.wait.step import wait_step
from tests.components.cloud import Cloud

EDGES = ("edge-1", "the-third-press-of-hall-1-in-a-town-with-a-long-name", "edge-3")


@pytest.mark.parametrize("width", [1200, 280])
def test_all_that_is_said_of_the_edges_fits_the_window(cloud: Cloud, page: Page, tmp_path: Path, width: int) -> None:
    cloud.pretrained(edges=EDGES, quorum=2, rounds=1).dispatched(1)
    for edge in EDGES[:2]:
        cloud.deliver(edge, samples=1234567)
    cloud.report(EDGES[2], Phase.FAILED, error="/var/lib/cloudedge/samples/a/folder/with/a/long/name/row.csv has no column x")
    file = tmp_path / "round.html"
    file.write_text(wait_step(cloud.task.id, "1")[1])

    page.set_viewport_size({"width": width, "height": 800})
    page.goto(file.as_uri())

    assert page.evaluate("document.documentElement.scrollWidth") == width
    cells = page.locator("td")
    assert cells.count() == 18
    right = page.evaluate("Math.max(...[...document.querySelectorAll('td')].map(cell => cell.getBoundingClientRect().right))")
    assert right <= width
    assert page.locator("tr").filter(has_text=EDGES[1]).get_by_text("1,234,567").is_visible()
    assert page.locator("tr").filter(has_text=EDGES[2]).get_by_text("has no column x").is_visible()
