"""Who is here, and what each detector did within the last minutes."""

from datetime import UTC, datetime

import pytest

from cloudedge.documents.line import DeploymentState, Hello, Said, Status
from edge.line.attendance import TREND_MINUTES, Attendance


def status(images: int, rejects: int = 0, *deployments: DeploymentState) -> Status:
    return Status(at=datetime.now(UTC), images=images, rejects=rejects, deployments=deployments)


def trend(attendance: Attendance) -> list[tuple[int, int]]:
    return [(minute.images, minute.rejects) for minute in attendance.seen("north").trend]


def test_what_was_done_is_counted_by_the_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 600.0
    monkeypatch.setattr("edge.line.attendance.time.time", lambda: clock)
    attendance = Attendance()
    attendance.arrive("north", Hello(generation=0, status=status(1000, 100)))
    attendance.hear("north", Said(status=status(1010, 101)))
    attendance.hear("north", Said(status=status(1015, 101)))
    clock += 60
    attendance.hear("north", Said(status=status(1020, 103)))
    assert trend(attendance) == [(15, 1), (5, 2)]  # What it did before it was here is of no known minute.
    attendance.hear("north", Said(status=status(7, 1)))  # It was started anew.
    assert trend(attendance) == [(15, 1), (12, 3)]
    for _ in range(TREND_MINUTES):
        clock += 60
        attendance.hear("north", Said(status=status(8, 1)))
    assert trend(attendance) == [(1, 0), *[(0, 0)] * (TREND_MINUTES - 1)]


def test_a_former_connection_that_ends_late_takes_nobody_away() -> None:
    attendance = Attendance()
    first = attendance.arrive("north", Hello(generation=0, status=status(0)))
    second = attendance.arrive("north", Hello(generation=0, status=status(0)))
    attendance.leave("north", first)
    assert attendance.is_here("north")
    assert attendance.away_seconds("north") == 0
    attendance.leave("north", second)
    assert not attendance.is_here("north")


def test_a_deployment_never_goes_backwards() -> None:
    def state(phase: str, transferred: int) -> DeploymentState:
        values = {"id": "one", "brand": "oats", "sha256": "0" * 64, "phase": phase, "transferred": transferred}
        return DeploymentState.model_validate(values)

    attendance = Attendance()
    for each in (state("transferring", 70), state("transferring", 10), state("loading", 100), state("transferring", 0)):
        attendance.hear("north", Said(status=status(0, 0, each)))
    found = attendance.state("north", "one")
    assert found is not None
    assert (found.phase, found.transferred) == ("loading", 100)
