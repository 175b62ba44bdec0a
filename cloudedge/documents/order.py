"""What the cloud wants of an edge."""

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field, model_validator

from cloudedge.documents import earlier
from cloudedge.documents.base import WHICH_VERSIONS, Document, Part, Told, Versioned
from cloudedge.documents.kinds import UnknownWork, Work, any_of
from cloudedge.errors import InvalidInput
from cloudedge.names import ATTEMPTS, IN_WORDS, NAME, ORDER_ID, SHA256

if TYPE_CHECKING:
    AnyWork = Work
else:
    AnyWork = any_of("WORK")

MAX_ORDER_BYTES = 64 * 1024
MAX_INBOX_BYTES = 1_000_000

FileName = Annotated[str, Field(pattern=NAME)]
"""Of an input or an output, as its kind of work has it."""


class RemoteFile(Part):
    """A file that the edge fetches."""

    url: str = Field(min_length=1, max_length=4096, description="Presigned URL for one GET (file:// on a laptop).")
    sha256: str = Field(pattern=SHA256, description="Digest of the bytes.")
    size: int = Field(ge=0, le=2**50, description="Length in bytes.")


class UploadTarget(Part):
    """Where the edge may put one object."""

    url: str = Field(min_length=1, max_length=4096, description="Presigned URL for one PUT (file:// on a laptop).")
    headers: dict[str, str] = Field(default_factory=dict, description="Headers that were signed and must be sent as they are.")
    max_bytes: int = Field(ge=1, le=2**50, description="Larger content is refused.")
    once: bool = Field(description="Whether the object can be written only once; a second PUT is refused.")


def _known_fields(target: Any) -> Any:
    """An upload target of whatever version, as this one knows it."""
    return {name: target[name] for name in UploadTarget.model_fields if name in target} if isinstance(target, dict) else target


class Envelope(Document, Told):
    """What must be known of an order to refuse it, whatever else it says."""

    schema_version: int = Field(default=2, ge=1, description="Version of this document's form.")  # type: ignore[assignment]
    id: str = Field(pattern=ORDER_ID, description="run.step.edge.attempt; the same work has the same id.")
    state: Literal["run", "cancelled"] = Field(default="run", description="What the cloud wants of this order now.")
    run: str = Field(pattern=NAME, description="Run that the order belongs to.")
    step: str = Field(pattern=NAME, description="Step of the run that issued it: a round's number, or another name.")
    edge: str = Field(pattern=NAME, description="Edge that the order is for.")
    attempt: int = Field(default=1, ge=1, le=ATTEMPTS, description="Attempt of this edge in this step, counted from 1.")
    issued_at: AwareDatetime = Field(
        description="When the cloud wrote it, by the cloud's clock. Of two orders with the same id the later one holds: an "
        "edge that is done with the earlier one does it anew, as the cloud has lost what came of it."
    )
    report: Annotated[UploadTarget, BeforeValidator(_known_fields)] = Field(
        description="Where reports go; overwritten as work goes on."
    )

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, value: Any) -> Any:
        return earlier.order(value)

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.id != order_id(self.run, self.step, self.edge, self.attempt):
            raise ValueError(f"id {self.id!r} is not run.step.edge.attempt of the other fields")
        return self


class Order(Envelope):
    """One piece of work for one edge. It carries no weights and no credential."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1, 2] = Field(default=2, description=WHICH_VERSIONS)
    report: UploadTarget = Field(description="Where reports go; overwritten as work goes on.")
    time_limit_seconds: float = Field(
        gt=0, le=10_000_000, description="How long the edge may work, in seconds from acceptance, by the edge's own clock."
    )
    work: AnyWork = Field(description="What to do, by its kind.")
    inputs: dict[FileName, RemoteFile] = Field(
        default_factory=dict, max_length=64, description="Files to fetch, by the names that the kind of work has for them."
    )
    outputs: dict[FileName, UploadTarget] = Field(
        default_factory=dict, max_length=64, description="Where the files go that the work makes, by their names."
    )
    history: UploadTarget | None = Field(
        default=None,
        description="Where the history of the work's points goes; none, as in version 0.1: into the manifest.",
    )
    manifest: UploadTarget = Field(description="Where the manifest goes, last of all.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if isinstance(self.work, UnknownWork):
            return self
        wanted = self.work.inputs
        if wanted is not None and set(self.inputs) != wanted:
            raise ValueError(f"an order to {self.work.kind} has the inputs {', '.join(sorted(wanted)) or 'none'}")
        if set(self.outputs) != self.work.outputs:
            raise ValueError(f"an order to {self.work.kind} has the outputs {', '.join(sorted(self.work.outputs)) or 'none'}")
        return self


class Inbox(Versioned):
    """All that the cloud wants of one edge now: the whole desired state, not a message."""

    edge: str = Field(pattern=NAME, description="Edge that the inbox is for.")
    generation: int = Field(
        ge=0,
        description="Grows with every change, and is no less than its time in seconds since 1970; an older one is ignored.",
    )
    orders: tuple[Order, ...] = Field(default=(), max_length=1000, description="All open orders of the edge.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for order in self.orders:
            if order.edge != self.edge:
                raise ValueError(f"order {order.id} is for the edge {order.edge}, not {self.edge}")
        if len({order.id for order in self.orders}) != len(self.orders):
            raise ValueError("two orders have the same id")
        return self


class InboxFrame(Versioned, Told):
    """An inbox whose orders are not read yet, so that one of them that cannot be read holds up no other."""

    edge: str = Field(pattern=NAME, description="Edge that the inbox is for.")
    generation: int = Field(ge=0, description="Grows with every change.")
    orders: tuple[Any, ...] = Field(default=(), max_length=1000, description="All open orders of the edge.")


class OrderName(NamedTuple):
    """What an order's id says."""

    run: str
    step: str
    edge: str
    attempt: int

    @classmethod
    def parse(cls, text: str) -> "OrderName":
        """Take an order's id apart.

        Raises:
            InvalidInput: it is none.
        """
        if not re.fullmatch(ORDER_ID, text):
            raise InvalidInput(f"{text!r} is no id of an order: {IN_WORDS[ORDER_ID]}.")
        run, step, edge, attempt = text.split(".")
        return cls(run, step, edge, int(attempt))


def order_id(run: str, step: str, edge: str, attempt: int) -> str:
    """The one id that this work has."""
    return f"{run}.{step}.{edge}.{attempt}"
