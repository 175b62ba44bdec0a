"""What edges did reaches MLflow, however many of them had how much to say at once."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.inboxes import DirectoryInboxes
from cloud.orders.watch import Watched
from cloud.runs.run import Run
from cloud.runs.step_records import IssuedOrder
from cloud.settings import Settings
from cloud.step import Step
from cloud.tracking import TrackingLog
from cloud.tracking.log import MAX_BATCH_BYTES
from cloudedge.documents import Collaboration, EpochRecord, Phase, Report, Scores
from cloudedge.documents.report import MOST_COUNT, MOST_EPOCHS
from cloudedge.store import DirectoryStore
from components.collaborative_training import figures as edge_figures
from components.collaborative_training.figures import EdgeFigures

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
LONGEST = EpochRecord(
    epoch=MOST_COUNT,
    train_loss=-sys.float_info.min,
    scores=Scores(samples=MOST_COUNT, loss=-sys.float_info.min, accuracy=0.1 + 0.2, recall=2 / 3),
    seconds=1e-6,
)


@pytest.fixture
def work(tmp_path: Path) -> Step:
    store, folder = DirectoryStore(tmp_path / "store"), tmp_path / "places"
    places = Settings(store=store.root.as_uri(), inboxes=folder.as_uri(), scratch=folder)
    return Step("wait-1", places, store, DirectoryInboxes(folder), Run(store, "digits"))


def watched(edge: str, epochs: int) -> Watched:
    order = IssuedOrder(id=f"digits.1.{edge}.1", edge=edge, step="1", attempt=1, issued_at=NOW)
    history = (LONGEST,) * epochs
    said = Report(order=order.id, edge=edge, sequence=1, phase=Phase.TRAINING, history=history, heartbeat_at=NOW)
    return Watched(order, report=said)


def sizes(work: Step) -> list[int]:
    return [entry.size for entry in work.store.list(work.run.key("tracking", "records"))]


def test_all_that_many_edges_have_to_say_is_kept_in_parts(work: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_figures, "_MOST_POINTS", 100)
    epochs = {"edge-1": 3, "edge-2": 20, "edge-3": 200, "edge-4": 1, "edge-5": 5, "edge-6": 6}
    figures = EdgeFigures(work, Collaboration(), 1)

    figures.keep(watched(edge, count) for edge, count in epochs.items())

    log = TrackingLog(work.store, "digits")
    parts = [log.read(name).records for name, _ in log.versions()]
    assert [[(one.edge, len(one.metrics)) for one in part] for part in parts] == [
        [("edge-1", 12), ("edge-2", 80)],
        [("edge-3", 800)],
        [("edge-4", 4), ("edge-5", 20), ("edge-6", 24)],
    ]
    figures.keep(watched(edge, count) for edge, count in epochs.items())
    assert len(sizes(work)) == len(parts)


def test_a_reader_takes_the_largest_part(work: Step) -> None:
    points, epochs = 4 * MOST_EPOCHS, 500
    EdgeFigures(work, Collaboration(), 2**20).keep([watched("e" * 53, epochs)])
    (size,) = sizes(work)
    assert size / (4 * epochs) * (edge_figures._MOST_POINTS + points) < MAX_BATCH_BYTES
