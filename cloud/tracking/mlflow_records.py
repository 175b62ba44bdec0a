"""What steps say for MLflow. The bounds are MLflow's own, so that a record which was written is never refused later.

Metrics, parameters and tags may have any names: those are made to fit on the way (`names`).
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, Field, model_validator

from cloudedge.documents.base import Document, Part, canonical_json
from cloudedge.documents.deployable import Deployable
from cloudedge.names import NAME, SHA256

NOTE_TAG = "mlflow.note.content"
"""What MLflow shows as a run's description, Markdown."""

FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
ALIAS = r"^[A-Za-z0-9_-]{1,255}$"
_RESERVED_ALIAS = re.compile(r"v[0-9]+|latest", re.IGNORECASE)


class MetricPoint(Part):
    """One measured value."""

    key: str = Field(description="What was measured, for example test_accuracy/Süd.")
    value: float = Field(description="Value; may be infinite or not a number.")
    step: int = Field(ge=0, lt=2**63, description="Round, or epoch: an edge's are counted through all rounds.")
    at: AwareDatetime = Field(description="When it was measured; kept to the millisecond.")


class Dataset(Part):
    """Samples that a model was trained on. They are named and counted; MLflow never gets any."""

    name: str = Field(max_length=200, description="Whose they are: an edge, or the cloud.")
    fingerprint: str = Field(min_length=1, max_length=64, description="Digest over them; the same samples have the same.")
    samples: int = Field(ge=0, description="Number of samples trained on.")


class TrackingRecord(Document):
    """What is new of a run or of one of its child runs."""

    child: str | None = Field(
        default=None,
        max_length=200,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$",
        description="Child run, pretraining or edge/<edge>; none: the run itself. Older records have one for each round and "
        "edge: round-002/edge-1.",
    )
    round: int | None = Field(default=None, ge=0, description="Round that an older record's child run belongs to.")
    edge: str | None = Field(default=None, pattern=NAME, description="Edge that the child run is of.")
    at: AwareDatetime = Field(description="When this was written. The first makes a run's start, a final status its end.")
    params: dict[str, str] = Field(
        default_factory=dict, description="Settings. A setting's first value stands: MLflow changes none."
    )
    metrics: tuple[MetricPoint, ...] = Field(default=(), description="Values measured.")
    tags: dict[str, str] = Field(default_factory=dict, description="Labels; the newest value of each stands.")
    dataset: Dataset | None = Field(default=None, description="What the run trained on.")
    status: Literal["running", "finished", "failed", "killed"] | None = Field(
        default=None, description="How the run stands from now on; none: as before."
    )


class Ancestor(Part):
    """A model that a registered one was made of."""

    role: Literal["pretrained", "base", "edge"] = Field(description="What it was in the making.")
    edge: str | None = Field(default=None, pattern=NAME, description="Edge that trained it, if one did.")
    round: int = Field(ge=0, description="Round that it was trained in; 0 for the pretrained model.")
    sha256: str = Field(pattern=SHA256, description="Digest of its file.")
    weight: float | None = Field(default=None, description="Its share in the fused model.")
    samples: int | None = Field(default=None, ge=0, description="Samples it was trained on.")
    data_fingerprint: str = Field(default="", max_length=64, description="Digest over the digests of its samples.")


class Registration(Part):
    """A model to be registered, with where it comes from."""

    model_key: str = Field(description="Key of its file in the store: safetensors, or ONNX where it is deployed as it is.")
    sha256: str = Field(pattern=SHA256, description="Digest of that file; a run registers a file once.")
    registered_model: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,249}$", description="Name of the registered model that gets a new version."
    )
    aliases: tuple[Annotated[str, Field(pattern=ALIAS)], ...] = Field(
        default=(), description="Names that point to this version from now on: champion, candidate, round-003."
    )
    tags: dict[str, str] = Field(default_factory=dict, description="Labels of the version: accuracy, round, rule, ...")
    description: str = Field(default="", max_length=5000, description="What a person reads on the version's page, Markdown.")
    ancestors: tuple[Ancestor, ...] = Field(default=(), description="Models that it was made of.")
    input_shape: tuple[int, ...] = Field(
        default=(), description="Shape of one input of a safetensors model, without the batch; float32."
    )
    classes: tuple[str, ...] = Field(default=(), description="Names of the classes, in the order of the outputs.")
    deployable: Deployable | None = Field(default=None, description="What is known of an ONNX file; none: it is safetensors.")

    @model_validator(mode="after")
    def _not_reserved(self) -> Self:
        for alias in self.aliases:
            if _RESERVED_ALIAS.fullmatch(alias):
                raise ValueError(f"alias {alias!r} is reserved by MLflow; v<number> and latest cannot be used")
        return self


class TrackingBatch(Document):
    """What one step appended at one time."""

    records: tuple[TrackingRecord, ...] = Field(default=(), description="Records, in the order of writing.")
    registration: Registration | None = Field(default=None, description="Model to be registered.")
    files: dict[Annotated[str, Field(pattern=FILE_NAME)], str] = Field(
        default_factory=dict, description="Files to be shown with the run: the key of each in the store."
    )


class Registered(Document):
    """A version in MLflow's model registry."""

    registered_model: str = Field(description="Name of the registered model.")
    version: int = Field(ge=1, description="Its version.")
    aliases: tuple[str, ...] = Field(description="Names that were pointed to this version.")
    sha256: str = Field(pattern=SHA256, description="Digest of the file.")
    model_id: str = Field(description="MLflow's id of the logged model.")
    run_id: str = Field(description="MLflow's id of the run that it came from.")


def flat_params(settings: BaseModel | dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Spread nested settings to MLflow parameters, so that two runs can be compared line by line.

    Args:
        settings: A document, or a dictionary with strings as keys.
        prefix: What the names begin with.

    Returns:
        Names such as 'collaboration.fusion.rule'. Lists become JSON.
    """
    values = settings.model_dump(mode="json") if isinstance(settings, BaseModel) else settings
    params: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            params |= flat_params(value, f"{prefix}{key}.")
        else:
            params[prefix + key] = value if isinstance(value, str) else canonical_json(value).decode()
    return params
