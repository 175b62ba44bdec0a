"""Which edges that a step waits for are gone, or cannot be reached any more: nobody waits for them, and it is said why."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cloud.inboxes import Inboxes
from cloud.orders.issue import absence
from cloud.orders.watch import OrderWatch
from cloud.patience import Away
from cloud.runs.run import step_detail
from cloud.step import Step
from cloudedge.errors import CloudedgeError

_log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""Between two looks at who is enrolled."""

_MOST_READ = 100
"""Inboxes that are read in the end to tell why their edges were silent."""


class Absentees:
    """Takes edges that were removed out of a step's wait."""

    def __init__(self, work: Step, watch: OrderWatch) -> None:
        """Know of none yet."""
        self._work, self._watch = work, watch
        self._enrolled: frozenset[str] | None = None

    @contextmanager
    def looked_for(self) -> Iterator[None]:
        """Ask for as long as this lasts who is enrolled, in a thread: an API server that is away must not delay the wait."""
        over = threading.Event()
        threading.Thread(target=self._look, args=(self._work.inboxes, over), name="absentees", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def leave_out(self) -> None:
        """Wait no more for those that are not enrolled any more."""
        if self._enrolled is not None:
            self._ask(sorted(self._watch.pending - self._enrolled))

    def explain_silence(self) -> None:
        """Once the wait is over: tell of those that never gave a sign of life whether their inbox is why."""
        self._ask(sorted(edge for edge in self._watch.pending if self._watch.edges[edge].report is None)[:_MOST_READ])

    def _look(self, inboxes: Inboxes, over: threading.Event) -> None:
        while not over.wait(LOOK_SECONDS):
            try:
                self._enrolled = frozenset(inboxes.edges())
            except CloudedgeError as error:
                _log.info("it is not known who is enrolled: %s", error)

    def _ask(self, edges: list[str]) -> None:
        for edge in edges:
            try:
                fault = absence(lambda edge=edge: self._work.inboxes.read(edge))  # type: ignore[misc]
            except Away:
                return
            if fault:
                self._watch.missed(edge, fault)
                self._work.say(f"{edge} is absent: {fault}")
                self._work.log("left-out", **step_detail(self._watch.step), edge=edge, reason=fault)
