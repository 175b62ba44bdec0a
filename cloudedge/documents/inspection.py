"""How a line's inspection is trained and deployed: what the tasks for it and the work at the edge have in common."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from cloudedge.documents.base import Part, each_once
from cloudedge.documents.data import ClassName
from cloudedge.names import NAME

NORMAL = "normal"
"""Label of an image of a part that is in order."""

Share = Annotated[float, Field(ge=0, le=1)]
DetectorName = Annotated[str, Field(pattern=NAME)]
Factor = Annotated[float, Field(ge=0, le=0.9)]

Detectors = Annotated[tuple[DetectorName, ...], Field(max_length=1000), AfterValidator(each_once)]


class Gathering(Part):
    """Which images the line's edge server gathers before training begins."""

    detectors: Detectors = Field(
        default=(), description="Detectors whose recorded images are gathered; empty: all of the line."
    )
    accepted: bool = Field(
        default=False,
        description="Whether images that a detector judged to be normal are normal ones to train on, and not only those that a "
        "person said so of.",
    )
    last_hours: float = Field(
        default=0, ge=0, le=1_000_000, description="Only images recorded in the last so many hours; 0: all."
    )
    wait_seconds: float = Field(
        default=60, ge=0, le=86_400, description="How long to wait for what the detectors have not sent yet, in seconds."
    )
    least_images: int = Field(default=8, ge=2, le=1_000_000, description="Fewer normal images than these are refused.")


class Augmentation(Part):
    """How images are varied before they are trained on; by default in nothing."""

    flip_horizontal: bool = Field(default=False, description="Whether each is used mirrored left to right, too.")
    flip_vertical: bool = Field(default=False, description="Whether each is used mirrored top to bottom, too.")
    rotate_degrees: float = Field(default=0.0, ge=0, le=180, description="Turned by up to so many degrees.")
    shift: Factor = Field(default=0.0, description="Moved by up to this share of its size.")
    brightness: Factor = Field(default=0.0, description="Brighter or darker by up to this share.")
    contrast: Factor = Field(default=0.0, description="Of more or less contrast by up to this share.")
    copies: int = Field(default=0, ge=0, le=100, description="Varied images made of each, beside the image itself.")


class TrainingSet(Part):
    """How images to train on are generated."""

    most_images: int = Field(default=1000, ge=2, le=1_000_000, description="Use at most so many of each label, the newest.")
    shuffle: bool = Field(default=True, description="Whether each iteration takes them in another order.")
    augmentation: Augmentation = Field(default_factory=Augmentation, description="Augmentation.")


class ValidationSet(Part):
    """How images are generated that nothing is trained on: they set the threshold, and measure."""

    share: float = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="Share of each label's images that is held out. Of up to 64 normal ones none is, unless the backbone "
        "learns: all are learned from, and each is judged by what was learned without it and those most like it.",
    )
    most_images: int = Field(default=1000, ge=1, le=1_000_000, description="Use at most so many of each label, the newest.")
    augmentation: Augmentation = Field(
        default_factory=Augmentation, description="How they are varied, where what the line brings varies more than they do."
    )


class Preprocessing(Part):
    """What is done to an image's pixels; it becomes a part of the model."""

    colour: Literal["rgb", "gray"] = Field(default="rgb", description="Whether the model sees colours.")
    mean: tuple[float, float, float] = Field(
        default=(0.485, 0.456, 0.406), description="Subtracted from each channel, of values from 0 to 1."
    )
    std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = Field(
        default=(0.229, 0.224, 0.225), description="What each channel is divided by then."
    )


class AnomalyModel(Part):
    """What is normal, told from normal images only."""

    method: Literal["gaussian", "bank"] = Field(
        default="gaussian",
        description="gaussian: a normal distribution of the features (PaDiM); bank: the nearest of a bounded number of normal "
        "patches (PatchCore).",
    )
    stages: tuple[Annotated[int, Field(ge=0, le=7)], ...] = Field(
        default=(),
        max_length=7,
        description="Stages of the backbone whose features are used, 0 being its stem; empty: as the method has them.",
    )
    patches: int = Field(default=2000, ge=10, le=50_000, description="Most patches in a bank.")
    quantile: float = Field(
        default=0.99,
        gt=0.5,
        le=1,
        description="The threshold is this quantile of the scores of normal images that were not learned from when they were "
        "judged; 1: the largest, with a margin.",
    )


class Classifier(Part):
    """What names defects, where there are images of them with their names."""

    classes: tuple[ClassName, ...] = Field(
        default=(), max_length=1000, description="Names of defects to tell apart; empty: none are, and a part is normal or not."
    )
    iterations: int = Field(default=30, ge=1, le=100_000, description="Largest number of passes over the images.")
    batch_size: int = Field(default=16, ge=1, le=65_536, description="Images per step.")
    learning_rate: float = Field(default=0.01, gt=0, le=100, description="Step size of the optimizer.")

    @field_validator("classes")
    @classmethod
    def _each_once(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if NORMAL in classes:
            raise ValueError(f"{NORMAL!r} is no defect; leave it out")
        return each_once(classes)


class FineTuning(Part):
    """Whether the backbone learns, too."""

    stages: int = Field(
        default=0, ge=0, le=7, description="Last stages of the backbone that learn with the classifier; 0: none does."
    )
    learning_rate: float = Field(default=0.0005, gt=0, le=100, description="Step size of the optimizer for them.")


class Callbacks(Part):
    """What is done between iterations."""

    stop_after: int = Field(
        default=0, ge=0, le=100_000, description="End when validation has not become better in so many iterations; 0: never."
    )
    slow_down_after: int = Field(
        default=0, ge=0, le=100_000, description="Halve the learning rate when it has not in so many; 0: never."
    )
    keep_best: bool = Field(default=True, description="Whether the best iteration's model is kept, and not the last one's.")


class InspectionTraining(Part):
    """All that a line's edge server must know to train: what is gathered, generated, learned and called back."""

    brand: str = Field(pattern=NAME, description="Product variety that the model is for.")
    gathering: Gathering = Field(default_factory=Gathering, description="Gathering.")
    training_set: TrainingSet = Field(default_factory=TrainingSet, description="Training set.")
    validation_set: ValidationSet = Field(default_factory=ValidationSet, description="Validation set.")
    height: int = Field(default=128, ge=32, le=1024, description="Height in pixels that images are resized to.")
    width: int = Field(default=128, ge=32, le=1024, description="Width in pixels that images are resized to.")
    preprocessing: Preprocessing = Field(default_factory=Preprocessing, description="Preprocessing.")
    anomaly: AnomalyModel = Field(default_factory=AnomalyModel, description="Anomaly model.")
    classifier: Classifier = Field(default_factory=Classifier, description="Classifier.")
    fine_tuning: FineTuning = Field(default_factory=FineTuning, description="Fine-tuning.")
    callbacks: Callbacks = Field(default_factory=Callbacks, description="Callbacks.")
    threads: int = Field(
        default=1, ge=1, le=256, description="CPU threads; the same number on the same processor type gives the same bytes."
    )


class Bounds(Part):
    """Within what a newly deployed model must stay in its first minutes; else the one before is back at once."""

    watch_seconds: float = Field(
        default=300,
        ge=0,
        le=86_400,
        description="How long a new model is watched, and the result waited for, in seconds; 0: not at all.",
    )
    least_images: int = Field(default=20, ge=1, le=1_000_000, description="Nothing is concluded from fewer images.")
    reject_rate: Share = Field(default=0.5, description="Largest share of parts that it may reject.")
    error_rate: Share = Field(default=0.0, description="Largest share of images on which it may fail.")


class Rollout(Part):
    """In what order detectors get a model."""

    canaries: int = Field(
        default=1, ge=0, le=1000, description="So many detectors get it first; the others once these stayed within the bounds."
    )
    canary_seconds: float = Field(
        default=60, ge=0, le=86_400, description="How long the first ones must have stayed within them, in seconds."
    )
    wait_seconds: float = Field(
        default=600,
        gt=0,
        le=604_800,
        description="How long to wait for a detector that is away, or where no part comes that it could judge, in seconds.",
    )
