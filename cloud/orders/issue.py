"""Orders as edges get them, with URLs that live as long as the order, or are renewed until then."""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from cloud.inboxes import UnusableInbox
from cloud.patience import Away
from cloud.runs.run import OfAnOrder
from cloud.runs.step_records import IssuedOrder
from cloud.step import Step
from cloud.stores.signing import life_of
from cloudedge.documents import Order, RemoteFile, UploadTarget, Work, order_id
from cloudedge.documents.manifest import MAX_MANIFEST_BYTES
from cloudedge.documents.order import OrderName
from cloudedge.documents.report import MAX_HISTORY_BYTES, MAX_REPORT_BYTES
from cloudedge.errors import CloudedgeError, InvalidDocument, NotFound

AT_ONCE = 16
"""Orders written at a time."""

_URL_MARGIN_SECONDS = 3600.0
"""URLs outlive the last moment of an order's work by this, so that a clock that is off loses no result."""

_RENEWED_AT = 0.5
"""URLs are renewed when they have lived this share of their life; an edge that is away just then has the rest to come back."""

_MODEL_MARGIN_BYTES = 1024 * 1024
"""A trained model may have this much more than its base, for its header's metadata."""


class StoredFile(NamedTuple):
    """A file in the store; its size is in bytes."""

    key: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Assignment:
    """What edges are to do in a step of a run.

    Attributes:
        step: Name of the step; of a round, its number.
        work: What to do, of whatever kind.
        inputs: Files that the work begins with, by their names in that kind.
        most_bytes: How large each file may become that the work makes, by its name in that kind.
        limit_seconds: How long an edge may work, from when it accepts its order.
    """

    step: str
    work: Work
    inputs: Mapping[str, StoredFile]
    most_bytes: Mapping[str, int]
    limit_seconds: float


def inputs_of(work: Step, files: Mapping[str, StoredFile], limit_seconds: float) -> dict[str, RemoteFile]:
    """Files as edges fetch them for an order with this time limit, by name."""
    expires = _url_seconds(limit_seconds)
    return {name: work.store.download(*file, expires_seconds=expires) for name, file in files.items()}


def most_model_bytes(base_size: int) -> int:
    """How large a model may be that was trained from a base of this size, in bytes."""
    return base_size + _MODEL_MARGIN_BYTES


def new_order(work: Step, asked: Assignment, edge: str, inputs: Mapping[str, RemoteFile], attempt: int) -> Order:
    """An order that was never issued."""
    name = OrderName(work.run.id, asked.step, edge, attempt)
    return Order(
        id=order_id(*name),
        run=name.run,
        step=name.step,
        edge=edge,
        attempt=attempt,
        issued_at=datetime.now(UTC),
        time_limit_seconds=asked.limit_seconds,
        work=asked.work,
        inputs=dict(inputs),
        **_targets(work, name, asked.most_bytes, asked.limit_seconds),
    )


def renewed_every(work: Step, limit_seconds: float) -> float:
    """How often orders with this time limit must be renewed, in seconds; infinite if their URLs never end.

    A round whose machine sleeps takes longer than its limit, so no URL outlives every round.
    """
    longest = work.store.longest_url_seconds
    return min(longest, _url_seconds(limit_seconds)) * _RENEWED_AT if longest < math.inf else math.inf


def renewed_in(work: Step, orders: Sequence[IssuedOrder], limit_seconds: float) -> float:
    """How soon the first of some orders must be renewed, in seconds; infinite if their URLs never end.

    Their URLs tell: credentials that end soon may have given them a shorter life than a URL has that is signed now.
    """
    pause = renewed_every(work, limit_seconds)
    if math.isinf(pause) or not orders:
        return pause

    def due_of(issued: IssuedOrder) -> datetime:
        order = None
        with contextlib.suppress(InvalidDocument):  # `renew` names it.
            order = work.run.order(issued.step, issued.edge)
        life = life_of(order.report.url) if order else None
        # Whoever waited before may have renewed it since it was issued.
        begin, seconds = (life[0], life[1] * _RENEWED_AT) if life else (issued.issued_at, pause)
        return begin + timedelta(seconds=seconds)

    with ThreadPoolExecutor(AT_ONCE) as others:
        return (min(others.map(due_of, orders)) - datetime.now(UTC)).total_seconds()


def absence(use: Callable[[], object]) -> str:
    """Do something with an edge's inbox, and say why that is not possible if it is due to this edge alone; empty: it is done.

    Raises:
        StoreFailed: nobody answers for any edge.
    """
    try:
        use()
    except Away:
        raise
    except UnusableInbox as error:
        return error.reason
    except NotFound:
        return "it is not enrolled any more; enrolled again, it takes part when the same task is given again"
    except CloudedgeError as error:
        return f"its inbox cannot be used: {' '.join(str(error).split())}"
    return ""


def renew(work: Step, orders: Sequence[IssuedOrder]) -> None:
    """Give orders that are open new URLs.

    They stay the orders that they are: an edge goes on with its work, and takes the new URLs as soon as they arrive. One whose
    inbox cannot be changed is named, and goes on for as long as its URLs hold.
    """
    records = {step: work.run.dispatched(step) for step in {order.step for order in orders}}
    keys = {step: record.models for step, record in records.items() if record}

    def renew_one(issued: IssuedOrder) -> tuple[bool, str]:
        """Whether it was open, and why it could not be renewed."""
        try:
            former = work.run.order(issued.step, issued.edge)
        except InvalidDocument as error:
            return False, f"its order cannot be read: {'; '.join(error.faults)}"
        if former is None or former.id != issued.id:
            return False, ""
        files = {name: StoredFile(keys[issued.step][name], file.sha256, file.size) for name, file in former.inputs.items()}
        limit, most = former.time_limit_seconds, {name: target.max_bytes for name, target in former.outputs.items()}
        # Written anew it is of this version's form, whoever wrote it before.
        changes = {"schema_version": 2, "inputs": inputs_of(work, files, limit), **_targets(work, issued, most, limit)}
        order = former.model_copy(update=changes)
        work.run.put(work.run.order_key(issued.step, issued.edge), order)
        found = False

        def renewed(others: Sequence[Order]) -> list[Order]:
            nonlocal found
            found = order.id in {other.id for other in others}
            return [order if other.id == order.id else other for other in others]

        fault = absence(lambda: work.inboxes.update(issued.edge, renewed))
        return found and not fault, fault

    renewed = []
    with ThreadPoolExecutor(AT_ONCE) as others:
        for order, (done, fault) in zip(orders, others.map(renew_one, orders), strict=True):
            renewed += [order.id] * done
            if fault:
                work.say(f"The order of {order.edge} could not be renewed: {fault}")
    work.log("renewed", orders=renewed)
    work.say(f"{len(renewed)} open orders have new URLs, as the former ones would end before their time is up.")


def _url_seconds(limit_seconds: float) -> float:
    """How long an order's URLs are of use: an edge that accepts it as the round ends has its whole time limit from then on."""
    return 2 * limit_seconds + _URL_MARGIN_SECONDS


def _targets(work: Step, order: OfAnOrder, most_bytes: Mapping[str, int], limit_seconds: float) -> dict[str, Any]:
    """Where an order's report, its manifest, its history and what its work makes go."""
    expires, run, store = _url_seconds(limit_seconds), work.run, work.store

    def once(key: str, most: int) -> UploadTarget:
        return store.upload(key, max_bytes=most, once=True, expires_seconds=expires)

    return {
        "report": store.upload(run.report_key(order), max_bytes=MAX_REPORT_BYTES, once=False, expires_seconds=expires),
        "manifest": once(run.manifest_key(order), MAX_MANIFEST_BYTES),
        "history": once(run.output_key(order, "history"), MAX_HISTORY_BYTES),
        "outputs": {name: once(run.output_key(order, name), most) for name, most in most_bytes.items()},
    }
