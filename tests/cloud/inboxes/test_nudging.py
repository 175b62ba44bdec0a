"""Whom and when edges are nudged again, by a clock that nobody waits for."""

import threading
from collections.abc import Iterator

import pytest

from cloud.inboxes.nudging import Nudges
from cloudedge.errors import StoreFailed


class Clock(threading.Event):
    """Time that passes while somebody waits, until it is over."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.now, self._end = 0.0, seconds

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return self.is_set()

    def is_set(self) -> bool:
        return self.now >= self._end


class Cloud:
    """Says which inboxes arrive, and takes down who is nudged when."""

    def __init__(self, seconds: float, arrivals: dict[float, str] | None = None) -> None:
        self.clock = Clock(seconds)
        self.nudged: list[tuple[float, str]] = []
        self._arrivals = arrivals or {}

    def nudge(self, edge: str) -> None:
        self.nudged.append((self.clock.now, edge))

    def arrived(self, seconds: float) -> Iterator[str]:
        end = self.clock.now + seconds
        for moment, edge in self._arrivals.items():
            if self.clock.now <= moment < end:
                self.clock.now = moment
                yield edge
        self.clock.now = end


def run(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, accepted: dict[str, float]) -> list[tuple[float, str]]:
    """Who is nudged when, if these edges accept at these times."""
    monkeypatch.setattr("cloud.inboxes.nudging.monotonic", lambda: cloud.clock.now)
    nudges = Nudges(accepted, lambda edge: cloud.clock.now >= accepted[edge], cloud.nudge, cloud.arrived)
    nudges.run(cloud.clock)
    return cloud.nudged


NEVER = float("inf")


def test_who_does_not_accept_is_nudged_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    nudged = run(Cloud(1300), monkeypatch, {"edge-1": NEVER})
    assert [moment for moment, _ in nudged] == [5, 15, 35, 75, 155, 315, 615, 915, 1215]


def test_who_has_accepted_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    nudged = run(Cloud(100), monkeypatch, {"edge-1": 0, "edge-2": 20, "edge-3": NEVER})
    assert nudged == [(5, "edge-2"), (5, "edge-3"), (15, "edge-2"), (15, "edge-3"), (35, "edge-3"), (75, "edge-3")]


def test_an_edge_is_nudged_as_soon_as_its_inbox_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals = {1.0: "edge-1", 22.0: "edge-2", 23.0: "edge-1", 24.0: "another-runs-edge"}
    nudged = run(Cloud(75, arrivals), monkeypatch, {"edge-1": 2, "edge-2": 22.5})
    assert nudged == [(1, "edge-1"), (5, "edge-2"), (15, "edge-2"), (22, "edge-2")]


def test_it_goes_on_where_nobody_tells_what_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(100)

    def arrived(seconds: float) -> Iterator[str]:
        raise StoreFailed("There is no KubeEdge.")

    monkeypatch.setattr(cloud, "arrived", arrived)
    assert [moment for moment, _ in run(cloud, monkeypatch, {"edge-1": NEVER})] == [5, 15, 35, 75]


def test_who_lets_no_look_last_is_asked_no_more_than_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(100)
    looks: list[float] = []

    def arrived(seconds: float) -> Iterator[str]:
        looks.append(cloud.clock.now)
        return iter(())

    monkeypatch.setattr(cloud, "arrived", arrived)
    assert [moment for moment, _ in run(cloud, monkeypatch, {"edge-1": NEVER})] == [5, 15, 35, 75]
    assert looks == [float(second) for second in range(100)]


def test_an_api_server_that_is_away_is_asked_once_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud(36)

    def nudge(edge: str) -> None:
        Cloud.nudge(cloud, edge)
        if cloud.clock.now < 30:
            raise StoreFailed("It is away.")

    monkeypatch.setattr(cloud, "nudge", nudge)
    nudged = run(cloud, monkeypatch, {"edge-1": NEVER, "edge-2": NEVER})
    assert nudged == [(5, "edge-1"), (15, "edge-1"), (35, "edge-1"), (35, "edge-2")]
