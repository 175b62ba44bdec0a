"""Waiting for a round: until enough edges have delivered, or it is certain that too few will."""

import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from html import escape

from cloudedge.clocks import passed
from cloudedge.documents import EpochRecord, LeftOut, Phase
from cloudedge.errors import QuorumMissed, StoreFailed
from components.dispatch.orders import renew, renewed_every
from components.dispatch.step import finished_before, order_training
from components.shared.advice import DIVERGES_AGAIN
from components.shared.records import Delivery, WaitRecord
from components.shared.step import Step, step
from components.wait.relay import EdgeFigures
from components.wait.watch import RoundWatch, Watched

_RELAY_SECONDS = 5.0
_SAY_SECONDS = 10.0
_RENEWAL_AGAIN_SECONDS = 60.0


def wait_round(run_id: str, round_number: int) -> tuple[int, str]:
    """Wait until a round is over.

    Returns:
        Number of results, and a page that shows how each edge fared (empty if the round was not needed).

    Raises:
        QuorumMissed: fewer results than the quorum, at the deadline or because too many edges failed.
        Cancelled: somebody cancelled the run.
    """
    with step(run_id, f"wait-{round_number}") as work:
        task = work.run.task()
        if finished_before(work, task, round_number):
            return 0, ""
        record = work.run.waited(round_number)
        if record is None and work.resumed:
            # This step was ended before, or came so late that the run was taken for dead; either closed the orders.
            order_training(work, task, round_number)
        watch = RoundWatch.of(work.run, round_number)
        if record is None:
            asked = task.collaboration
            quorum = asked.quorum or len(watch.edges)
            figures = EdgeFigures(work, asked, round_number)
            record = wait_for(
                work, watch, round_number, quorum, asked.round_deadline_seconds, asked.straggler_grace_seconds, figures
            )
            work.run.put(work.run.round_key(round_number, "wait.json"), record)
            work.log("waited", round=round_number, delivered=len(record.delivered), missing=[m.edge for m in record.missing])
        else:
            watch.look()
        return len(record.delivered), _page(round_number, watch, record)


def wait_for(
    work: Step,
    watch: RoundWatch,
    round_number: int,
    quorum: int,
    deadline_seconds: float,
    grace_seconds: float,
    figures: EdgeFigures | None = None,
) -> WaitRecord:
    """Wait until the quorum and its grace are over, or nobody is pending.

    Returns:
        Who delivered, who did not and why.

    Raises:
        QuorumMissed: too few results at the deadline, or for certain.
        Cancelled: somebody cancelled the run.
    """
    started = time.monotonic()
    quorum_since: float | None = None
    renewal = _Renewal(work, watch, deadline_seconds)
    relayed = said = float("-inf")
    last, named = False, set[tuple[str, str]]()
    with watch.told(), work.inboxes.nudging(watch.edges, watch.accepted):
        while True:
            looked = time.monotonic()
            changed = watch.look(everywhere=last)
            if figures:
                figures.keep(changed)
            now = time.monotonic()
            delivered, pending = len(watch.delivered), len(watch.pending)
            if changed or now - said > _SAY_SECONDS:
                said = now
                work.say(
                    f"Round {round_number}: {delivered} of {len(watch.edges)} edges have delivered, {pending} are at work."
                )
            _log_faults(work, round_number, changed, named)
            if quorum_since is None and delivered >= quorum:
                quorum_since = now
            if last or pending == 0 or delivered + pending < quorum:
                break
            if (quorum_since is not None and now - quorum_since >= grace_seconds) or now - started >= deadline_seconds:
                last = True  # What came and was not told shall not count as missing.
                continue
            if now - relayed > _RELAY_SECONDS:
                relayed = now
                work.relay()
            renewal.renew_if_due()
            work.stop_if_cancelled()
            # Of a store that takes long to list no more than half of the time is asked for.
            time.sleep(max(work.settings.poll_seconds, now - looked))
    record = _record(watch, now - started)
    if delivered < quorum:
        for watched in watch.edges.values():
            if watched.refusal:
                work.run.take_back(_delivery(watched))
        diverged = {edge for edge, watched in watch.edges.items() if watched.diverged}
        raise QuorumMissed(_shortage(round_number, quorum, record, diverged, timed_out=now - started >= deadline_seconds))
    return record


class _Renewal:
    """Renews the open orders of a round for as long as it is waited for; URLs end while this machine sleeps, too."""

    def __init__(self, work: Step, watch: RoundWatch, limit_seconds: float) -> None:
        self._work, self._watch = work, watch
        self._pause = renewed_every(work, limit_seconds)
        # Whoever waited before may have renewed them since they were issued; to do it again costs little.
        issued = min(watched.order.issued_at for watched in watch.edges.values())
        self._due = passed() + self._pause - (datetime.now(UTC) - issued).total_seconds()

    def renew_if_due(self) -> None:
        if passed() < self._due:
            return
        pause = self._pause
        try:
            renew(self._work, [self._watch.edges[edge].order for edge in sorted(self._watch.pending)])
        except StoreFailed as error:  # The URLs hold for as long again: no reason to end the wait.
            pause = min(pause, _RENEWAL_AGAIN_SECONDS)
            self._work.say(f"The open orders could not be renewed, which is tried again: {error}")
        self._due = passed() + pause


def _log_faults(work: Step, round_number: int, changed: Sequence[Watched], named: set[tuple[str, str]]) -> None:
    """Say who is left out and whose reports are not believed, each with the reason and once, as reports may go on coming."""
    for watched in changed:
        for action, fault in (("left-out", watched.refusal), ("misreported", watched.misreport)):
            if fault and (watched.order.edge, action) not in named:
                named.add((watched.order.edge, action))
                work.say(f"{watched.order.edge}: {fault}")
                work.log(action, round=round_number, edge=watched.order.edge, reason=fault)


def _delivery(watched: Watched) -> Delivery:
    return Delivery(edge=watched.order.edge, round=watched.order.round, attempt=watched.order.attempt)


def _record(watch: RoundWatch, seconds: float) -> WaitRecord:
    delivered, missing, late = [], [], {}
    for edge, watched in sorted(watch.edges.items()):
        if watched.delivered:
            delivered.append(_delivery(watched))
            continue
        missing.append(LeftOut(edge=edge, reason=watched.state()))
        if watched.pending and watched.report is not None:
            late[edge] = watched.order.round
    return WaitRecord(delivered=tuple(delivered), missing=tuple(missing), late=late, seconds=seconds)


def _shortage(round_number: int, quorum: int, record: WaitRecord, diverged: Collection[str], *, timed_out: bool) -> str:
    why = "before the deadline" if timed_out else "and no more can come"
    lines = [f"Round {round_number} got {len(record.delivered)} results of the {quorum} it needs {why}:"]
    lines += [f"  - {missing.edge}: {missing.reason}" for missing in record.missing]
    if len(diverged) < len(record.missing):
        lines.append(
            "Mend what is wrong there, if anything is, and run the same task again, which goes on here; "
            "or allow a smaller quorum or a later deadline in a new task."
        )
    if diverged:
        lines.append(DIVERGES_AGAIN)
    return "\n".join(lines)


_TITLES = ("Edge", "State", "Samples", "Epochs", "Accuracy before", "Accuracy after")
_STYLE = (
    "body{font:14px system-ui,sans-serif;margin:1em}h2{font-size:1.2em}div{overflow-x:auto}"
    "table{border-collapse:collapse}th,td{padding:.3em .8em;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
    "td{overflow-wrap:anywhere}td+td+td{white-space:nowrap}"
    # Kubeflow shows it in a panel beside the graph, where every edge gets lines of its own.
    "@media(max-width:34em){thead{display:none}tr{display:block;padding:.5em 0;border-bottom:1px solid #ddd}"
    "td{display:block;padding:.1em 0;border:0}td:empty{display:none}td:first-child{font-weight:600}"
    "td+td+td::before{content:attr(data-title)': '}}"
)


def _accuracy(record: EpochRecord) -> str:
    return "not measured" if record.scores.measured is None else f"{record.scores.measured:.3f}"


def _page(round_number: int, watch: RoundWatch, record: WaitRecord) -> str:
    rows = []
    delivered = {delivery.edge for delivery in record.delivered}
    for edge, watched in sorted(watch.edges.items()):
        history = watched.manifest.history if watched.manifest else watched.report.history if watched.report else ()
        before, after = (_accuracy(history[end]) if history else "" for end in (0, -1))
        state = Phase.DONE if edge in delivered else watched.state()
        samples = watched.manifest.samples if watched.manifest else ""
        cells = (edge, state, samples, max(len(history) - 1, 0), before, after)
        rows.append(
            "<tr>"
            + "".join(f"<td data-title='{title}'>{escape(str(cell))}</td>" for title, cell in zip(_TITLES, cells, strict=True))
            + "</tr>"
        )
    return (
        "<!doctype html><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        f"<style>{_STYLE}</style>"
        f"<h2>Round {round_number}: {len(delivered)} of {len(watch.edges)} edges delivered in {record.seconds:.1f} s</h2>"
        f"<div><table><thead><tr>{''.join(f'<th>{title}</th>' for title in _TITLES)}</tr></thead><tbody>"
        + "".join(rows)
        + "</tbody></table></div>"
    )
