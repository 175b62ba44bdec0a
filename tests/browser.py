"""A real browser for what a person looks at: the Chromium of this machine."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

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


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """A browser without a window; nothing is downloaded."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=_PATIENCE_SECONDS * 1000)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """An empty tab of somebody who was never here before."""
    with browser.new_context(viewport={"width": 1600, "height": 1200}, locale="en-GB") as context:
        context.set_default_timeout(_PATIENCE_SECONDS * 1000)
        yield context.new_page()
