"""How tests of stores ask."""

from types import SimpleNamespace

import pytest

from tests.cluster.object_store import User


@pytest.fixture
def user_and_short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that our own servers believe, and no long pause before another try."""
    for name, value in User("user", "12345678").environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("cloud.patience._FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture
def time_passes_in_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience ends by its own pauses, however long this machine takes for what is between them."""
    pauses: list[float] = []
    monkeypatch.setattr("cloud.patience.time", SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append))
