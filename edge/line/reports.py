"""How a line stands, as the service tells the runner's work, the tools and the page."""

from typing import Annotated

from pydantic import Field

from cloudedge.documents.base import Told
from cloudedge.documents.kinds.deploy import Outcome
from cloudedge.documents.line import DeploymentState, Status, Wanted


class PartReport(Told):
    """A deployment at one detector."""

    given: bool = Field(description="Whether it was told to get the model.")
    canary: bool = Field(description="Whether others wait to see how it does.")
    connected: bool = Field(description="Whether it is here.")
    state: DeploymentState | None = Field(default=None, description="What it last said of it.")
    outcome: Outcome | None = Field(default=None, description="What became of it there, once that is known.")

    @property
    def judges(self) -> bool:
        """Whether the detector judges by it, as far as is known."""
        return self.state is not None and self.state.judges


class DeploymentReport(Told):
    """A deployment."""

    id: str = Field(description="Its id, the order's.")
    brand: str = Field(description="Whose parts it judges.")
    sha256: str = Field(description="Digest of the model's file.")
    name: str = Field(description="Name of the registered model.")
    size: int = Field(description="Length of its file in bytes.")
    begun_at: str = Field(description="When it was asked for.")
    seconds: float = Field(ge=0, description="How long ago that was, in seconds awake.")
    stopped: bool = Field(description="Whether it goes to nobody else.")
    detectors: dict[str, PartReport] = Field(description="How it stands at each, in the order of their turns.")

    @property
    def over(self) -> bool:
        """Whether it is known of each detector what became of it there."""
        return all(part.outcome is not None for part in self.detectors.values())


class Trend(Told):
    """What a detector did within a minute."""

    at: int = Field(description="Begin of the minute, in seconds since 1970.")
    images: int = Field(description="Images inspected.")
    rejects: int = Field(description="Parts rejected.")


class DetectorReport(Told):
    """A detector."""

    name: str = Field(description="Its name.")
    connected: bool = Field(description="Whether it is here.")
    away_seconds: float = Field(description="How long it has been away, as far as the service knows; 0: it is here.")
    joined_at: str = Field(description="When it joined.")
    software: str = Field(default="", description="Version of its software.")
    status: Status | None = Field(default=None, description="What it last said.")
    wanted: Wanted | None = Field(default=None, description="All that is wanted of it; null: that was not asked.")
    in_step: bool = Field(default=False, description="Whether it has done all that is wanted; only told with that.")
    recorded: int = Field(default=0, description="Records of its that are kept here.")
    trend: Annotated[tuple[Trend, ...], Field(description="The last minutes, oldest first.")] = ()


class LineReport(Told):
    """A line."""

    detectors: tuple[DetectorReport, ...] = Field(description="Its detectors, by their names.")
    deployments: tuple[DeploymentReport, ...] = Field(description="Those under way and the newest ones, oldest first.")
    history_bytes: int = Field(description="What recorded images take.")
    trouble: str = Field(default="", description="What a person should look after; empty: nothing.")
