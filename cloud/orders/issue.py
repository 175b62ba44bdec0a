"""Orders as edges get them, with URLs that live as long as the order, or are renewed until then."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cloud.runs.records import IssuedOrder
from cloud.step import Step
from cloudedge.documents import Order, RemoteFile, Task, order_id
from cloudedge.documents.order import OrderName
from cloudedge.documents.report import MAX_MANIFEST_BYTES, MAX_REPORT_BYTES
from cloudedge.errors import NotFound

AT_ONCE = 16
"""Orders written at a time."""

_URL_MARGIN_SECONDS = 3600.0
"""URLs outlive the last moment of an order's work by this, so that a clock that is off loses no result."""

_RENEWED_AT = 0.5
"""URLs are renewed when they have lived this share of their life; an edge that is away just then has the rest to come back."""

_MODEL_MARGIN_BYTES = 1024 * 1024
"""A trained model may have this much more than its base, for its header's metadata."""


class ModelFile(NamedTuple):
    """A model in the store; its size is in bytes."""

    key: str
    sha256: str
    size: int


def inputs_of(work: Step, models: Mapping[str, ModelFile], limit_seconds: float) -> dict[str, RemoteFile]:
    """Models as edges fetch them for an order with this time limit, by name."""
    expires = _url_seconds(limit_seconds)
    return {name: work.store.download(*model, expires_seconds=expires) for name, model in models.items()}


def most_model_bytes(base_size: int) -> int:
    """How large a model may be that was trained from a base of this size, in bytes."""
    return base_size + _MODEL_MARGIN_BYTES


def new_order(
    work: Step, task: Task, round_number: int, kind: str, edge: str, inputs: Mapping[str, RemoteFile], attempt: int
) -> Order:
    """An order that was never issued."""
    limit = task.collaboration.round_deadline_seconds
    most = most_model_bytes(inputs["base"].size) if kind == "train" else None
    fields = {
        "id": order_id(work.run.id, round_number, edge, attempt),
        "kind": kind,
        "run": work.run.id,
        "round": round_number,
        "edge": edge,
        "attempt": attempt,
        "issued_at": datetime.now(UTC),
        "time_limit_seconds": limit,
        "model": task.model,
        "inputs": dict(inputs),
        "model_file_name": task.model_file_name,
        "data": task.data,
        "training": task.collaboration.training,
        "recollection": task.collaboration.recollection,
        "seed": task.seed,
        **_targets(work, round_number, edge, attempt, most, limit),
    }
    return Order.model_validate(fields)


def renewed_every(work: Step, limit_seconds: float) -> float:
    """How often orders with this time limit must be renewed, in seconds; infinite if their URLs never end.

    A round whose machine sleeps takes longer than its limit, so no URL outlives every round.
    """
    longest = work.store.longest_url_seconds
    return min(longest, _url_seconds(limit_seconds)) * _RENEWED_AT if longest < math.inf else math.inf


def renew(work: Step, orders: Sequence[IssuedOrder]) -> None:
    """Give orders that are open new URLs.

    They stay the orders that they are: an edge goes on with its work, and takes the new URLs as soon as they arrive.
    """
    records = {number: work.run.dispatched(number) for number in {order.round for order in orders}}
    models = {number: record.models for number, record in records.items() if record}

    def renew_one(issued: IssuedOrder) -> bool:
        """Whether it was open."""
        former = work.run.order(issued.round, issued.edge)
        if former is None or former.id != issued.id:
            return False
        files = {name: ModelFile(models[issued.round][name], file.sha256, file.size) for name, file in former.inputs.items()}
        limit, most = former.time_limit_seconds, former.result.max_bytes if former.result else None
        changes = {
            "inputs": inputs_of(work, files, limit),
            **_targets(work, issued.round, issued.edge, issued.attempt, most, limit),
        }
        order = former.model_copy(update=changes)
        work.run.put(work.run.order_key(issued.round, issued.edge), order)
        with contextlib.suppress(NotFound):  # It was removed since.
            inbox = work.inboxes.update(
                issued.edge, lambda others: [order if other.id == order.id else other for other in others]
            )
            return order.id in {other.id for other in inbox.orders}
        return False

    with ThreadPoolExecutor(AT_ONCE) as others:
        renewed = [order.id for order, done in zip(orders, others.map(renew_one, orders), strict=True) if done]
    work.log("renewed", orders=renewed)
    work.say(f"{len(renewed)} open orders have new URLs, as the former ones would end before their time is up.")


def _url_seconds(limit_seconds: float) -> float:
    """How long an order's URLs are of use: an edge that accepts it as the round ends has its whole time limit from then on."""
    return 2 * limit_seconds + _URL_MARGIN_SECONDS


def _targets(
    work: Step, round_number: int, edge: str, attempt: int, most_bytes: int | None, limit_seconds: float
) -> dict[str, Any]:
    """Where an order's report, its manifest and, if it may have so many bytes, its model go."""
    expires = _url_seconds(limit_seconds)
    report, manifest, model = (
        work.run.report_key(OrderName(work.run.id, round_number, edge, attempt)),
        work.run.result_key(round_number, edge, attempt, "manifest.json"),
        work.run.result_key(round_number, edge, attempt, "model.safetensors"),
    )
    return {
        "report": work.store.upload(report, max_bytes=MAX_REPORT_BYTES, once=False, expires_seconds=expires),
        "manifest": work.store.upload(manifest, max_bytes=MAX_MANIFEST_BYTES, once=True, expires_seconds=expires),
        "result": None
        if most_bytes is None
        else work.store.upload(model, max_bytes=most_bytes, once=True, expires_seconds=expires),
    }
