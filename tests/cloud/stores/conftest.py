"""How tests of stores ask."""

import pytest

from tests.cluster.object_store import User


@pytest.fixture
def user_and_short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that our own servers believe, and no long pause before another try."""
    for name, value in User("user", "12345678").environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("cloud.patience._FIRST_PAUSE_SECONDS", 0.001)
