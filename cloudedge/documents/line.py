"""What a line's edge server and its detectors say to each other.

The edge server says what it wants of a detector (`Wanted`), the whole of it each time; the detector says how it stands
(`Status`). Neither need hear everything: the last word holds. Only records are sent one by one, and kept until acknowledged.
"""

from typing import Annotated, Literal

from pydantic import Field

from cloudedge.documents.base import Document, Part, Told
from cloudedge.documents.data import ClassName
from cloudedge.documents.deployable import Deployable
from cloudedge.documents.inspection import NORMAL, Bounds
from cloudedge.documents.report import Count, Seconds, Share, Text, Time
from cloudedge.names import MAYBE_NAME, NAME, SHA256

SERVER = "server"
"""Name by which a deployment means the line's edge server itself; no detector may have it."""

MAX_IMAGE_BYTES = 24 * 1024 * 1024
"""Of a recorded image's file, as it is sent and kept."""

MAX_HEAT_BYTES = 1024 * 1024
"""Of a heat map's file."""

DEPLOYMENTS_TOLD = 8
"""Of a detector: the newest ones."""

DEPLOYMENT_ID = r"^[a-z0-9.-]{1,200}$"
"""An order's id, or another text like it."""

Phase = Literal["waiting", "transferring", "loading", "watching", "serving", "failed", "rolled-back"]
Digest = Annotated[str, Field(pattern=SHA256)]
NoneOrDigest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Brand = Annotated[str, Field(pattern=MAYBE_NAME)]
"""A product variety; empty: none."""


class Teach(Part):
    """The next images of a detector are examples of what a person says they are."""

    id: str = Field(pattern=DEPLOYMENT_ID, description="Tells one such wish from the next; each is done once.")
    brand: str = Field(pattern=NAME, description="Product variety that they show.")
    label: ClassName = Field(default=NORMAL, description="What they show: 'normal', or a defect's name.")
    count: int = Field(ge=1, le=100_000, description="How many images.")


class Deployment(Part):
    """A model that a detector is to judge a brand's parts by."""

    id: str = Field(pattern=DEPLOYMENT_ID, description="Id of the order for it; each is done once.")
    brand: str = Field(pattern=NAME, description="Product variety that it will judge.")
    deployable: Deployable = Field(description="What is known of the model's file.")
    bounds: Bounds = Field(default_factory=Bounds, description="Within what it must stay, or the one before is back.")
    canary: bool = Field(default=False, description="Whether other detectors wait to see how it does here.")


class Rollback(Part):
    """A brand's parts are to be judged by the model before."""

    id: str = Field(pattern=DEPLOYMENT_ID, description="Tells one such wish from the next; each is done once.")
    brand: str = Field(pattern=NAME, description="Product variety.")
    sha256: NoneOrDigest = Field(
        default="", description="Only if it is judged by the model of this digest now; empty: by whichever."
    )


class Wanted(Document, Told):
    """All that a detector is to do and to be."""

    generation: int = Field(ge=0, lt=2**63, description="Grows with every change; an older one is passed over.")
    brand: Brand | None = Field(default=None, description="What runs on the line now; null: nobody has said so.")
    deployments: tuple[Deployment, ...] = Field(default=(), max_length=1000, description="The newest one of each brand.")
    rollbacks: tuple[Rollback, ...] = Field(default=(), max_length=1000, description="Since then; each is done once.")
    teach: Teach | None = Field(default=None, description="What its next images are examples of.")
    flush: Count = Field(default=0, description="Grows when it is to send all records that it holds back at that moment.")


class DeploymentState(Told):
    """How a deployment stands at one detector."""

    id: str = Field(pattern=DEPLOYMENT_ID, description="Which deployment.")
    brand: str = Field(pattern=NAME, description="Product variety.")
    sha256: Digest = Field(description="Digest of the model's file.")
    phase: Phase = Field(
        description="watching: it judges, and is watched; serving: it judges, and was watched long enough; in failed and "
        "rolled-back the detector goes on with the model it had."
    )
    reason: Text = Field(default="", max_length=2000, description="Why, where it failed or was rolled back.")
    transferred: Count = Field(default=0, description="Bytes here so far.")
    transfer_total: Count = Field(default=0, description="Bytes there are.")
    loaded: Count = Field(default=0, description="Steps of loading done.")
    load_total: Count = Field(default=0, description="Steps of loading there are; 0: not known yet.")
    transfer_seconds: Seconds = Field(default=0.0, description="Duration of the transfer.")
    load_seconds: Seconds = Field(default=0.0, description="Duration of loading and warming up.")
    swap_gap_ms: float = Field(
        default=0.0,
        ge=0,
        le=1e9,
        description="Longest time that a part waited for its judgement within a second about the swap, in milliseconds.",
    )
    images: Count = Field(default=0, description="Images judged by it while it was watched.")
    reject_rate: Share = Field(default=0.0, description="Share of them rejected.")
    error_rate: Share = Field(default=0.0, description="Share of them on which it failed.")

    @property
    def judges(self) -> bool:
        """Whether the detector judges by it."""
        return self.phase in ("watching", "serving")

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it by itself."""
        return self.phase in ("serving", "failed", "rolled-back")


class Record(Told):
    """One inspected image, without the image."""

    id: Count = Field(description="Number of the record at its detector.")
    taken_at: Time = Field(description="When the image was taken, by the detector's clock.")
    tick: Count = Field(default=0, description="Count of the encoder then.")
    brand: Brand = Field(default="", description="Product variety that ran; empty: none was said.")
    label: str = Field(default="", max_length=200, description="What a person said that it shows; empty: nobody did.")
    model: NoneOrDigest = Field(default="", description="Digest of the model that judged it; empty: none did.")
    score: float | None = Field(default=None, allow_inf_nan=False, description="How far it is from what is normal.")
    threshold: float | None = Field(default=None, allow_inf_nan=False, description="Above it the part is rejected.")
    accepted: bool | None = Field(default=None, description="What the model judged; null: none did.")
    defect: str = Field(
        default="", max_length=200, description="Most likely defect of a rejected part, where the model names any."
    )
    ms: float = Field(default=0.0, ge=0, le=1e9, description="Duration of the judgement in milliseconds.")
    image_sha256: Digest = Field(description="Digest of the image's PNG file.")


class Status(Told):
    """How a detector stands."""

    at: Time = Field(description="When this was said, by the detector's clock.")
    brand: Brand = Field(default="", description="Product variety that runs; empty: none.")
    model: NoneOrDigest = Field(default="", description="Digest of the model that judges now; empty: none does.")
    former: Annotated[tuple[Brand, ...], Field(max_length=1000)] | None = Field(
        default=None, description="Brands of which the model before can be brought back; null: it does not say."
    )
    images: Count = Field(default=0, description="Images inspected since the detector's start.")
    rejects: Count = Field(default=0, description="Parts rejected since then.")
    errors: Count = Field(default=0, description="Images that could not be taken or judged since then, as something failed.")
    unjudged: Count = Field(default=0, description="Images since then of which there was no judgement for want of a model.")
    lost: Count = Field(default=0, description="Judgements since then that the results file or the broker did not take.")
    missed: Count = Field(default=0, description="Ticks at which no image could be taken since then, as too many waited.")
    teach: str = Field(default="", max_length=200, description="Id of what is being taught, or was last; empty: nothing yet.")
    taught: Count = Field(default=0, description="Images of it that are recorded so far.")
    per_second: float = Field(default=0.0, ge=0, le=1e9, description="Images a second, of the last seconds.")
    p99_ms: float = Field(
        default=0.0, ge=0, le=1e9, description="99th percentile of the time for one judgement, in milliseconds."
    )
    deployments: tuple[DeploymentState, ...] = Field(
        default=(), max_length=DEPLOYMENTS_TOLD, description="The newest deployments, oldest first."
    )
    backlog: Count = Field(default=0, description="Records that the edge server does not have yet.")
    disk_bytes: Count = Field(default=0, description="What the records on the detector's disk take.")
    trouble: Text = Field(default="", max_length=2000, description="What a person should look after; empty: nothing.")


class Hello(Told):
    """What a detector says when it has connected."""

    generation: int = Field(ge=0, lt=2**63, description="Of the last wanted that it has done; 0: it has done nothing.")
    software: str = Field(default="", max_length=100, description="Version of its software.")
    status: Status = Field(description="How it stands.")


class Said(Told):
    """What a detector says now and then, as long as it is connected."""

    status: Status = Field(description="How it stands now.")
    generation: int = Field(default=0, ge=0, lt=2**63, description="Of the last wanted that it has done.")
    flushed: Count = Field(default=0, description="Up to this flush all records that it held back are sent.")


class Heard(Told):
    """The edge server has heard it: a deployment's last state need not be said again."""


class Fetch(Part):
    """Asks for a model's file, as a stream of bytes."""

    sha256: Digest = Field(description="Which file.")
    offset: Count = Field(default=0, description="Bytes that are here already.")


class Sent(Told):
    """A record as it is sent."""

    record: Record = Field(description="The record.")
    image_bytes: int = Field(ge=1, le=MAX_IMAGE_BYTES, description="Length of its image's file.")
    heat_bytes: int = Field(default=0, ge=0, le=MAX_HEAT_BYTES, description="Length of its heat map's file; 0: it has none.")


class Records(Told):
    """Some records, oldest first; the bytes of their images and heat maps follow the message in the same order."""

    records: tuple[Sent, ...] = Field(
        min_length=1, max_length=1000, description="The records, as their bytes follow each other."
    )


class Kept(Told):
    """The edge server has these records, on its disk: the detector need not send them again."""

    ids: tuple[Count, ...] = Field(max_length=1000, description="Their numbers.")
