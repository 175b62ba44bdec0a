"""What training a meta model leaves in the store."""

from pydantic import Field

from cloud.runs.run import Run
from cloud.searches.meta_models import MetaModelRecord
from cloudedge.documents.base import Document, Part
from cloudedge.documents.report import Count, Share, Time


class DeviceSearches(Part):
    """The searches of a device."""

    meta: Count = Field(description="Led by a meta model.")
    tpe: Count = Field(description="Led by constrained TPE.")
    nothing: Count = Field(description="How many of all these found no model.")
    first: Time = Field(description="When the first one began, by the device's clock.")
    last: Time = Field(description="When the last one began.")

    @property
    def searches(self) -> int:
        """How many there are."""
        return self.meta + self.tpe


class Judged(Part):
    """How a meta model foretells the best choices of held-out searches."""

    surprise: float = Field(ge=0, description="Mean negative log-likelihood of the best sizes, in nats.")
    agreement: dict[str, Share] = Field(description="Share of searches whose best choice it names, by hyperparameter.")


class TrainedMetaModel(Part):
    """A meta model, and what its gate said."""

    stored: MetaModelRecord = Field(description="Its files.")
    layers: int = Field(ge=1, description="Its hidden layers.")
    width: int = Field(ge=1, description="Neurons of each.")
    features: tuple[str, ...] = Field(description="What it sees, in order.")
    choices: tuple[str, ...] = Field(description="What it chooses from, in the order of its outputs.")
    rows: Count = Field(description="Searches that it learned from that happened.")
    simulated_rows: Count = Field(description="And that were simulated.")
    agreement: dict[str, Share] = Field(
        description="Share of searches held out of its training, simulated ones among them, whose best choice it names."
    )
    held_out: Count = Field(description="Searches that happened, found a model, and that no meta model ever learned from.")
    judged: Judged | None = Field(default=None, description="It on those; none: there are none.")
    in_use: Judged | None = Field(default=None, description="The meta model in use on those.")
    compared_with: str = Field(default="", description="Run that trained the one in use; empty: it came with cloudedge.")


class LearningRecord(Document):
    """What a run has learned from, and what came of it."""

    every_rows: Count = Field(description="Searches since the last training that make a new one due.")
    added: Count = Field(description="Searches since the last training.")
    devices: dict[str, DeviceSearches] = Field(description="Searches in the trace, by device.")
    passed_over: Count = Field(description="Entries of the trace that cannot be read or are not plausible.")
    trained: TrainedMetaModel | None = Field(default=None, description="The new meta model; none: none was due.")

    @property
    def searches(self) -> int:
        """How many there are in the trace."""
        return sum(device.searches for device in self.devices.values())

    @property
    def passed(self) -> bool:
        """Whether there is a new meta model that leads."""
        return self.trained is not None and self.trained.stored.passed

    @property
    def verdict(self) -> str:
        """What follows, in a sentence."""
        model = self.trained
        if model is None:
            return (
                f"No new meta model is due, and none was trained: {in_words(self.added)} came since the last training, and "
                f"every_rows is {self.every_rows}."
            )
        if model.judged is None or model.in_use is None:
            found = f"only {model.held_out}" if model.held_out else "none"
            return (
                f"Gate passed: of the searches that happened {found} can be held out, too few to judge by. The new meta model "
                "leads from now on."
            )
        figures = (
            f"on {model.held_out} searches that none learned from, the mean negative log-likelihood of the best sizes is "
            f"{model.judged.surprise:.3f} by the new meta model, and {model.in_use.surprise:.3f} by {in_use(model)}"
        )
        if model.stored.passed:
            return f"Gate passed: {figures}. The new one leads from now on."
        return f"Gate refused: {figures}. So the new one is not registered, and the one in use goes on leading."


def in_use(model: TrainedMetaModel) -> str:
    """Which one a meta model is compared with, in words."""
    return f"the one in use, of run {model.compared_with}" if model.compared_with else "the one that comes with cloudedge"


def in_words(searches: int) -> str:
    """A number of searches."""
    return "1 search" if searches == 1 else f"{searches:,} searches"


def learning_of(run: Run) -> LearningRecord | None:
    """What a run has learned, once it did."""
    return run.find(LearningRecord, run.key("learning.json"))
