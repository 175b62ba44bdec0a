"""The pages as a site: built without a warning, read without another server, and every page and word is found."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT
from tests.docs.reader import copy_of_the_rooms

if TYPE_CHECKING:
    from playwright.sync_api import Page

PUBLIC = '''
from pydantic import BaseModel, Field

__all__ = ["Laptop", "Wish", "connect"]


class Laptop:
    """A place to run a task.

    Args:
        home: Where runs are kept.
    """

    def __init__(self, home: str) -> None:
        self.home = home

    def run(self, task: str) -> float:
        """Run a task to its end.

        Returns:
            Accuracy of the fused model: 0 to 1.

        Raises:
            ValueError: `task` is empty.
        """

    @property
    def busy(self) -> bool:
        """Whether somebody is at work: here or elsewhere."""

    def _prepare(self) -> None:
        """Nobody's business."""


class Wish(BaseModel):
    """What is wanted."""

    rounds: int = Field(default=3, description="How often models are fused.")


def connect(address: str) -> Laptop:
    """Find a place."""
'''


def build(sources: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Build the site as `make docs` does."""
    options = ["--quiet", "--keep-going", "--fail-on-warning", "--conf-dir", "docs"]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *options, ".", folder],
        cwd=sources,
        env={**os.environ, "PYTHONPATH": str(sources)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT, folder)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A clone's pages and all that they lead to, to be changed."""
    clone = copy_of_the_rooms(tmp_path / "clone")
    for folder in ("benchmarks", "docs", "notebooks"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (*ROOT.glob("*.md"), ROOT / "LICENSE"):
        shutil.copy(file, clone)
    return clone


def test_the_side_bar_leads_to_every_page_which_needs_no_other_server_and_fits_a_telephone(
    site: Path, address: str, page: "Page"
) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(address)
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")

    links = page.locator(".sidebar-tree a").evaluate_all("links => links.map(link => link.href)")

    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    front = {"index.html", "README.html", "search.html"}
    assert {link.removeprefix(address) for link in links} == pages - front
    page.set_viewport_size({"width": 390, "height": 844})
    for link in links:
        page.goto(link)
        assert page.locator(".sidebar-tree .current-page").count() == 1, link
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), link
    assert {url for url in requested if not url.startswith((address, "data:"))} == set()


def test_a_word_is_searched_and_found(address: str, page: "Page") -> None:
    from playwright.sync_api import expect

    page.goto(address)
    page.locator(".sidebar-search").fill("suspend")
    page.locator(".sidebar-search").press("Enter")

    page.locator("#search-results a", has_text="Fault model").first.click()

    expect(page).to_have_url(re.compile(r"/docs/fault-model\.html"))


def test_it_is_dark_where_the_reader_s_system_is_and_where_they_say_so(address: str, page: "Page") -> None:
    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    page.emulate_media(color_scheme="dark")
    page.goto(address)
    dark = paper()
    page.emulate_media(color_scheme="light")
    assert paper() != dark

    while page.locator("body").get_attribute("data-theme") != "dark":
        page.locator(".theme-toggle:visible").click()

    assert paper() == dark


def test_every_schema_and_every_picture_is_in_it(site: Path) -> None:
    assert {path.name for path in site.glob("_downloads/*/*.schema.json")} == {
        path.name for path in ROOT.glob("docs/schemas/*.json")
    }
    assert {path.name for path in site.glob("_images/*")} == {path.name for path in ROOT.glob("docs/images/*")}


def test_a_link_that_leads_nowhere_and_a_page_that_nothing_leads_to_end_its_making(sources: Path, tmp_path: Path) -> None:
    (sources / "docs" / "forgotten.md").write_text("# Forgotten\n\n[No such heading](security.md#no-such-heading)\n")
    (sources / "SECURITY.md").write_text("# Reporting a vulnerability\n\n[No such page](docs/nowhere.md)\n")

    built = build(sources, tmp_path / "site")

    assert built.returncode == 1
    assert "forgotten.md: WARNING: document isn't included in any toctree" in built.stderr
    assert "forgotten.md:3: WARNING: local id not found in doc 'docs/security': 'no-such-heading'" in built.stderr
    assert "SECURITY.md:3: WARNING: 'myst' cross-reference target not found: 'docs/nowhere.md'" in built.stderr


def test_public_names_have_a_page_made_of_their_docstrings(sources: Path, tmp_path: Path) -> None:
    (sources / "pipelines" / "__init__.py").write_text(f'"""What is public."""\n{PUBLIC}')

    built = build(sources, tmp_path / "site")

    assert built.returncode == 0, built.stderr
    page = (tmp_path / "site" / "docs" / "reference.html").read_text()
    described = re.findall(r'<dt class="sig[^"]*" id="([^"]+)"', page)
    names = ("Laptop", "Laptop.run", "Laptop.busy", "Wish", "connect")
    assert described == [f"pipelines.{name}" for name in names]
    text = re.sub(r"<[^>]+>", "", page)
    assert "Accuracy of the fused model: 0 to 1." in text
    assert re.search("ValueError . task is empty.", text)
    assert "Whether somebody is at work: here or elsewhere." in text
    assert re.search(r"rounds \(int\) . How often models are fused.", text)
    assert "reference.html" in (tmp_path / "site" / "index.html").read_text()
