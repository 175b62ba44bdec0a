"""Inboxes whose generations can be counted."""

import pytest


@pytest.fixture(autouse=True)
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the first second of 1970, so each change is one generation."""
    monkeypatch.setattr("cloud.inboxes.base.time", lambda: 0.5)
