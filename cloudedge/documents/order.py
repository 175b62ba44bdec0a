"""What the cloud wants of an edge."""

import re
from typing import Literal, NamedTuple, Self

from pydantic import AwareDatetime, model_validator
from pydantic import Field as Described

from cloudedge.documents.base import Document, Part
from cloudedge.documents.data import DataFormat
from cloudedge.documents.task import ModelSpec, Recollection, Training
from cloudedge.errors import InvalidInput
from cloudedge.names import ATTEMPTS, FILE_NAME, IN_WORDS, NAME, ORDER_ID, ROUNDS, SHA256

MAX_ORDER_BYTES = 64 * 1024
MAX_INBOX_BYTES = 1_000_000


class RemoteFile(Part):
    """A file that the edge fetches."""

    url: str = Described(min_length=1, max_length=4096, description="Presigned URL for one GET (file:// on a laptop).")
    sha256: str = Described(pattern=SHA256, description="Digest of the bytes.")
    size: int = Described(ge=0, le=2**50, description="Length in bytes.")


class UploadTarget(Part):
    """Where the edge may put one object."""

    url: str = Described(min_length=1, max_length=4096, description="Presigned URL for one PUT (file:// on a laptop).")
    headers: dict[str, str] = Described(
        default_factory=dict, description="Headers that were signed and must be sent as they are."
    )
    max_bytes: int = Described(ge=1, le=2**50, description="Larger content is refused.")
    once: bool = Described(description="Whether the object can be written only once; a second PUT is refused.")


class Order(Document):
    """One piece of work for one edge. It carries no weights and no credential."""

    id: str = Described(pattern=ORDER_ID, description="run.round.edge.attempt; the same work has the same id.")
    kind: Literal["train", "evaluate"] = Described(description="Kind of work.")
    state: Literal["run", "cancelled"] = Described(default="run", description="What the cloud wants of this order now.")
    run: str = Described(pattern=NAME, description="Run that the order belongs to.")
    round: int = Described(ge=0, le=ROUNDS, description="Round, counted from 1.")
    edge: str = Described(pattern=NAME, description="Edge that the order is for.")
    attempt: int = Described(default=1, ge=1, le=ATTEMPTS, description="Attempt of this edge in this round, counted from 1.")
    issued_at: AwareDatetime = Described(
        description="When the cloud wrote it, by the cloud's clock. Of two orders with the same id the later one holds: an "
        "edge that is done with the earlier one does it anew, as the cloud has lost what came of it."
    )
    time_limit_seconds: float = Described(
        gt=0, le=10_000_000, description="How long the edge may work, in seconds from acceptance, by the edge's own clock."
    )
    model: ModelSpec = Described(description="The network that the files belong to.")
    inputs: dict[str, RemoteFile] = Described(
        min_length=1, max_length=64, description="Models to fetch: 'base' for train; each is scored for evaluate."
    )
    model_file_name: str = Described(default="model.safetensors", pattern=FILE_NAME, description="Name of the model's file.")
    data: DataFormat = Described(description="Format of the samples.")
    training: Training = Described(default_factory=Training, description="How to train.")
    recollection: Recollection = Described(default_factory=Recollection, description="What to do below target.")
    seed: int = Described(default=0, ge=0, description="All randomness of the work follows from it.")
    report: UploadTarget = Described(description="Where reports go; overwritten as work goes on.")
    result: UploadTarget | None = Described(default=None, description="Where the trained model goes; none for evaluate.")
    manifest: UploadTarget = Described(description="Where the manifest goes, last of all.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.id != order_id(self.run, self.round, self.edge, self.attempt):
            raise ValueError(f"id {self.id!r} is not run.round.edge.attempt of the other fields")
        if self.kind == "train" and (self.result is None or set(self.inputs) != {"base"}):
            raise ValueError("an order to train has one input, 'base', and a result")
        return self


class Inbox(Document):
    """All that the cloud wants of one edge now: the whole desired state, not a message."""

    edge: str = Described(pattern=NAME, description="Edge that the inbox is for.")
    generation: int = Described(
        ge=0,
        description="Grows with every change, and is no less than its time in seconds since 1970; an older one is ignored.",
    )
    orders: tuple[Order, ...] = Described(default=(), max_length=1000, description="All open orders of the edge.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for order in self.orders:
            if order.edge != self.edge:
                raise ValueError(f"order {order.id} is for the edge {order.edge}, not {self.edge}")
        if len({order.id for order in self.orders}) != len(self.orders):
            raise ValueError("two orders have the same id")
        return self


class OrderName(NamedTuple):
    """What an order's id says."""

    run: str
    round: int
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
        run, number, edge, attempt = text.split(".")
        return cls(run, int(number), edge, int(attempt))


def order_id(run: str, round_number: int, edge: str, attempt: int) -> str:
    """The one id that this work has."""
    return f"{run}.{round_number}.{edge}.{attempt}"
