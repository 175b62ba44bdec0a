"""What edges tell of their work reaches MLflow, each point once, whatever comes late, twice or never."""

import sys
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.inboxes import DirectoryInboxes
from cloud.orders import figures
from cloud.orders.figures import Figures
from cloud.orders.watch import Watched
from cloud.runs.run import Run
from cloud.runs.step_records import IssuedOrder
from cloud.settings import Settings
from cloud.step import Step
from cloud.tracking import Relay, TrackingLog
from cloud.tracking.log import MAX_BATCH_BYTES
from cloudedge.documents import Collaboration, Evaluated, History, Manifest, OutputFile, Phase, Point, Report, Training
from cloudedge.documents.report import MOST_SECONDS
from cloudedge.names import sha256_of
from cloudedge.store import DirectoryStore
from components.collaborative_training.figures import training_figures
from tests.cloud.tracking import told
from tests.cloud.tracking.told import history, runs_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.filterwarnings(*told.WARNINGS_OF_MLFLOW)

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
EDGES = ("edge-1", "edge-2")


def step_at(folder: Path) -> Step:
    store, places = DirectoryStore(folder / "store"), folder / "places"
    at = Settings(store=store.root.as_uri(), inboxes=places.as_uri(), scratch=places)
    return Step("wait-probe", at, store, DirectoryInboxes(places), Run(store, "digits"))


@pytest.fixture
def work(tmp_path: Path) -> Step:
    return step_at(tmp_path)


def order_to(edge: str, step: str = "probe") -> IssuedOrder:
    return IssuedOrder(id=f"digits.{step}.{edge}.1", edge=edge, step=step, attempt=1, issued_at=NOW)


def point(sequence: int) -> Point:
    values = {"loss": 1 / (sequence + 1)} | ({"rate": sequence / 2} if sequence % 3 else {})
    return Point(sequence=sequence, seconds=sequence * 0.25, values=values)


def reported(order: IssuedOrder, points: Sequence[Point], phase: Phase = Phase.TRAINING) -> Report:
    return Report(order=order.id, edge=order.edge, sequence=1, phase=phase, points=tuple(points), heartbeat_at=NOW)


def window(points: int, most: int) -> list[Point]:
    """What a report tells when there are so many points: the first one and the last ones."""
    return [point(sequence) for sequence in range(points) if sequence == 0 or sequence > points - most]


def delivered(work: Step, order: IssuedOrder, points: int) -> Manifest:
    """The manifest of work with so many points, and its history in the store."""
    key = work.run.output_key(order, "history")
    work.store.put(key, History(order=order.id, points=tuple(map(point, range(points)))).to_json())
    with work.store.local(key) as path:
        file = OutputFile(file="history.json", sha256=sha256_of(path), size=path.stat().st_size)
    said = {"order": order.id, "edge": order.edge, "outputs": {"history": file}, "points": points}
    return Manifest(**said, result=Evaluated(), seconds=1)  # type: ignore[arg-type]


def records(work: Step) -> list[tuple[str | None, str, int]]:
    """Child, key and step of all that is kept for MLflow."""
    log = TrackingLog(work.store, "digits")
    batches = [log.read(name) for name, _ in log.versions()]
    return [(one.child, p.key, p.step) for batch in batches for one in batch.records for p in one.metrics]


MOMENTS = st.lists(
    st.tuples(st.sampled_from(EDGES), st.floats(0, 1), st.integers(1, 8), st.sampled_from(["", "", "begin anew", "relay"])),
    max_size=12,
)
"""An edge, how far its work is, the points of its report, and what happens once that was seen."""


ENDINGS = st.sampled_from(["a history", "a spoiled history", "all in the last report", "some in the last report"])


def test_each_point_is_in_mlflow_once_whatever_is_late_repeated_lost_or_begun_anew(
    client: "MlflowClient", tracking_uri: str
) -> None:
    """Each point of the work, or where its history is lost each one that any report told."""

    @settings(max_examples=30)
    @given(points=st.integers(1, 30), moments=MOMENTS, ending=ENDINGS, again=st.booleans())
    def holds(points: int, moments: list[tuple[str, float, int, str]], ending: str, again: bool) -> None:
        experiment = f"experiment-{uuid.uuid4().hex}"
        expected: dict[str, dict[int, Point]] = {edge: {} for edge in EDGES}
        with TemporaryDirectory() as folder:
            work = step_at(Path(folder))
            kept = Figures(work, "probe")

            def sees(order: IssuedOrder, points: Sequence[Point], phase: Phase, manifest: Manifest | None = None) -> None:
                expected[order.edge].update((one.sequence, one) for one in points)
                kept.keep([Watched(order, report=reported(order, points, phase), manifest=manifest)])

            for edge, share, most, then in moments:
                sees(order_to(edge), window(round(share * points), most), Phase.TRAINING)
                if then == "begin anew":
                    kept = Figures(work, "probe")
                if then == "relay":
                    Relay(work.store, "digits", tracking_uri, experiment).push()
            for _ in range(1 + again):
                for order in map(order_to, EDGES):
                    if ending.endswith("history"):
                        manifest = delivered(work, order, points)
                        if ending == "a history":
                            expected[order.edge].update((one.sequence, one) for one in window(points, points))
                        else:
                            work.store.put(work.run.output_key(order, "history"), b"{}")
                        sees(order, window(points, 2), Phase.DONE, manifest)
                    else:
                        sees(order, window(points, points if ending.startswith("all") else 3), Phase.FAILED)
                kept = Figures(work, "probe")
            Relay(work.store, "digits", tracking_uri, experiment).push()

        runs = runs_of(client, experiment)
        for edge, series in expected.items():
            for key in ("loss", "rate"):
                found = history(client, runs[f"digits/{edge}"], key)
                assert found == [(one, series[one].values[key]) for one in sorted(series) if key in series[one].values]

    holds()


def test_a_points_time_follows_from_its_order_and_its_own_seconds(work: Step) -> None:
    order = order_to("edge-1")
    Figures(work, "probe").keep([Watched(order, report=reported(order, window(4, 2)))])
    log = TrackingLog(work.store, "digits")
    (record,) = log.read("wait-probe-000000").records
    times = {metric.step: (metric.at - NOW).total_seconds() for metric in record.metrics}
    assert times == {0: 0.0, 3: 0.75}
    assert (record.child, record.status) == ("edge/edge-1", "running")


def test_the_history_is_read_only_if_a_point_is_missing(work: Step) -> None:
    order = order_to("edge-1")
    manifest = delivered(work, order, 6)
    work.store.delete(work.run.output_key(order, "history"))
    complete = Watched(order, report=reported(order, window(6, 6)), manifest=manifest)
    Figures(work, "probe").keep([complete])
    assert {step for _, _, step in records(work)} == set(range(6))


def test_an_edge_that_tells_of_other_points_without_end_is_heard_as_long_as_a_history_may_be(
    work: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_POINTS_KEPT", 25)
    order, kept = order_to("edge-1"), Figures(work, "probe")
    for first in range(0, 100, 10):
        kept.keep([Watched(order, report=reported(order, [point(first + number) for number in range(10)]))])
    assert {step for _, _, step in records(work)} == set(range(25))


def test_of_work_that_is_done_no_other_point_is_heard(work: Step) -> None:
    order, kept = order_to("edge-1"), Figures(work, "probe")
    manifest = delivered(work, order, 6)
    kept.keep([Watched(order, report=reported(order, window(4, 2)), manifest=manifest)])
    kept.keep([Watched(order, report=reported(order, window(9, 5), Phase.DONE), manifest=manifest)])
    assert sorted(step for _, key, step in records(work) if key == "loss") == list(range(6))


def other_bytes(work: Step, key: str) -> None:
    work.store.put(key, b"{}")


def another_orders(work: Step, key: str) -> None:
    work.store.put(key, History(order=order_to("edge-2").id, points=(point(0),)).to_json())


@pytest.mark.parametrize("spoil", [other_bytes, another_orders, lambda work, key: work.store.delete(key)])
def test_a_history_that_is_not_what_its_manifest_says_is_passed_over_with_a_word(
    work: Step, spoil: Callable[[Step, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    order = order_to("edge-1")
    manifest = delivered(work, order, 6)
    spoil(work, work.run.output_key(order, "history"))

    Figures(work, "probe").keep([Watched(order, report=reported(order, window(6, 2)), manifest=manifest)])

    assert "edge-1: its history is passed over: " in capsys.readouterr().out
    log = TrackingLog(work.store, "digits")
    (record,) = log.read("wait-probe-000000").records
    assert ({metric.step for metric in record.metrics}, record.status) == ({0, 5}, "finished")


def test_a_history_that_is_about_another_order_is_passed_over_even_if_its_digest_is_right(
    work: Step, capsys: pytest.CaptureFixture[str]
) -> None:
    order = order_to("edge-1")
    other = delivered(work, order_to("edge-2"), 6)
    content = work.store.get(work.run.output_key(order_to("edge-2"), "history"), 1 << 20)
    work.store.put(work.run.output_key(order, "history"), content)

    Figures(work, "probe").keep([Watched(order, manifest=other.model_copy(update={"order": order.id}))])

    assert "is about digits.probe.edge-2.1, not digits.probe.edge-1.1" in capsys.readouterr().out
    assert records(work) == []


def test_all_that_many_edges_have_to_say_is_kept_in_parts_and_so_is_what_one_has_to_say(
    work: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "_MOST_POINTS", 100)
    counts = {"edge-1": 3, "edge-2": 80, "edge-3": 250, "edge-4": 1, "edge-5": 50}

    def seen() -> list[Watched]:
        points = [Point(sequence=number, seconds=0, values={"loss": 0.5}) for number in range(250)]
        return [Watched(order_to(edge), report=reported(order_to(edge), points[:count])) for edge, count in counts.items()]

    kept = Figures(work, "probe")
    kept.keep(seen())

    log = TrackingLog(work.store, "digits")
    parts = [log.read(name).records for name, _ in log.versions()]
    assert [[(one.edge, len(one.metrics), one.status) for one in part] for part in parts] == [
        [("edge-1", 3, "running"), ("edge-2", 80, "running")],
        [("edge-3", 100, None)],
        [("edge-3", 100, None)],
        [("edge-3", 50, "running"), ("edge-4", 1, "running")],
        [("edge-5", 50, "running")],
    ]
    kept.keep(seen())
    assert len(list(log.versions())) == len(parts)


def test_a_reader_takes_the_largest_part(work: Step) -> None:
    names = ["\x01" * 197 + f"{number:03d}" for number in range(60)]
    values = dict.fromkeys(names, -sys.float_info.min)
    edge = "e" * 53
    order = order_to(edge)
    widest = [Point(sequence=2**53 - 9 + number, seconds=MOST_SECONDS, values=values) for number in range(8)]
    Figures(work, "probe").keep([Watched(order, report=reported(order, widest))])
    (entry,) = work.store.list(work.run.key("tracking", "records"))
    assert entry.size / (8 * 60) * figures._MOST_POINTS < MAX_BATCH_BYTES


def test_the_steps_of_training_are_counted_through_the_rounds(work: Step) -> None:
    asked = Collaboration(training=Training(epochs=4))
    order = order_to("edge-1", "3")
    training_figures(work, asked, 3).keep([Watched(order, report=reported(order, [point(0), point(2), point(9)]))])
    assert [(child, step) for child, key, step in records(work) if key == "loss"] == [
        ("edge/edge-1", 10),
        ("edge/edge-1", 12),
        ("edge/edge-1", 14),
    ]
