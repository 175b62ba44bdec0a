"""Where the steps of training a meta model find their cloud, and searches that look as if they had happened."""

from functools import partial

import pytest

from cloudedge.automl.meta import training
from cloudedge.store import DirectoryStore


@pytest.fixture
def store(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> DirectoryStore:
    """A cloud's store, where meta models are trained for moments, and learn little."""
    monkeypatch.setattr(training, "train", partial(training.train, trials=2, steps=120))
    return store
