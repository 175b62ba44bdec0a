"""Artifacts that the Kubeflow UI shows: pages, and notes on the run's models, which stay where they are."""

import json
from pathlib import Path
from typing import Any, Protocol

from cloud.runs.run import Run
from cloud.settings import Settings
from cloudedge.errors import NotFound
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
    """Have a model artifact say where a round's fused model lies in the store, or for round 0 the pretrained one.

    The artifact's URI stays Kubeflow's own: Kubeflow 2.17 fails a task that points it into another bucket or folder of an S3,
    and its pages open no http:// that has a port or a dot. So its content is a note, which they show in every deployment, and
    the model is not copied.

    Args:
        run_id: Run.
        round_number: Round, 0 for the pretrained model; of a round that was not needed, the last one before it.
        artifact: kfp's output artifact.

    Raises:
        NotFound: there is no such model.
        StoreFailed: the note cannot be written.
    """
    settings = Settings()
    run = Run(settings.open_store(), run_id)
    number = min(round_number, run.rounds_fused())
    record = run.model_after(number)
    if record is None:
        raise NotFound(f"The run {run_id!r} has no model of round {number}.")
    note = {
        "model_uri": f"{settings.store.rstrip('/')}/{run.fused_key(number)}",
        "round": number,
        "size": record.size,
        "sha256": record.sha256,
    }
    _write(json.dumps(note, indent=2) + "\n", artifact)
    artifact.metadata.update(note)


def put_page(page: str, artifact: Artifact) -> None:
    """Fill an HTML artifact.

    Raises:
        StoreFailed: it cannot be written.
    """
    _write(page or "<!doctype html><p>This round was not needed.</p>", artifact)


def _write(text: str, artifact: Artifact) -> None:
    target = Path(artifact.path)
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
