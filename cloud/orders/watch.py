"""What is known of the edges of a step, brought up to date by looks.

A store that says what was written makes a look cost what has changed. Where it does not, and now and then in any case, the
step's reports and results are listed, so that nothing is ever missed; but only objects whose version has changed are read.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from cloud.runs.run import Run, step_title
from cloud.runs.step_records import IssuedOrder
from cloudedge.documents import Manifest, Phase, Report, Trained, parse
from cloudedge.documents.manifest import MAX_MANIFEST_BYTES
from cloudedge.documents.report import MAX_REPORT_BYTES
from cloudedge.errors import Diverged, InvalidInput, NotFound
from cloudedge.store import Changes

_AT_ONCE = 16
"""Objects read at a time."""

_LEAST_SECONDS_BETWEEN_LISTINGS = 60.0
_LISTINGS_SHARE = 0.02
"""Of a store that says what was written, a listing is asked for as seldom as both of these say."""


@dataclass
class Watched:
    """One edge's order and what has come of it."""

    order: IssuedOrder
    report: Report | None = None
    manifest: Manifest | None = None
    refusal: str = ""
    """Why its manifest is not believed."""
    absence: str = ""
    """Why its order is not with it, so that only what it has sent already may come."""
    misreport: str = ""
    """Why its newest report is not believed. A report only tells how work goes on, so its result counts all the same."""

    @property
    def delivered(self) -> bool:
        """Whether there is a result that is believed."""
        return self.manifest is not None and not self.refusal

    @property
    def trained(self) -> Trained | None:
        """What training came to, if that was asked and is done."""
        result = self.manifest.result if self.manifest else None
        return result if isinstance(result, Trained) else None

    @property
    def failed(self) -> bool:
        """Whether nothing more will come."""
        # Changes come in any order: the last report may be known before the manifest that was written before it.
        ended = self.report is not None and self.report.phase in (Phase.FAILED, Phase.CANCELLED)
        return bool(self.refusal) or (self.manifest is None and (ended or bool(self.absence)))

    @property
    def pending(self) -> bool:
        """Whether something may still come."""
        return self.manifest is None and not self.failed

    @property
    def diverged(self) -> bool:
        """Whether its training failed in a way in which it would again."""
        error = self.report.error if self.report and self.failed else None
        return error is not None and error.kind == Diverged.__name__

    def state(self) -> str:
        """How the order stands, for a person."""
        if self.refusal:
            return self.refusal
        if self.absence:
            return self.absence
        if self.misreport:
            return self.misreport
        if self.report is None:
            return "no sign of life since the order was issued; is the edge online?"
        if self.report.phase in (Phase.FAILED, Phase.CANCELLED):
            reason = self.report.error.message if self.report.error else "no reason given"
            return f"{self.report.phase}: {reason}"
        if self.report.phase == Phase.DONE and self.manifest is None:
            return "says it is done, but its manifest is not there"
        held_up = f"; held up: {self.report.error.message}" if self.report.error else ""
        return f"still {self.report.words()}{held_up}"


@dataclass
class OrderWatch:
    """All edges of a step that has issued orders.

    Attributes:
        run: The run.
        step: The step's name.
        edges: What is known of each edge.
        delivered: Edges with a result that is believed.
        pending: Edges from which something may still come.
        kind: Kind of the work; empty: not known.
    """

    run: Run
    step: str
    edges: dict[str, Watched]
    delivered: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)
    kind: str = ""
    _versions: dict[str, str] = field(default_factory=dict)
    _by_key: dict[str, Watched] = field(default_factory=dict)
    _changes: Changes | None = None
    _list_again_at: float = 0.0

    @classmethod
    def of(cls, run: Run, step: str) -> "OrderWatch":
        """Watch all who take part in a step, those included who are still at work on an earlier one.

        Raises:
            NotFound: it was not dispatched.
        """
        record = run.dispatched(step)
        if record is None or not record.orders:
            raise NotFound(f"{step_title(step)} of {run.id} was not dispatched yet: run that step first.")
        watch = cls(
            run, step, kind=record.kind, edges={order.edge: Watched(order, absence=order.absence) for order in record.orders}
        )
        watch.pending = {edge for edge, watched in watch.edges.items() if watched.pending}
        for watched in watch.edges.values():
            watch._by_key[run.report_key(watched.order)] = watched
            watch._by_key[run.manifest_key(watched.order)] = watched
        return watch

    @contextmanager
    def told(self) -> Iterator[None]:
        """For as long as this lasts, let the store say what was written, if it can."""
        with self.run.store.changes(self.run.key()) as self._changes:
            try:
                yield
            finally:
                self._changes = None

    def accepted(self, edge: str) -> bool:
        """Whether an edge has given a sign of life on its order."""
        watched = self.edges[edge]
        return watched.report is not None or not watched.pending

    def missed(self, edge: str, absence: str) -> None:
        """Take an edge for absent that something may still have come from."""
        self.edges[edge].absence = absence
        self.pending.discard(edge)

    def look(self, *, everywhere: bool = False) -> list[Watched]:
        """Read what changed.

        Args:
            everywhere: List, even if the store says what was written.

        Returns:
            The edges with a change.
        """
        told = self._changes() if self._changes else None
        if told is None or everywhere or time.monotonic() >= self._list_again_at:
            told = self._listed()
        keys = [key for key, version in told.items() if key in self._by_key and self._versions.get(key) != version]
        self._versions.update((key, told[key]) for key in keys)
        changed: dict[str, Watched] = {}
        with ThreadPoolExecutor(_AT_ONCE) as others:  # The time goes into waiting for the store.
            for key, found in zip(keys, others.map(self._read, keys), strict=True):
                if found is None:
                    del self._versions[key]
                    continue
                watched = self._by_key[key]
                _take(watched, found, reported=key == self.run.report_key(watched.order))
                changed[watched.order.edge] = watched
        for edge, watched in changed.items():
            self.delivered.discard(edge)
            self.pending.discard(edge)
            if watched.delivered:
                self.delivered.add(edge)
            elif watched.pending:
                self.pending.add(edge)
        return list(changed.values())

    def _listed(self) -> dict[str, str]:
        """Versions of all reports and results by key; reports first, so that no result of those that are done is missing."""
        began = time.monotonic()
        found: dict[str, str] = {}
        for step in sorted({watched.order.step for watched in self.edges.values()}):
            for folder in ("reports", "results"):
                found.update((entry.key, entry.version) for entry in self.run.store.list(self.run.step_key(step, folder)))
        now = time.monotonic()
        self._list_again_at = now + max(_LEAST_SECONDS_BETWEEN_LISTINGS, (now - began) / _LISTINGS_SHARE)
        return found

    def _read(self, key: str) -> Report | Manifest | InvalidInput | None:
        """A report or a manifest, or why it is not believed; nothing if it was deleted since it was listed."""
        order = self._by_key[key].order
        found: Report | Manifest
        try:
            if key == self.run.report_key(order):
                found = parse(Report, self.run.store.get(key, MAX_REPORT_BYTES), key)
            else:
                found = parse(Manifest, self.run.store.get(key, MAX_MANIFEST_BYTES), key)
            if (found.order, found.edge) != (order.id, order.edge):
                raise InvalidInput(f"{key} is about {found.order}, not {order.id}")
            if isinstance(found, Manifest) and self.kind and found.result.kind != self.kind:
                raise InvalidInput(f"{key} says what came of work to {found.result.kind}, and to {self.kind} was asked")
        except NotFound:
            return None
        except InvalidInput as error:
            return error
        return found


def _take(watched: Watched, found: Report | Manifest | InvalidInput, *, reported: bool) -> None:
    if isinstance(found, InvalidInput):
        if reported:
            watched.misreport = f"sent a report that is not believed: {found}"
        else:
            watched.refusal = f"left out: {found}"
    elif isinstance(found, Manifest):
        watched.manifest = found
    else:
        watched.misreport = ""
        if watched.report is None or _follows(found, watched.report):
            watched.report = found


def _follows(found: Report, known: Report) -> bool:
    """Whether a report that was read later was also said later.

    The store keeps the last one written of an order, which may be an earlier one whose request was long on its way. Of one
    runner the sequence tells. A runner that lost its state is another incarnation, and counts from the beginning: it holds
    as it comes, as while it is at work it says more within seconds than a dead one can still overwrite. Where one has ended
    the order, nobody may say more after it, and so no other's word is taken.
    """
    if found.incarnation == known.incarnation:
        return found.sequence > known.sequence
    return not known.phase.over
