"""What a detector keeps on its disk: within its bounds, the least worth goes first, and no record is without its image."""

import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudedge.documents.line import Record
from edge.detector.spool import ALWAYS_KEPT, ROW_BYTES, Fresh, Spool

WORTH = ("ordinary", "remarkable", "taught")


def fresh(worth: str = "ordinary", size: int = 100, tick: int = 0) -> Fresh:
    record = Record(
        id=0,
        taken_at=datetime.now(UTC),
        tick=tick,
        label="normal" if worth == "taught" else "",
        accepted=worth != "remarkable",
        image_sha256="0" * 64,
    )
    return Fresh(record, bytes(size), b"", worth == "remarkable")


@contextmanager
def opened(folder: Path, most_bytes: int = 10**9, most_hours: float = 1000) -> Iterator[Spool]:
    spool = Spool(folder, most_bytes, most_hours)
    try:
        yield spool
    finally:
        spool.close()


def held(folder: Path) -> list[int]:
    """Numbers of the records in the database."""
    database = sqlite3.connect(folder / "spool.db")
    try:
        return [number for (number,) in database.execute("SELECT id FROM images ORDER BY id")]
    finally:
        database.close()


def files(folder: Path) -> list[int]:
    """Numbers of the images on disk."""
    return sorted(int(path.stem) for path in (folder / "images").iterdir())


def test_what_is_not_sent_is_given_oldest_first_until_it_is(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.add([fresh(tick=number) for number in (7, 8, 9)])
        assert [(each.id, each.record.id, each.record.tick) for each in spool.unsent(2)] == [(1, 1, 7), (2, 2, 8)]
        assert spool.unsent(1)[0].image.read_bytes() == bytes(100)
        spool.sent([1, 3, 77])
        spool.sent([1])
        assert spool.backlog() == 1
        assert [each.id for each in spool.unsent(10)] == [2]
    with opened(tmp_path) as spool:
        assert spool.backlog() == 1
        assert spool.add([fresh()]) == [4]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.tuples(st.sampled_from(WORTH), st.integers(1, 3000)), min_size=1, max_size=4)),
        st.tuples(st.just("sent"), st.sets(st.integers(1, 30), max_size=8)),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=20,
)


@settings(max_examples=60)
@given(steps=STEPS, most=st.integers(ROW_BYTES, 12_000))
def test_it_never_takes_more_than_it_may_and_lets_the_least_worth_go_first(steps: list[tuple[str, object]], most: int) -> None:
    model: dict[int, tuple[int, bool, int]] = {}  # Worth, whether it is sent, bytes: by number.
    given_out = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spool = Spool(folder, most, 1000)
        try:
            for step, what in steps:
                if step == "add":
                    images = [fresh(worth, size) for worth, size in what]  # type: ignore[attr-defined]
                    numbers = spool.add(images)
                    assert numbers == list(range(given_out + 1, given_out + 1 + len(images)))
                    given_out += len(images)
                    for number, (worth, size) in zip(numbers, what, strict=True):  # type: ignore[call-overload]
                        model[number] = (WORTH.index(worth), False, size + ROW_BYTES)
                    while sum(each[2] for each in model.values()) > most:
                        del model[min(model, key=lambda number: (model[number][0], not model[number][1], number))]
                elif step == "sent":
                    spool.sent(what)  # type: ignore[arg-type]
                    model = {
                        number: (worth, sent or number in what, size)  # type: ignore[operator]
                        for number, (worth, sent, size) in model.items()
                    }
                else:
                    spool.close()
                    spool = Spool(folder, most, 1000)
                assert spool.bytes == sum(each[2] for each in model.values()) <= most
                assert held(folder) == files(folder) == sorted(model)
                assert [each.id for each in spool.unsent(1000)] == sorted(n for n, each in model.items() if not each[1])
                assert spool.backlog() == sum(not each[1] for each in model.values())
        finally:
            spool.close()


def test_after_a_crash_what_is_not_whole_goes(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.add([fresh() for _ in range(4)])
    images = tmp_path / "images"
    (images / "2.png").write_bytes(b"half")
    (images / "3.png").unlink()
    (images / "99.png").write_bytes(b"without a record")
    with opened(tmp_path) as spool:
        assert held(tmp_path) == files(tmp_path) == [1, 4]
        assert spool.backlog() == 2
        assert spool.bytes == 2 * (100 + ROW_BYTES)


def test_opened_with_less_room_than_it_takes_it_lets_go(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.add([fresh() for _ in range(4)])
    with opened(tmp_path, most_bytes=2 * (100 + ROW_BYTES)) as spool:
        assert spool.bytes == 2 * (100 + ROW_BYTES)
        assert held(tmp_path) == files(tmp_path) == [3, 4]


def test_old_images_go_but_the_newest_and_taught_ones_that_were_not_sent_stay(tmp_path: Path) -> None:
    with opened(tmp_path, most_hours=1e-9) as spool:
        spool.add([fresh("taught"), fresh("taught"), fresh("remarkable"), fresh()])
        spool.add([fresh() for _ in range(ALWAYS_KEPT)])
        spool.sent([2])
        spool.let_go_of_old()
        assert held(tmp_path) == files(tmp_path) == [1, *range(5, 5 + ALWAYS_KEPT)]


@pytest.mark.parametrize("jump", [-10 * 365 * 24 * 3600, 10 * 365 * 24 * 3600])
def test_a_clock_that_jumps_deletes_nothing(tmp_path: Path, jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, most_hours=1) as spool:
        spool.add([fresh() for _ in range(2 * ALWAYS_KEPT)])
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + jump)
        spool.add([fresh()])
        spool.let_go_of_old()
        assert len(held(tmp_path)) == 2 * ALWAYS_KEPT + 1
    with opened(tmp_path, most_hours=1) as spool:  # After a restart, only the floor holds.
        spool.let_go_of_old()
        assert len(held(tmp_path)) == (ALWAYS_KEPT if jump > 0 else 2 * ALWAYS_KEPT + 1)
        assert [each.id for each in spool.unsent(1000)] == held(tmp_path)


FULL = """
import os, sys
from pathlib import Path
from cloudedge.errors import StoreFailed
from edge.detector.spool import Spool
from tests.edge.detector.test_spool import fresh

root = Path(sys.argv[1])
spool = Spool(root / "spool", 10**9, 1000)
kept = spool.add([fresh(size=20_000) for _ in range(20)])
failed = 0
while failed < 3:
    try:
        kept += spool.add([fresh(size=20_000)])
    except StoreFailed as error:
        assert "full" in str(error), error
        failed += 1
spool.close()
file = os.open(root / "of-others", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(file, bytes(4096))
except OSError:
    pass
spool = Spool(root / "spool", 10**9, 1000)
left = [each.id for each in spool.unsent(10_000)]
assert left, "nothing is left"
assert left == kept[-len(left):], (left, kept)
assert all(each.image.stat().st_size == 20_000 for each in spool.unsent(10_000))
print("well")
"""


def test_on_a_disk_that_is_really_full_the_oldest_make_room_and_it_can_still_be_opened(tmp_path: Path) -> None:
    small = f"mount -t tmpfs -o size=4m tmpfs '{tmp_path}'"
    if subprocess.run(["unshare", "-rm", "sh", "-c", small], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let a test mount a small disk")
    script = f'{small} && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3], timeout=100)
    assert done.stdout == "well\n", done.stderr
