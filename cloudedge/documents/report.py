"""What an edge says of its work: reports while it goes on, a manifest when it is done."""

from enum import StrEnum

from pydantic import AwareDatetime
from pydantic import Field as Described

from cloudedge.documents.base import Document, Part
from cloudedge.names import NAME, ORDER_ID, SHA256

MAX_REPORT_BYTES = 4 * 1024 * 1024
MAX_MANIFEST_BYTES = 4 * 1024 * 1024


class Phase(StrEnum):
    """Where an order stands at its edge."""

    ACCEPTED = "accepted"
    FETCHING = "fetching"
    COLLECTING = "collecting"
    TRAINING = "training"
    EVALUATING = "evaluating"
    UPLOADING = "uploading"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self in (Phase.DONE, Phase.FAILED, Phase.CANCELLED)


class Scores(Part):
    """A model measured on held-out samples."""

    samples: int = Described(ge=0, description="Number of samples measured on.")
    loss: float = Described(description="Mean loss per sample.")
    accuracy: float = Described(ge=0, le=1, description="Share of the samples classified correctly.")
    recall: float = Described(
        ge=0, le=1, description="Mean over the classes present of the share of each found (macro recall)."
    )


class EpochRecord(Part):
    """One epoch: what was learned and how well it does on held-out samples. Epoch 0 is the model before training."""

    epoch: int = Described(ge=0, description="Passes over the samples so far.")
    train_loss: float | None = Described(default=None, description="Mean training loss of the epoch; none for epoch 0.")
    scores: Scores = Described(description="On held-out samples.")
    seconds: float = Described(ge=0, description="Duration of the epoch.")


class WorkError(Part):
    """Why work ended without a result."""

    kind: str = Described(max_length=100, description="Name of the error's class.")
    message: str = Described(max_length=10_000, description="What happened and what to do.")


class Report(Document):
    """How an order stands. One small object per order, overwritten as work goes on."""

    order: str = Described(pattern=ORDER_ID, description="Id of the order.")
    edge: str = Described(pattern=NAME, description="Name of the edge.")
    sequence: int = Described(ge=1, description="Grows with every report on this order; an older one is ignored.")
    phase: Phase = Described(description="Where the order stands.")
    epoch: int = Described(default=0, ge=0, description="Epoch at work, counted from 1; 0 before the first.")
    epochs: int = Described(default=0, ge=0, description="Largest number of epochs until the next collection of samples.")
    batch: int = Described(default=0, ge=0, description="Batch at work in this epoch, counted from 1.")
    batches: int = Described(default=0, ge=0, description="Batches of an epoch.")
    loss: float | None = Described(default=None, description="Training loss of the last batch.")
    history: tuple[EpochRecord, ...] = Described(default=(), description="All finished epochs, epoch 0 first.")
    samples: int = Described(default=0, ge=0, description="Samples to train on, as this edge last counted them.")
    recollections: int = Described(default=0, ge=0, description="Collections of further samples so far.")
    heartbeat_at: AwareDatetime = Described(description="When this was written, by the edge's clock.")
    runner_version: str = Described(default="", max_length=100, description="Version of the runner's software.")
    error: WorkError | None = Described(default=None, description="Why it failed, if it did.")


class Manifest(Document):
    """The commit mark of a result: written last. A result without it does not exist."""

    order: str = Described(pattern=ORDER_ID, description="Id of the order.")
    run: str = Described(pattern=NAME, description="Run.")
    round: int = Described(ge=0, description="Round that the work was ordered in.")
    edge: str = Described(pattern=NAME, description="Edge.")
    attempt: int = Described(ge=1, description="Attempt.")
    model_sha256: str | None = Described(
        default=None, pattern=SHA256, description="Digest of the model file; none for evaluate."
    )
    model_size: int | None = Described(default=None, ge=0, description="Length of the model file in bytes; none for evaluate.")
    base_sha256: str | None = Described(
        default=None, pattern=SHA256, description="Digest of the model that training began from."
    )
    samples: int = Described(ge=0, description="Samples trained on, held-out ones excluded; for evaluate: 0.")
    label_histogram: dict[str, int] = Described(default_factory=dict, description="Training samples of each class.")
    data_fingerprint: str = Described(default="", max_length=64, description="Digest over the digests of all samples used.")
    files_passed_over: int = Described(
        default=0, ge=0, description="Files of samples that do not fit the data format; the edge's status names them."
    )
    history: tuple[EpochRecord, ...] = Described(default=(), description="All epochs, epoch 0 first.")
    scores: dict[str, Scores] = Described(
        default_factory=dict, description="Held-out scores by model: 'result' and 'base' for train, each input for evaluate."
    )
    target_met: bool = Described(default=True, description="Whether the target accuracy was reached, or none was set.")
    recollections: int = Described(default=0, ge=0, description="Collections of further samples.")
    seconds: float = Described(ge=0, description="Duration of the work.")
    runner_version: str = Described(default="", max_length=100, description="Version of the runner's software.")
