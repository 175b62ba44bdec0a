"""A real browser for what a person looks at: the Chromium of this machine. Where there is none, those tests are left out."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox",  # Chromium's own sandbox refuses to work for root.
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PATIENCE_SECONDS = 240
"""How long a page may take on a machine that has much else to do."""


def chromium() -> str | None:
    """The browser's program, if there is one."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def pytest_configure(config: pytest.Config) -> None:
    """Name the tests that look at pages."""
    config.addinivalue_line("markers", "browser: looks at pages in a real Chromium")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs a browser, and leave out what cannot run here."""
    needing = [item for item in items if "page" in getattr(item, "fixturenames", ())]
    for item in needing:
        item.add_marker("browser")
    if not chromium():
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out."""
    if not chromium():
        terminalreporter.write_line(
            "Not run: the tests that look at pages in a browser, as there is no Chromium here. "
            "To run them: install one (Debian: apt install chromium)"
        )


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """A browser without a window; nothing is downloaded."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=_PATIENCE_SECONDS * 1000)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """An empty tab of somebody who was never here before."""
    with browser.new_context(viewport={"width": 1600, "height": 1200}, locale="en-GB") as context:
        context.set_default_timeout(_PATIENCE_SECONDS * 1000)
        yield context.new_page()
