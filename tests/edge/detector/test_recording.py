"""What becomes of an inspected image: which are kept, with what, and what goes where there is no room."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cloudedge.documents.line import Teach
from cloudedge.names import sha256_of
from edge.detector.pictures import heat_map, png
from edge.detector.recorder import Inspected, Recorder
from edge.detector.spool import Spool, Spooled
from tests.edge.detector.station import BRAND, BRIGHT, DARK, Station, deployed, pictures
from tests.waiting import until


@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 1000))
def test_an_image_is_kept_without_loss(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    with Image.open(io.BytesIO(png(image))) as read:
        assert (read.format, read.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(read), image)


def test_a_heat_map_is_small_and_hot_where_the_score_is_above_the_threshold() -> None:
    scores = np.zeros((300, 600), np.float32)
    scores[:, 300:] = 5
    scores[0, 0] = np.nan
    with Image.open(io.BytesIO(heat_map(scores, 2.5))) as read:
        assert read.size == (128, 64)
        assert read.getpixel((20, 40)) == (0, 0, 4)
        assert read.getpixel((120, 40)) == (252, 255, 164)


def kept(root: Path, history: dict[str, Any], *values: int) -> list[Spooled]:
    """What is kept of images that pass a detector with a model."""
    (root / "in").mkdir()
    station = Station(root, {"source": {"kind": "folder", "path": "in", "mode": "watch"}, "history": history})
    with station.at_work() as detector:
        deployed(detector, root)
        for path in sorted(pictures(root / "made", *values).iterdir()):
            path.rename(root / "in" / path.name)
        until(lambda: len(station.verdicts()) == len(values))
    spool = Spool(station.state / "spool", 10**9, 1000)
    try:
        return spool.unsent(100)
    finally:
        spool.close()


def test_all_are_kept_with_what_was_judged_and_rejects_with_their_heat_maps(tmp_path: Path) -> None:
    accepted, rejected = kept(tmp_path, {"images": "all"}, DARK, BRIGHT)
    assert (accepted.record.accepted, accepted.record.score, accepted.record.threshold) == (True, DARK, 100.0)
    assert (rejected.record.accepted, rejected.record.defect) == (False, "red")
    assert accepted.heat == b""
    with Image.open(io.BytesIO(rejected.heat)) as heat:
        assert heat.size == (32, 32)
    for each in (accepted, rejected):
        assert sha256_of(each.image) == each.record.image_sha256
        assert each.record.brand == BRAND


def test_only_rejects_may_be_kept(tmp_path: Path) -> None:
    found = kept(tmp_path, {"images": "rejects"}, DARK, BRIGHT, DARK, BRIGHT)
    assert [each.record.accepted for each in found] == [False, False]


def test_or_every_so_many_th_of_the_others(tmp_path: Path) -> None:
    found = kept(tmp_path, {"images": "nth", "nth": 2}, DARK, DARK, DARK, BRIGHT, DARK)
    assert [each.record.accepted for each in found] == [True, False, True]


def test_the_next_images_of_a_brand_are_taught_once_and_kept_whatever_else_is(tmp_path: Path) -> None:
    pictures(tmp_path / "in", DARK)
    settings = {"source": {"kind": "folder", "path": "in", "mode": "loop"}, "history": {"images": "rejects"}}
    station = Station(tmp_path, settings)
    asked = Teach(id="lesson-1", brand=BRAND, label="normal", count=3)
    with station.at_work() as detector:
        deployed(detector, tmp_path)
        detector.teach(Teach(id="lesson-0", brand="rye", label="scratch", count=5))
        detector.teach(asked)
        until(lambda: detector.spool.backlog() >= 3)
        detector.teach(asked)
        passed = len(station.verdicts())
        until(lambda: len(station.verdicts()) > passed + 10)
    with station.at_work() as detector:  # Nor is it done again after a restart.
        detector.teach(asked)
        passed = len(station.verdicts())
        until(lambda: len(station.verdicts()) > passed + 10)
        labels = [each.record.label for each in detector.spool.unsent(100)]
    assert [label for label in labels if label] == ["normal"] * 3


def inspected(value: int, accepted: bool | None = True, label: str = "") -> Inspected:
    return Inspected(np.full((10, 10, 3), value, np.uint8), datetime.now(UTC), value, BRAND, label=label, accepted=accepted)


def test_what_finds_no_room_is_counted_and_ordinary_images_go_before_rejects_and_taught_ones(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**9, 1000)
    recorder = Recorder(spool, most_bytes=3 * 300)
    for number, (accepted, label) in enumerate(
        [(True, ""), (None, ""), (False, ""), (True, "normal"), (False, ""), (True, "")]
    ):
        recorder.take(inspected(number, accepted, label))
    assert recorder.let_go == 3  # The two ordinary ones that waited, and the one that came last.
    recorder.take(inspected(9, accepted=False))
    assert recorder.let_go == 4  # Nothing that waits is worth less.
    recorder.start()
    recorder.close()
    assert [each.record.tick for each in spool.unsent(100)] == [2, 3, 4]
    spool.close()


@pytest.mark.parametrize("size", [50, 500])
def test_one_image_always_finds_room(tmp_path: Path, size: int) -> None:
    spool = Spool(tmp_path, 10**9, 1000)
    recorder = Recorder(spool, most_bytes=size)
    recorder.take(inspected(1))
    recorder.start()
    recorder.close()
    assert spool.backlog() == 1
    spool.close()
