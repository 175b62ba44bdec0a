"""Where the steps of inspection find their cloud."""

from pathlib import Path

import pytest

from tests.components.inspection.line import Plant


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    plant = Plant(tmp_path)
    monkeypatch.setenv("CLOUDEDGE_STORE", plant.store.root.as_uri())
    monkeypatch.setenv("CLOUDEDGE_INBOXES", plant.inboxes.root.as_uri())
    monkeypatch.setenv("CLOUDEDGE_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("CLOUDEDGE_POLL_SECONDS", "0.01")
    for name in ("CLOUDEDGE_TRACKING_URI", "CLOUDEDGE_REGISTRY_URI", "CLOUDEDGE_PARENT_PID", "KFP_MLFLOW_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return plant
