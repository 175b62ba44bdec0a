"""Documents that pipeline steps leave in the store for each other. They never go to an edge."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BeforeValidator, Field, model_validator

from cloudedge.documents import EpochRecord, LeftOut, Scores, earlier
from cloudedge.documents.base import Document, Part
from cloudedge.names import NAME, ORDER_ID, SHA256

KUBEFLOW_ID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
"""How Kubeflow calls runs; on a laptop kfp makes up another kind of id."""


class RunState(Document):
    """Where a run stands."""

    state: Literal["running", "finished", "stopped", "failed", "cancelled"] = Field(description="Where it stands.")
    message: str = Field(default="", description="Why it failed or was cancelled.")
    exit_code: int = Field(default=0, ge=0, le=255, description="Exit code of the command that runs it.")
    at: AwareDatetime = Field(description="Since when, by the cloud's clock.")


class KubeflowRecord(Document):
    """Which of Kubeflow's runs works on a run."""

    run: str = Field(pattern=KUBEFLOW_ID, description="Kubeflow's id of the last one that began to.")


class Deletion(Document):
    """That a run was deleted; what else there was of it is gone, or goes when it is deleted again."""

    name: str = Field(default="", description="Name of its task.")
    actor: str = Field(description="Who deleted it.")
    at: AwareDatetime = Field(description="When, by the cloud's clock.")


class PretrainingRecord(Document):
    """The pretrained model and how it came about."""

    sha256: str = Field(pattern=SHA256, description="Digest of the model's file.")
    size: int = Field(ge=0, description="Length of the model's file in bytes.")
    samples: int = Field(ge=0, description="Samples trained on.")
    data_fingerprint: str = Field(default="", max_length=64, description="Digest over these samples.")
    label_histogram: dict[str, int] = Field(description="Training samples of each class.")
    history: tuple[EpochRecord, ...] = Field(description="All epochs, epoch 0 first.")
    target_met: bool = Field(description="Whether the target accuracy was reached, or none was set.")
    seconds: float = Field(ge=0, description="Duration of training.")

    @property
    def accuracy(self) -> float | None:
        """The model's, on the cloud's held-out samples; none where none was held out."""
        scores = self.history[-1].scores
        return scores.accuracy if scores.samples else None


StepName = Annotated[str, BeforeValidator(lambda name: str(name) if isinstance(name, int) else name), Field(pattern=NAME)]
"""Of a step that issues orders: a round's number, or another name. Up to version 0.1 all were numbers."""


class _OfAStep(Part):
    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, value: Any) -> Any:
        return earlier.with_step(value)


class IssuedOrder(_OfAStep):
    """Which order an edge has in a step: what whoever waits for it must know."""

    id: str = Field(pattern=ORDER_ID, description="Id of the order.")
    edge: str = Field(pattern=NAME, description="Edge.")
    step: StepName = Field(description="Step that the order is of.")
    attempt: int = Field(ge=1, description="Attempt of the edge in that step.")
    issued_at: AwareDatetime = Field(description="When it was issued, by the cloud's clock.")
    absence: str = Field(default="", description="Why it did not get into its edge's inbox; empty: it did.")


class DispatchRecord(Document):
    """Who takes part in a step."""

    edges: tuple[str, ...] = Field(description="Edges that take part, or should, sorted.")
    late: dict[str, StepName] = Field(
        default_factory=dict,
        description="Edges still at work on an earlier step's order, and that step; their result joins this one.",
    )
    orders: tuple[IssuedOrder, ...] = Field(
        default=(), description="Their orders, late ones' earlier orders among them, by edge; none before all are issued."
    )
    kind: str = Field(default="", description="Kind of the work; not said up to version 0.1.")
    models: dict[str, str] = Field(
        default_factory=dict,
        description="Keys of the models that its orders have as inputs, by their names there.",
    )


class Delivery(_OfAStep):
    """A result that arrived."""

    edge: str = Field(pattern=NAME, description="Edge.")
    step: StepName = Field(description="Step that the order was of.")
    attempt: int = Field(ge=1, description="Attempt that delivered.")


class WaitRecord(Document):
    """Who delivered in a round."""

    delivered: tuple[Delivery, ...] = Field(description="Results that are in time, ordered by edge.")
    missing: tuple[LeftOut, ...] = Field(description="Edges without a result, and why.")
    late: dict[str, StepName] = Field(
        default_factory=dict, description="Edges among them still at work, and the step of their order."
    )
    seconds: float = Field(ge=0, description="Duration of waiting.")


class ModelScores(Part):
    """One model on all test sets."""

    name: str = Field(description="pretrained, fused-<round> or an edge's name.")
    round: int | None = Field(
        default=None, ge=0, description="Round of a fused model, 0 for the pretrained one; none for an edge's."
    )
    trained_in: int | None = Field(
        default=None,
        ge=1,
        description="Round that an edge's model is of, which is the edge's first; none for models of the cloud, and in older "
        "records, which have the models of the last round.",
    )
    scores: dict[str, Scores] = Field(description="Scores by environment; 'all' is every test sample.")


class Gate(Part):
    """The regression gate: the fused model against the pretrained one, on the edges' held-out samples."""

    passed: bool = Field(description="Whether the fused model is not worse; if nobody measured, that is not known.")
    pretrained: float | None = Field(description="Accuracy of the pretrained model, weighted by samples; none: not measured.")
    fused: float | None = Field(description="Accuracy of the fused model, weighted by samples; none: not measured.")
    samples: int = Field(ge=0, description="Held-out samples of all edges that measured.")
    edges: dict[str, dict[str, Scores]] = Field(description="Scores by edge and model, of the edges that measured.")
    left_out: tuple[LeftOut, ...] = Field(default=(), description="The others, and why they did not measure.")

    @property
    def verdict(self) -> str:
        """What follows for the model, in a sentence."""
        if self.passed:
            return "Gate passed."
        if self.samples:
            return "Gate refused: the fused model is worse than the pretrained one, so it is not registered."
        return (
            "Gate refused: no edge has a held-out sample, so that nobody could measure the fused model, and it is not "
            "registered. Give an edge more samples of a class, or raise data.held_out in a new task."
        )


class Evaluation(Document):
    """How good the run's models are."""

    rounds: int = Field(ge=0, description="Rounds fused.")
    sha256: str = Field(pattern=SHA256, description="Digest of the run's final model.")
    size: int = Field(ge=0, description="Length of the final model's file in bytes.")
    gate: Gate | None = Field(default=None, description="None without collaboration.")
    models: tuple[ModelScores, ...] = Field(default=(), description="Scores on the test data, if there are any.")
    confusion: tuple[tuple[int, ...], ...] = Field(
        default=(), description="Confusion matrix of the final model on all test data: rows are true classes."
    )

    def firsts(self) -> tuple[ModelScores, ...]:
        """Each edge's first model."""
        return tuple(model for model in self.models if model.trained_in is not None)

    def alone(self) -> tuple[ModelScores, ...]:
        """What each edge reaches alone: its own model of round 1, which knows nothing of what the others learned.

        An edge that came later began with what they had learned.
        """
        return tuple(model for model in self.firsts() if model.trained_in == 1)
