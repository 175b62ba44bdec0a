"""Keeps what is told of very long trainings within the size of a report."""

from cloudedge.documents import EpochRecord

MOST_EPOCHS = 10_000
"""About 2.5 MB of JSON; reports and manifests may have 4 MiB."""


def thinned(history: tuple[EpochRecord, ...]) -> tuple[EpochRecord, ...]:
    """The history, or of a longer one the model before training and the last epochs."""
    return history if len(history) <= MOST_EPOCHS else (history[0], *history[1 - MOST_EPOCHS :])
