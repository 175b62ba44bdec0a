"""The real program in a real line: it joins, is told what runs, gets models, sends what it recorded, and answers others."""

import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import psutil
import pytest

from cloudedge.documents.inspection import Bounds, Rollout
from edge.detector.cli import main
from edge.line.history import History
from tests.cluster.processes import free_port
from tests.edge.detector.station import BRAND, BRIGHT, DARK, Station, judging, pictures
from tests.edge.line.site import LineSite
from tests.terminal import called
from tests.waiting import PATIENCE, until

MOST_RESIDENT_MIB = 150


@pytest.fixture
def line(tmp_path: Path) -> Iterator[LineSite]:
    """A line whose service runs in this process."""
    line = LineSite(tmp_path / "line")
    line.start()
    yield line
    line.close()


def answered(address: str, body: Any = None) -> Any:
    request = urllib.request.Request(address, None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        content = answer.read()
    return json.loads(content) if content else None


def named(address: str) -> str | None:
    """Name of a model, once somebody answers: the detector judges before it serves."""
    try:
        return str(answered(address)["name"])
    except URLError:
        return None


def test_a_detector_from_its_token_to_its_records_at_the_edge_server(line: LineSite, tmp_path: Path) -> None:
    pictures(tmp_path / "in", DARK, BRIGHT)
    port = free_port()
    settings = {"source": {"kind": "folder", "path": "in", "mode": "loop"}, "brand": "", "serving": {"http": port}}
    station = Station(tmp_path, settings)
    joined = called("join", line.line.add("north"), "--state", station.state, program=main)
    assert (joined.code, joined.out[:26]) == (0, "This detector is north now")
    good, bad = tmp_path / "good.onnx", tmp_path / "bad.onnx"
    whole = Rollout(canaries=0)
    with station.process() as process:
        until(lambda: line.is_here("north"), what="the detector being here")
        line.line.brand("north", BRAND)
        deployable = judging(good)
        line.line.deploy("one", BRAND, deployable, good, (), whole, Bounds(watch_seconds=0))
        until(lambda: line.line.deployment("one").over)
        outcome = line.line.deployment("one").detectors["north"].outcome
        assert outcome is not None
        assert outcome.state == "serving"
        until(lambda: station.last().get("accepted") is not None)
        # Another program of the line asks the same model.
        until(lambda: named(f"http://127.0.0.1:{port}/v2/models/{BRAND}") == BRAND)
        # One that rejects everything is taken back, and the edge server hears of it.
        line.line.deploy("two", BRAND, judging(bad, 1.0), bad, (), whole, Bounds(watch_seconds=600, least_images=5))
        until(lambda: "rolled-back" in str(line.line.deployment("two").model_dump()))
        until(lambda: station.last()["model"] == deployable.sha256)
        line.line.teach("north", BRAND, 3)
        history = History(line.folders.line_history)
        until(lambda: len([each for each in history.recorded(BRAND) if each.label == "normal"]) == 3)
        assert psutil.Process(process.pid).memory_info().rss / 2**20 < MOST_RESIDENT_MIB
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    recorded = history.recorded(BRAND)
    assert {each.detector for each in recorded} == {"north"}
    assert {True, False} <= {each.accepted for each in recorded}
    assert {each["detector"] for each in station.verdicts()} == {"north"}
