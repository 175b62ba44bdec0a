"""Who is here, and what each detector last said: of the moment, and told anew after a restart."""

import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace

from cloudedge.documents.line import DeploymentState, Hello, Said, Status
from edge.line.store import newer

TREND_MINUTES = 60


@dataclass(frozen=True)
class Minute:
    """What a detector did within a minute.

    Attributes:
        minute: Since 1970.
        images: Images inspected.
        rejects: Parts rejected.
    """

    minute: int
    images: int
    rejects: int


@dataclass
class Live:
    """A detector of the moment.

    Attributes:
        connection: Number of its connection; 0: it has none.
        since: When that began or ended, by the monotonic clock.
        hello: What it said first.
        status: What it said last.
        states: How each deployment stands, as far as it told; only forward.
        generation: Of the last wanted that it has done.
        flushed: Up to which flush it has sent all.
        trend: The last minutes, oldest first.
    """

    connection: int = 0
    since: float = field(default_factory=time.monotonic)
    hello: Hello | None = None
    status: Status | None = None
    states: dict[str, DeploymentState] = field(default_factory=dict)
    generation: int = 0
    flushed: int = 0
    trend: deque[Minute] = field(default_factory=lambda: deque(maxlen=TREND_MINUTES))


class Attendance:
    """All detectors of the moment. Safe for threads."""

    def __init__(self) -> None:
        """Begin with nobody here."""
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._live: dict[str, Live] = {}
        self._connections = 0

    def arrive(self, name: str, hello: Hello) -> int:
        """A detector has connected, maybe before its former connection was found to be gone.

        Returns:
            The connection's number.
        """
        with self._lock:
            self._connections += 1
            live = self._of(name)
            live.connection, live.since, live.hello = self._connections, time.monotonic(), hello
            live.generation = hello.generation
            self._hear(live, hello.status)
            return self._connections

    def leave(self, name: str, connection: int) -> None:
        """A connection has ended."""
        with self._lock:
            live = self._of(name)
            if live.connection == connection:
                live.connection, live.since = 0, time.monotonic()

    def is_here(self, name: str, connection: int = 0) -> bool:
        """Whether a detector is connected, by this connection if one is given."""
        with self._lock:
            found = self._of(name).connection
            return found == connection if connection else bool(found)

    def away_seconds(self, name: str) -> float:
        """How long a detector has been away; 0: it is here."""
        with self._lock:
            live = self._live.get(name)
            if live is None:
                return time.monotonic() - self._begun
            return 0.0 if live.connection else time.monotonic() - live.since

    def hear(self, name: str, said: Said) -> None:
        """A detector has said how it stands."""
        with self._lock:
            live = self._of(name)
            live.generation, live.flushed = said.generation, max(live.flushed, said.flushed)
            self._hear(live, said.status)

    def flushed(self, name: str) -> int:
        """Up to which flush a detector has sent all."""
        with self._lock:
            return self._of(name).flushed

    def state(self, name: str, deployment: str) -> DeploymentState | None:
        """How a deployment stands at a detector, as far as it told."""
        with self._lock:
            return self._of(name).states.get(deployment)

    def seen(self, name: str) -> Live:
        """A detector as it is now."""
        with self._lock:
            live = self._of(name)
            return replace(live, states=dict(live.states), trend=deque(live.trend))

    def forget(self, name: str) -> None:
        """A detector is none of the line any more."""
        with self._lock:
            self._live.pop(name, None)

    def _of(self, name: str) -> Live:
        if name not in self._live:
            self._live[name] = Live(since=self._begun)
        return self._live[name]

    @staticmethod
    def _hear(live: Live, status: Status) -> None:
        former = live.status
        images, rejects = status.images, status.rejects
        if former is not None and images >= former.images and rejects >= former.rejects:  # Otherwise it has begun anew.
            images, rejects = images - former.images, rejects - former.rejects
        elif former is None:
            images = rejects = 0  # What it did before is of no known minute.
        minute = int(time.time() // 60)
        if live.trend and live.trend[-1].minute == minute:
            last = live.trend.pop()
            images, rejects = images + last.images, rejects + last.rejects
        live.trend.append(Minute(minute, images, rejects))
        live.status = status
        told = {state.id: newer(state, live.states.get(state.id)) for state in status.deployments}
        live.states = {**{name: state for name, state in live.states.items() if name not in told}, **told}
        for name in list(live.states)[:-50]:
            del live.states[name]
