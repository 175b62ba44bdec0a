"""A command line and a home in which steps have run."""

import json
from pathlib import Path

import pytest

from cloudedge.documents import TrainingTask
from tests.components.cloud import Cloud
from tests.components.conftest import cloud, digits
from tests.digits import EDGES, digits_task
from tests.terminal import cloudedge

__all__ = ["cloud", "cloudedge", "digits", "home", "task_file"]


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    """A valid task."""
    path = tmp_path / "task.json"
    path.write_bytes(digits_task("mine").to_json())
    return path


@pytest.fixture
def home(cloud: Cloud) -> Cloud:
    """A home with one run that has fused a round and waits for the next."""
    cloud.task = TrainingTask.model_validate(json.loads(cloud.task.to_json()))
    cloud.pretrained().round(1, EDGES)
    cloud.dispatched(2)
    return cloud
