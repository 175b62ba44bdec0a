"""Artifacts that the Kubeflow UI shows: the run's own objects, copied to where Kubeflow wants them."""

import shutil
from pathlib import Path
from typing import Any, Protocol

from cloud.runs.run import Run
from cloud.settings import Settings
from cloudedge.files import disk_errors

ACCURACY_ON_CLOUD = "accuracy_on_cloud"
"""A metric of the pretrained and of each fused model, on the same samples: what is called the same stands in one row where
Kubeflow compares."""


class Artifact(Protocol):
    """What steps need of an output artifact of kfp's, which they do not import."""

    @property
    def path(self) -> str:
        """File that becomes the artifact's content."""

    @property
    def metadata(self) -> dict[str, Any]:
        """Properties by name, which Kubeflow's page of the artifact shows."""


class MetricsArtifact(Protocol):
    """One of figures."""

    def log_metric(self, metric: str, value: float) -> None:
        """Add a figure."""


class ConfusionArtifact(Protocol):
    """One that can be drawn as a confusion matrix."""

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        """Set the matrix: a row for each true class."""


def put_model(run_id: str, round_number: int, artifact: Artifact) -> None:
    """Fill a model artifact with a round's fused model, or for round 0 with the pretrained one.

    Args:
        run_id: Run.
        round_number: Round, 0 for the pretrained model; of a round that was not needed, the last one before it.
        artifact: kfp's output artifact.

    Raises:
        NotFound: there is no such model.
        StoreFailed: it cannot be copied.
    """
    store = Settings().open_store()
    run = Run(store, run_id)
    number = min(round_number, run.rounds_fused())
    record = run.fusion(number) if number else run.pretraining()
    target = Path(artifact.path)
    with store.local(run.fused_key(number)) as source, disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    artifact.metadata["round"] = number
    artifact.metadata["sha256"] = record.sha256 if record else ""


def put_page(page: str, artifact: Artifact) -> None:
    """Fill an HTML artifact.

    Raises:
        StoreFailed: it cannot be written.
    """
    target = Path(artifact.path)
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page or "<!doctype html><p>This round was not needed.</p>", encoding="utf-8")
