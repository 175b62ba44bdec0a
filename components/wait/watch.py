"""What is known of a round's edges, brought up to date with one listing per look.

Only objects whose version changed since the last look are read, so a look costs the same however many edges are silent.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from cloudedge.documents import Manifest, Order, Phase, Report, parse
from cloudedge.documents.report import MAX_MANIFEST_BYTES, MAX_REPORT_BYTES
from cloudedge.errors import InvalidInput, NotFound
from components.shared.run import Run

_AT_ONCE = 16
"""Orders read at a time."""


@dataclass
class Watched:
    """One edge's order and what has come of it."""

    order: Order
    report: Report | None = None
    manifest: Manifest | None = None
    refusal: str = ""
    """Why its manifest or report is not believed."""

    @property
    def failed(self) -> bool:
        """Whether nothing more will come."""
        # A listing is no snapshot: it may hold the last report and not yet the manifest that was written before it.
        ended = self.report is not None and self.report.phase in (Phase.FAILED, Phase.CANCELLED)
        return bool(self.refusal) or (self.manifest is None and ended)

    @property
    def pending(self) -> bool:
        """Whether something may still come."""
        return self.manifest is None and not self.failed

    def state(self) -> str:
        """How the order stands, for a person."""
        if self.refusal:
            return self.refusal
        if self.report is None:
            return "no sign of life since the order was issued; is the edge online?"
        if self.report.phase in (Phase.FAILED, Phase.CANCELLED):
            reason = self.report.error.message if self.report.error else "no reason given"
            return f"{self.report.phase}: {reason}"
        if self.report.phase == Phase.DONE and self.manifest is None:
            return "says it is done, but its manifest is not there"
        return f"still {self.report.phase}, epoch {self.report.epoch} of {self.report.epochs}"


@dataclass
class RoundWatch:
    """All edges of a round."""

    run: Run
    edges: dict[str, Watched]
    _versions: dict[str, str] = field(default_factory=dict)
    _by_key: dict[str, Watched] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run, number: int) -> "RoundWatch":
        """Watch all who take part in a round, those included who are still at work on an earlier one.

        Raises:
            NotFound: it was not dispatched.
        """
        record = run.dispatched(number)
        if record is None:
            raise NotFound(f"Round {number} of {run.id} was not dispatched yet: run that step first.")
        edges: dict[str, Watched] = {}
        with ThreadPoolExecutor(_AT_ONCE) as others:
            orders = others.map(lambda edge: run.order(record.late.get(edge, number), edge), record.edges)
            for edge, order in zip(record.edges, orders, strict=True):
                if order is None:
                    raise NotFound(f"Round {number} has no order for {edge}: run its dispatch first.")
                edges[edge] = Watched(order)
        watch = cls(run, edges)
        for watched in edges.values():
            watch._by_key[run.report_key(watched.order)] = watched
            watch._by_key[run.manifest_key(watched.order)] = watched
        return watch

    def look(self) -> list[Watched]:
        """Read what changed.

        Returns:
            The edges with a change.
        """
        changed: dict[str, Watched] = {}
        for key in self._changed_keys():
            watched = self._by_key[key]
            self._read(key, watched)
            changed[watched.order.edge] = watched
        return list(changed.values())

    def _changed_keys(self) -> Iterator[str]:
        for number in sorted({watched.order.round for watched in self.edges.values()}):
            for entry in self.run.store.list(self.run.round_key(number)):
                if entry.key in self._by_key and self._versions.get(entry.key) != entry.version:
                    self._versions[entry.key] = entry.version
                    yield entry.key

    def _read(self, key: str, watched: Watched) -> None:
        store, order = self.run.store, watched.order
        try:
            if key == self.run.report_key(order):
                report = parse(Report, store.get(key, MAX_REPORT_BYTES), key)
                if (report.order, report.edge) != (order.id, order.edge):
                    raise InvalidInput(f"{key} is about {report.order}, not {order.id}")
                if watched.report is None or report.sequence > watched.report.sequence:
                    watched.report = report
            else:
                manifest = parse(Manifest, store.get(key, MAX_MANIFEST_BYTES), key)
                if (manifest.order, manifest.edge) != (order.id, order.edge):
                    raise InvalidInput(f"{key} is about {manifest.order}, not {order.id}")
                watched.manifest = manifest
        except InvalidInput as error:
            watched.refusal = f"left out: {error}"
