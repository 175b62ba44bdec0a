"""What is kept of what detectors recorded, and what goes first."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from cloudedge.documents.line import Record
from cloudedge.errors import InvalidInput
from edge.line import history as module
from edge.line.history import Arrived, History
from tests.edge.line.site import BRAND, png

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def arrived(number: int, value: int | None = None, accepted: bool | None = True, label: str = "", heat: bytes = b"") -> Arrived:
    image = png(number if value is None else value)
    record = Record(
        id=number,
        taken_at=BEGIN + timedelta(seconds=number),
        brand=BRAND,
        label=label,
        accepted=accepted,
        image_sha256=sha256(image).hexdigest(),
    )
    return Arrived(record, image, heat)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    history = History(tmp_path)
    yield history
    history.close()


def kept(history: History) -> list[int]:
    """Seconds since the begin of the images that are kept, whose files are there."""
    found = history.recorded(BRAND)
    assert all(sha256(each.path.read_bytes()).hexdigest() == each.sha256 for each in found)
    return [int((each.taken_at - BEGIN).total_seconds()) for each in found]


def files(folder: Path) -> int:
    return len(list(folder.rglob("*.png")))


def test_the_same_record_again_changes_nothing(history: History) -> None:
    for _ in range(3):
        history.keep("north", [arrived(1), arrived(2)])
    assert kept(history) == [1, 2]


def test_a_detector_that_counts_anew_loses_nothing(history: History) -> None:
    history.keep("north", [arrived(1)])
    again = arrived(2)
    history.keep("north", [Arrived(again.record.model_copy(update={"id": 1}), again.image)])
    assert kept(history) == [1, 2]


def test_what_is_counted_as_records_come_and_go_is_what_there_is(history: History, tmp_path: Path) -> None:
    history.keep("north", [arrived(1)])
    assert history.counts() == {"north": 1}  # From now on it is not counted anew.
    history.keep("north", [arrived(1), arrived(2, heat=png(5)), arrived(3)])
    history.keep("south", [arrived(number) for number in range(5)])
    history.tidy(history.bytes() - 1, 1e6)
    with closing(History(tmp_path)) as again:
        assert (history.counts(), history.bytes()) == (again.counts(), again.bytes())
    assert history.counts() == {"north": 2, "south": 5}
    history.tidy(0, 1e6)
    assert (history.counts(), history.bytes()) == ({}, 0)


def test_two_detectors_have_their_own_numbers(history: History) -> None:
    history.keep("north", [arrived(1)])
    history.keep("south", [arrived(1)])
    assert [each.detector for each in history.recorded(BRAND)] == ["north", "south"]
    assert [each.detector for each in history.recorded(BRAND, {"south"})] == ["south"]
    assert history.counts() == {"north": 1, "south": 1}


def test_a_damaged_image_is_not_kept(history: History, tmp_path: Path) -> None:
    good, bad = arrived(1), arrived(2)
    with pytest.raises(InvalidInput, match="damaged"):
        history.keep("north", [good, Arrived(bad.record, good.image)])
    assert kept(history) == []
    assert files(tmp_path) == 0


def test_of_too_many_the_oldest_accepted_ones_go_first_and_labelled_and_rejected_ones_last(history: History) -> None:
    history.keep("north", [arrived(1, label="normal"), arrived(2, accepted=False), *(arrived(each) for each in range(3, 9))])
    size = history.bytes() // 8
    assert history.tidy(5.5 * size, 90) == 3
    assert kept(history) == [1, 2, 6, 7, 8]
    history.tidy(1.5 * size, 90)
    assert kept(history) == [2]
    history.tidy(0, 90)
    assert kept(history) == []


def test_a_file_stays_as_long_as_a_record_has_it(history: History, tmp_path: Path) -> None:
    history.keep("north", [arrived(1, value=7, heat=png(1)), arrived(2, value=7, accepted=False, heat=png(1))])
    history.tidy(history.bytes() - 1, 90)
    assert kept(history) == [2]
    assert files(tmp_path) == 2
    history.tidy(0, 90)
    assert files(tmp_path) == 0


def test_an_image_that_two_models_judged_has_two_heat_maps(history: History) -> None:
    both = [
        replace(new, record=new.record.model_copy(update={"model": model * 64}))
        for new, model in ((arrived(1, value=7, heat=png(1)), "a"), (arrived(2, value=7, heat=png(2)), "b"))
    ]
    history.keep("north", both[:1])
    history.keep("south", both)
    for new in both:
        path = history.heat(new.record.image_sha256, new.record.model)
        assert path is not None
        assert path.read_bytes() == new.heat
    assert history.heat(both[0].record.image_sha256, "c" * 64) is None


def test_what_is_too_old_goes_but_never_the_newest(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALWAYS_KEPT", 2)
    history.keep("north", [arrived(each) for each in range(1, 6)])
    assert history.tidy(1e12, 90) == 0  # The images' own time is long ago; what counts is when they came.
    assert history.tidy(1e12, -1) == 3
    assert kept(history) == [4, 5]


def test_rejects_come_newest_first(history: History) -> None:
    history.keep("north", [arrived(each, accepted=False) for each in range(1, 5)])
    history.keep("south", [arrived(5, accepted=False), arrived(6)])
    assert [(name, record.id) for name, record, _ in history.rejects(limit=3)] == [("south", 5), ("north", 4), ("north", 3)]
    assert [record.id for _, record, _ in history.rejects("north", 2)] == [4, 3]
