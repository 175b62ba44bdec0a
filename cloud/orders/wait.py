"""Waiting for orders: until enough edges have delivered, or it is certain that too few will."""

import time
from collections.abc import Callable, Collection, Sequence

from cloud.advice import DIVERGES_AGAIN
from cloud.orders.absent import Absentees
from cloud.orders.issue import renew, renewed_every, renewed_in
from cloud.orders.watch import OrderWatch, Watched
from cloud.runs.run import step_detail, step_title
from cloud.runs.step_records import Delivery, WaitRecord
from cloud.step import Step
from cloudedge.clocks import passed
from cloudedge.documents import LeftOut
from cloudedge.errors import QuorumMissed, StoreFailed

_RELAY_SECONDS = 5.0
_SAY_SECONDS = 10.0
_RENEWAL_AGAIN_SECONDS = 60.0


def wait_for(
    work: Step,
    watch: OrderWatch,
    quorum: int,
    deadline_seconds: float,
    grace_seconds: float,
    keep: Callable[[Sequence[Watched]], None] | None = None,
) -> WaitRecord:
    """Wait until the quorum and its grace are over, or nobody is pending.

    Returns:
        Who delivered, who did not and why.

    Raises:
        QuorumMissed: too few results at the deadline, or for certain.
        Cancelled: somebody cancelled the run.
    """
    started, title = time.monotonic(), step_title(watch.step)
    quorum_since: float | None = None
    renewal = _Renewal(work, watch, deadline_seconds)
    relayed = said = float("-inf")
    relaying = 0.0
    last, named = False, set[tuple[str, str]]()
    absentees = Absentees(work, watch)
    with watch.told(), work.inboxes.nudging(watch.edges, watch.accepted), absentees.looked_for():
        while True:
            looked = time.monotonic()
            changed = watch.look(everywhere=last)
            if keep:
                keep(changed)
            absentees.leave_out()
            now = time.monotonic()
            delivered, pending = len(watch.delivered), len(watch.pending)
            if changed or now - said > _SAY_SECONDS:
                said = now
                work.say(f"{title}: {delivered} of {len(watch.edges)} edges have delivered, {pending} are at work.")
            _log_faults(work, watch.step, changed, named)
            if quorum_since is None and delivered >= quorum:
                quorum_since = now
            if last or pending == 0 or delivered + pending < quorum:
                break
            if (quorum_since is not None and now - quorum_since >= grace_seconds) or now - started >= deadline_seconds:
                last = True  # What came and was not told shall not count as missing.
                continue
            if now - relayed > max(_RELAY_SECONDS, relaying):  # A slow MLflow gets no more than half of the time.
                work.relay(patiently=True)
                relayed = time.monotonic()
                relaying = relayed - now
            renewal.renew_if_due()
            work.stop_if_cancelled()
            # Of a store that takes long to list no more than half of the time is asked for.
            time.sleep(max(work.settings.poll_seconds, now - looked))
    absentees.explain_silence()
    record = _record(watch, now - started)
    if delivered < quorum:
        for watched in watch.edges.values():
            if watched.refusal:
                work.run.take_back(watched.order)
        diverged = {edge for edge, watched in watch.edges.items() if watched.diverged}
        raise QuorumMissed(_shortage(title, quorum, record, diverged, timed_out=now - started >= deadline_seconds))
    return record


class _Renewal:
    """Renews the open orders of a step for as long as it is waited for; URLs end while this machine sleeps, too."""

    def __init__(self, work: Step, watch: OrderWatch, limit_seconds: float) -> None:
        self._work, self._watch, self._limit_seconds = work, watch, limit_seconds
        self._due = passed() + renewed_in(work, [watched.order for watched in watch.edges.values()], limit_seconds)

    def renew_if_due(self) -> None:
        if passed() < self._due:
            return
        try:
            renew(self._work, [self._watch.edges[edge].order for edge in sorted(self._watch.pending)])
            pause = renewed_every(self._work, self._limit_seconds)
        except StoreFailed as error:  # The URLs hold for as long again: no reason to end the wait.
            pause = _RENEWAL_AGAIN_SECONDS
            self._work.say(f"The open orders could not be renewed, which is tried again: {error}")
        self._due = passed() + pause


def _log_faults(work: Step, step: str, changed: Sequence[Watched], named: set[tuple[str, str]]) -> None:
    """Say who is left out and whose reports are not believed, each with the reason and once, as reports may go on coming."""
    for watched in changed:
        for action, fault in (("left-out", watched.refusal), ("misreported", watched.misreport)):
            if fault and (watched.order.edge, action) not in named:
                named.add((watched.order.edge, action))
                work.say(f"{watched.order.edge}: {fault}")
                work.log(action, **step_detail(step), edge=watched.order.edge, reason=fault)


def _delivery(watched: Watched) -> Delivery:
    return Delivery(edge=watched.order.edge, step=watched.order.step, attempt=watched.order.attempt)


def _record(watch: OrderWatch, seconds: float) -> WaitRecord:
    delivered, missing, late = [], [], {}
    for edge, watched in sorted(watch.edges.items()):
        if watched.delivered:
            delivered.append(_delivery(watched))
            continue
        missing.append(LeftOut(edge=edge, reason=watched.state()))
        if watched.pending and watched.report is not None:
            late[edge] = watched.order.step
    return WaitRecord(delivered=tuple(delivered), missing=tuple(missing), late=late, seconds=seconds)


def _shortage(title: str, quorum: int, record: WaitRecord, diverged: Collection[str], *, timed_out: bool) -> str:
    alone = len(record.missing) == quorum == 1
    if alone:
        lines = [f"{title} got no result{' before the deadline' if timed_out else ', and none can come any more'}:"]
    else:
        why = "before the deadline" if timed_out else "and no more can come"
        lines = [f"{title} got {len(record.delivered)} results of the {quorum} it needs {why}:"]
    lines += [f"  - {missing.edge}: {missing.reason}" for missing in record.missing]
    if len(diverged) < len(record.missing):
        lines.append(
            "Mend what is wrong there, if anything is, and run the same task again, which goes on here; "
            f"or allow {'a later deadline' if alone else 'a smaller quorum or a later deadline'} in a new task."
        )
    if diverged:
        lines.append(DIVERGES_AGAIN)
    return "\n".join(lines)
