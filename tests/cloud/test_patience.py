"""Asking again: how long, and what who waits is told."""

import logging

import pytest

from cloud.patience import Patience
from cloudedge.errors import StoreFailed


def test_who_waits_is_told_once_why_and_again_when_the_reason_changes(caplog: pytest.LogCaptureFixture) -> None:
    patience = Patience(30)
    with caplog.at_level(logging.WARNING):
        for reason in ("It is away.", "It is away.", "It is full."):
            patience.wait(StoreFailed(reason))

    assert [record.getMessage() for record in caplog.records] == [
        "It is away. It is asked again.",
        "It is full. It is asked again.",
    ]


def test_without_patience_the_failure_itself_is_raised() -> None:
    with pytest.raises(StoreFailed, match="It is away"):
        Patience(0).wait(StoreFailed("It is away."))
