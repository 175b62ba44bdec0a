"""What a deployment leaves in the store."""

from pydantic import Field

from cloud.runs.run import Run
from cloudedge.documents.base import Document
from cloudedge.documents.deployable import Deployable
from cloudedge.names import NAME, SHA256

DEPLOY = "deploy"
"""Name of the step in which the line's edge server deploys."""


class Release(Document):
    """What is deployed, and by whose word."""

    run: str = Field(pattern=NAME, description="Run that made the model.")
    deployable: Deployable = Field(description="What is known of its file.")
    manifest_sha256: str = Field(pattern=SHA256, description="Digest of that, as the line gets it.")
    manifest_size: int = Field(ge=1, description="Its length in bytes.")
    passed: bool = Field(description="Whether the model passed its gate.")
    verdict: str = Field(description="What the gate said.")
    overridden_by: str = Field(default="", description="Who overrode it; empty: nobody.")
    reason: str = Field(default="", description="Why.")


def release_of(run: Run) -> Release | None:
    """What a run deploys, once that is settled."""
    return run.find(Release, run.key("release.json"))


def model_key(run: Run) -> str:
    """Key of the ONNX file that a run deploys."""
    return run.key("model.onnx")


def manifest_key(run: Run) -> str:
    """Key of its manifest."""
    return run.key("deployable.json")
