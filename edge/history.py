"""Keeps what is told of very long trainings within the size of a report."""

from cloudedge.documents import EpochRecord
from cloudedge.documents.report import MOST_EPOCHS


def thinned(history: tuple[EpochRecord, ...]) -> tuple[EpochRecord, ...]:
    """The history, or of a longer one the model before training and the last epochs."""
    return history if len(history) <= MOST_EPOCHS else (history[0], *history[1 - MOST_EPOCHS :])
