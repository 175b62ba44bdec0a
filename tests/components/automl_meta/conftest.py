"""Where the steps of training a meta model find their cloud, and searches that look as if they had happened."""

from functools import partial
from pathlib import Path

import pytest

from cloudedge.automl.meta import training
from cloudedge.store import DirectoryStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryStore:
    """A cloud's store, found through the environment. Meta models are trained there for moments, and learn little."""
    store = DirectoryStore(tmp_path / "store")
    monkeypatch.setenv("CLOUDEDGE_STORE", store.root.as_uri())
    monkeypatch.setenv("CLOUDEDGE_INBOXES", (tmp_path / "inboxes").as_uri())
    monkeypatch.setenv("CLOUDEDGE_SCRATCH", str(tmp_path / "scratch"))
    for name in ("CLOUDEDGE_TRACKING_URI", "CLOUDEDGE_REGISTRY_URI", "CLOUDEDGE_PARENT_PID", "KFP_MLFLOW_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(training, "train", partial(training.train, trials=2, steps=120))
    return store
