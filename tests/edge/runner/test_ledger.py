"""The ledger: what is in it survives, and what is removed is what nobody needs."""

import math
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

import edge.runner.ledger
from cloudedge.documents import Envelope, Manifest, Order, OutputFile, Phase, Point, Scores, Stream, Trained, WorkError
from cloudedge.errors import Conflict, StoreFailed
from edge.folders import Folders
from edge.lock import is_locked, locked
from edge.runner.ledger import Entry, Ledger
from edge.runner.points import WINDOW
from edge.runner.tidying import tidy
from tests.edge.runner.test_reconciling import an_entry, an_order, issued_again, refusal

SCORES = Scores(samples=4, loss=0.5, accuracy=0.75, recall=0.7)
POINT = Point(sequence=0, seconds=0.1, values={"accuracy": 0.75, "loss": math.inf})


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture
def ledger(folders: Folders) -> Ledger:
    return Ledger(folders.ledger)


def trained_file(folders: Folders, order: Order | Envelope) -> Path:
    """Where the work leaves an order's model."""
    return folders.trained(order.id) / "model.safetensors"


def finished(ledger: Ledger, folders: Folders, number: int) -> Entry:
    """An order whose work is done and whose files are on the disk."""
    order = an_order(number)
    entry = an_entry(order, Phase.UPLOADING)
    ledger.apply(number, "edge-1", [an_entry(order, Phase.ACCEPTED)], [], [], [])
    model = trained_file(folders, order)
    for path in (model, folders.received(order.id) / "model.safetensors", folders.checkpoint(order.id)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    manifest = Manifest(
        order=order.id,
        edge="edge-1",
        outputs={"model": OutputFile(sha256="0" * 64, size=1)},
        result=Trained(base_sha256="0" * 64, samples=5, scores={"model": SCORES}),
        seconds=1,
    )
    files = [("model", model), ("manifest", folders.manifest(order.id))]
    ledger.finish_work(entry, manifest, files)
    return entry


def test_an_order_comes_back_as_it_was_kept(folders: Folders, ledger: Ledger) -> None:
    entry = replace(an_entry(an_order(1)), phase=Phase.ACCEPTED, gauges={})
    ledger.apply(3, "edge-1", [entry], [], [], [])
    assert Ledger(folders.ledger).entries() == [entry]
    progress = (Stream(name="epochs", done=1, total=3, unit="epochs"),)
    at_work = replace(entry, phase=Phase.TRAINING, crashes=2, gauges={"samples": 9, "loss": math.inf}, progress=progress)
    ledger.stand(at_work)
    failed = replace(at_work, phase=Phase.FAILED, error=WorkError(kind="x", message="y"), points=(POINT,))
    ledger.add_points(failed, [POINT])
    assert Ledger(folders.ledger).entries() == [failed]
    assert (ledger.fact("generation"), ledger.fact("edge")) == ("3", "edge-1")


def test_an_order_that_was_refused_comes_back_with_what_could_be_read_of_it_and_why(folders: Folders, ledger: Ledger) -> None:
    good, refused = replace(an_entry(an_order(1)), phase=Phase.ACCEPTED, gauges={}), refusal(an_order(2))
    ledger.apply(1, "edge-1", [good, refused], [], [], [])
    assert Ledger(folders.ledger).entries() == [good, refused]
    assert ledger.issued_at(refused.order.id) == refused.order.issued_at
    ledger.close(refused.order.id)
    assert Ledger(folders.ledger).entries(latest=1) == [good, refused]
    assert Ledger(folders.ledger).entries() == [good]


def kept(ledger: Ledger, count: int) -> str:
    """Id of an order with so many points."""
    entry = an_entry(an_order(1))
    ledger.apply(1, "edge-1", [entry], [], [], [])
    ledger.add_points(entry, [Point(sequence=number, seconds=number, values={"loss": 0.5}) for number in range(count)])
    return entry.order.id


def sequences(history: Iterable[str]) -> list[int]:
    return [Point.model_validate_json(point).sequence for point in history]


@pytest.mark.parametrize(("most", "expected"), [(9, [0, 1, 2, 3, 4, 5]), (6, [0, 1, 2, 3, 4, 5]), (3, [0, 4, 5]), (2, [0, 5])])
def test_of_many_points_the_first_one_and_the_last_ones_are_read(ledger: Ledger, most: int, expected: list[int]) -> None:
    assert [point.sequence for point in ledger.points(kept(ledger, 6), most)] == expected


def test_of_more_points_than_a_history_may_have_the_first_one_and_the_last_ones_are_in_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = kept(ledger, 6)
    assert sequences(ledger.history(order)) == [0, 1, 2, 3, 4, 5]
    with monkeypatch.context() as fewer:
        fewer.setattr(edge.runner.ledger, "MOST_POINTS_KEPT", 4)
        assert sequences(ledger.history(order)) == [0, 3, 4, 5]
    a_points_bytes = len(next(ledger.history(order))) + 2
    monkeypatch.setattr(edge.runner.ledger, "MAX_HISTORY_BYTES", 128 * 1024 + 2 * a_points_bytes)
    assert sequences(ledger.history(order)) == [0, 4, 5]


def test_a_point_that_is_there_stays_as_it_is(ledger: Ledger) -> None:
    order = kept(ledger, 2)
    (entry,) = ledger.entries()
    ledger.add_points(entry, [Point(sequence=1, seconds=9, values={}), Point(sequence=2, seconds=10, values={})])
    assert [point.seconds for point in ledger.points(order, 9)] == [0, 1, 10]


def test_a_closed_order_is_known_but_not_open(ledger: Ledger) -> None:
    entry = an_entry(an_order(1), Phase.ACCEPTED)
    ledger.apply(1, "edge-1", [entry], [], [], [])
    ledger.close(entry.order.id)
    assert ledger.entries() == []
    assert ledger.issued_at(entry.order.id) == entry.order.issued_at
    assert ledger.issued_at("run.2.edge-1.1") is None
    assert [found.order.id for found in ledger.entries(latest=1)] == [entry.order.id]


def test_an_inbox_is_put_into_effect_whole_or_not_at_all(ledger: Ledger) -> None:
    entry = an_entry(an_order(1), Phase.ACCEPTED)
    with pytest.raises(StoreFailed):
        ledger.apply(1, "edge-1", [entry, entry], [], [], [])
    assert ledger.entries() == []
    assert ledger.fact("generation") is None


def test_the_manifest_is_uploaded_last_and_ends_the_order(ledger: Ledger, folders: Folders) -> None:
    entry = finished(ledger, folders, 1)
    assert [upload.name for upload in ledger.uploads()] == ["model", "manifest"]
    ledger.uploaded(entry, "model")
    ledger.upload_failed(entry.order.id, "manifest", "the store is away")
    (left,) = ledger.uploads()
    assert (left.name, left.tries, left.trouble) == ("manifest", 1, "the store is away")
    ledger.uploaded(replace(entry, phase=Phase.DONE), "manifest")
    assert ledger.uploads() == []
    assert ledger.entries()[0].phase is Phase.DONE


def test_of_an_order_that_is_closed_as_many_points_stay_as_a_report_tells(ledger: Ledger) -> None:
    closed, unasked = kept(ledger, WINDOW + 10), an_entry(an_order(2))
    ledger.apply(2, "edge-1", [unasked], [], [], [])
    ledger.add_points(unasked, [Point(sequence=number, seconds=0, values={}) for number in range(WINDOW + 5)])
    ledger.close(closed)
    assert sequences(ledger.history(closed)) == list(range(10, WINDOW + 10))
    assert len(sequences(ledger.history(unasked.order.id))) == WINDOW + 5
    ledger.apply(3, "edge-1", [], [], [], [unasked.order.id])
    assert sequences(ledger.history(unasked.order.id)) == list(range(5, WINDOW + 5))


def test_of_a_model_all_points_stay(folders: Folders, ledger: Ledger) -> None:
    entry = finished(ledger, folders, 1)
    ledger.add_points(entry, [Point(sequence=number, seconds=0, values={}) for number in range(WINDOW + 5)])
    ledger.close(entry.order.id)
    assert len(sequences(ledger.history(entry.order.id))) == WINDOW + 5


def test_samples_are_those_of_the_latest_order_that_counted_them(ledger: Ledger) -> None:
    for number, counted in enumerate((30, 0, math.inf, math.nan, 1e300, -1), 1):
        entry = an_entry(an_order(number))
        ledger.apply(number, "edge-1", [entry], [], [], [])
        ledger.stand(replace(entry, gauges={"samples": counted}))
    assert ledger.samples() == 30


def test_a_cancelled_order_has_nothing_to_upload(ledger: Ledger, folders: Folders) -> None:
    entry = finished(ledger, folders, 1)
    ledger.apply(2, "edge-1", [], [], [replace(entry, phase=Phase.CANCELLED)], [entry.order.id])
    assert ledger.uploads() == []
    assert ledger.entries() == []


def test_nothing_stays_of_an_order_that_was_issued_again(ledger: Ledger, folders: Folders) -> None:
    former = finished(ledger, folders, 1)
    again = an_entry(issued_again(an_order(1)), Phase.ACCEPTED)
    ledger.apply(2, "edge-1", [again], [], [], [], [former.order.id])
    assert ledger.entries() == [again]
    assert ledger.issued_at(former.order.id) == again.order.issued_at
    assert (ledger.uploads(), ledger.models(), list(ledger.history(former.order.id))) == ([], [], [])


def test_only_the_newest_models_keep_their_files_and_all_their_figures(ledger: Ledger, folders: Folders) -> None:
    orders = [finished(ledger, folders, number).order for number in (1, 2, 3, 4)]
    tidy(folders, ledger, busy={orders[0].id}, keep_models=2)
    assert [trained_file(folders, order).exists() for order in orders] == [True, False, True, True]
    assert [folders.received(order.id).exists() for order in orders] == [True, False, True, True]
    assert [folders.checkpoint(order.id).exists() for order in orders] == [True, False, False, False]
    assert [model.path is None for model in ledger.models()] == [False, True, False, False]
    assert {model.accuracy for model in ledger.models()} == {0.75}


def test_a_file_that_is_being_written_is_not_tidied_away(ledger: Ledger, folders: Folders) -> None:
    order = finished(ledger, folders, 1).order
    half = folders.all_checkpoints / ".part-abc"
    half.write_bytes(b"")
    tidy(folders, ledger, busy={order.id}, keep_models=1)
    assert half.exists()
    tidy(folders, ledger, busy=set(), keep_models=1)
    assert not half.exists()


def test_tables_of_another_version_are_refused(folders: Folders, ledger: Ledger) -> None:
    with sqlite3.connect(folders.ledger) as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(Conflict, match="version 9"):
        Ledger(folders.ledger)


def test_a_file_that_is_no_database_is_told_of(folders: Folders) -> None:
    folders.ledger.write_bytes(b"no database" * 100)
    with pytest.raises(StoreFailed, match=r"ledger\.db"):
        Ledger(folders.ledger)


def test_a_lock_is_held_once_and_freed_with_its_file(folders: Folders) -> None:
    assert not is_locked(folders.lock)
    with locked(folders.lock):
        assert is_locked(folders.lock)
        with pytest.raises(Conflict):
            locked(folders.lock)
    assert not is_locked(folders.lock)
