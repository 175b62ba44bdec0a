"""What each open order does or waits for, since when, and what comes next: told from the runner's ledger."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from cloudedge.documents import Order, Phase, Stream
from edge.runner.ledger import Entry, Holdup, Upload
from edge.runner.orders import AT_WORK, in_turn

_DOES = {
    Phase.ACCEPTED: "about to begin",
    Phase.FETCHING: "fetching its inputs",
    Phase.COLLECTING: "collecting samples",
    Phase.TRAINING: "training",
    Phase.EVALUATING: "measuring",
    Phase.DEPLOYING: "deploying",
}

_CALIBRATION = "calibration"
"""Stream of an order that measures what networks cost on the device."""

_AFTER = "it begins when that is over"


class Standing(NamedTuple):
    """How an order stands.

    Attributes:
        now: What it does or waits for.
        since: Since when, by the wall clock; none: not known.
        next: What comes next.
        again_at: When what failed is tried again, by the wall clock; none: nothing did, or it is tried now.
    """

    now: str
    since: str | None
    next: str
    again_at: str | None = None


def standings(
    entries: Sequence[Entry], holdups: Mapping[str, Holdup], uploads: Sequence[Upload], *, running: bool
) -> dict[str, Standing]:
    """How open orders stand, by their ids.

    Args:
        entries: The open orders, in order of acceptance.
        holdups: What holds their work up, by their ids.
        uploads: Files that wait to be sent.
        running: Whether the runner is at work.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    wanted = [entry for entry in entries if entry.phase in AT_WORK]
    turn = list(in_turn(wanted))
    ready = [entry for entry in turn if not _pauses(holdups.get(entry.order.id), now)]
    # One that was not begun yet is begun at once, where nothing else is at work; and before one that was interrupted.
    at_work = min(ready, key=lambda entry: (entry.phase is Phase.ACCEPTED, entry.order.id in holdups), default=None)
    found: dict[str, Standing] = {}
    for entry in entries:
        order_id = entry.order.id
        if entry.phase.over:
            found[order_id] = Standing("its last report waits to be sent", entry.since, "it is closed once the cloud has that")
        elif entry.phase is Phase.UPLOADING:
            found[order_id] = _uploading(entry, [each for each in uploads if each.order_id == order_id], now)
        elif entry is at_work:
            found[order_id] = _working(entry, holdups.get(order_id))
        elif (holdup := holdups.get(order_id)) is not None:
            found[order_id] = _interrupted(holdup, now, at_work)
        elif at_work is not None and entry in turn:
            found[order_id] = Standing(f"waits for its turn: {at_work.order.id} is at work", entry.since, _AFTER)
        else:
            found[order_id] = Standing(f"waits for {_before(entry, turn)}, which has to be done first", entry.since, _AFTER)
    if not running:
        stopped = "it goes on where it was, once the runner is started"
        return {
            name: each._replace(now=f"{each.now} (the runner is not at work)", next=stopped, again_at=None)
            for name, each in found.items()
        }
    return found


def _pauses(holdup: Holdup | None, now: str) -> bool:
    return holdup is not None and holdup.again_at > now


def _interrupted(holdup: Holdup, now: str, at_work: Entry | None) -> Standing:
    words = f"interrupted {_times(holdup.tries)}: {holdup.trouble}"
    if at_work is None or _pauses(holdup, now):
        return Standing(words, holdup.since, "it is tried again", holdup.again_at)
    return Standing(words, holdup.since, f"it is tried again once {at_work.order.id} is over")


def _working(entry: Entry, holdup: Holdup | None) -> Standing:
    streams = {stream.name: stream for stream in entry.progress}
    calibrating = streams.get(_CALIBRATION) if entry.phase is Phase.EVALUATING else None
    if holdup is not None:
        does = f"{_DOES[entry.phase]} again, interrupted {_times(holdup.tries)}: {holdup.trouble}"
    elif calibrating is not None:
        does = f"calibrating the device: {calibrating.words()}"
    else:
        said = ", ".join(map(Stream.words, entry.progress))
        does = f"{_DOES[entry.phase]}{f': {said}' if said else ''}"
    if entry.crashes:
        does += f" (its work died {_times(entry.crashes)} in a row)"
    since = entry.since if holdup is None else holdup.since
    limit = entry.order.time_limit_seconds if isinstance(entry.order, Order) else 0.0
    return Standing(does, since, f"it fails unless that is done by {entry.accepted.later(limit).iso()}")


def _before(entry: Entry, turn: Sequence[Entry]) -> str:
    """The order before which this one may not be done."""
    return next((each.order.id for each in turn if _kind(each) == _kind(entry)), "another order")


def _kind(entry: Entry) -> str | None:
    return entry.order.work.kind if isinstance(entry.order, Order) else None


def _uploading(entry: Entry, uploads: Sequence[Upload], now: str) -> Standing:
    names = ", ".join(each.name for each in uploads)
    failed = next((each for each in uploads if each.trouble), None)
    if failed is None:
        return Standing(f"sending its files: {names}", entry.since, "it is done once the cloud has them")
    again = failed.again_at if failed.again_at and failed.again_at > now else None
    words = f"sending its files: {names}; failed {_times(failed.tries)}: {failed.trouble}"
    return Standing(words, entry.since, "it is tried again", again)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
