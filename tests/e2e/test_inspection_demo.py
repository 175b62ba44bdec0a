"""The demo of inspection, whole: from the first taught parts to a rollback, with all that the line has sent to the cloud.

It is the one that the guide begins with, and what the guide does in the home that it leaves follows at the end.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image, UnidentifiedImageError

from cloud.runs.events import events
from cloud.runs.run import Run
from cloudedge.store import DirectoryStore
from components.inspection_training.records import gate_of
from tests.docs.pages import ROOT, Block, blocks
from tests.docs.reader import Reader

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

DETECTORS = {"camera-1", "camera-2", "camera-3"}


@dataclass(frozen=True)
class Shown:
    """A demo that has ended."""

    home: Path
    summary: dict[str, Any]

    @property
    def store(self) -> DirectoryStore:
        return DirectoryStore(self.home / "store")

    def run(self, name: str) -> Run:
        return Run(self.store, self.summary["runs"][name])


@pytest.fixture(scope="module")
def guide() -> list[Block]:
    """What the guide has its reader do: first the demo."""
    found = blocks(ROOT / "docs" / "guide-inspection.md")
    return found[next(number for number, block in enumerate(found) if "cloudedge demo inspection" in block.text) :]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, guide: list[Block]) -> Reader:
    """Somebody who has seen the demo."""
    reader = Reader(tmp_path_factory.mktemp("inspection"))
    reader.follow(guide[0])
    return reader


@pytest.fixture(scope="module")
def shown(reader: Reader) -> Shown:
    return Shown(reader.folder / "line-home", json.loads((reader.folder / "summary.json").read_text()))


def test_the_new_model_tells_what_the_old_one_does_not(shown: Shown) -> None:
    auroc = shown.summary["auroc"]

    assert auroc["new"] >= 0.92
    assert auroc["new"] >= auroc["old"] + 0.15
    assert shown.summary["gate"]["gate_passed"]


def test_all_detectors_swap_and_one_goes_back(shown: Shown) -> None:
    gate = gate_of(shown.run("training"))
    assert gate is not None
    assert shown.summary["swaps"]["done"] == len(DETECTORS)
    assert {name: found["state"] for name, found in shown.summary["detectors"].items()} == dict.fromkeys(DETECTORS, "serving")
    judging = {
        name: json.loads((shown.home / "inspection" / f"{name}-results.jsonl").read_text().splitlines()[-1])["model"]
        for name in DETECTORS
    }
    assert judging["camera-2"] == judging["camera-3"] == gate.sha256
    assert judging["camera-1"] != judging["camera-2"]


def test_each_part_that_was_judged_was_judged_by_one_whole_model(shown: Shown) -> None:
    for name in DETECTORS:
        lines = (shown.home / "inspection" / f"{name}-results.jsonl").read_text().splitlines()
        judged = [json.loads(line) for line in lines]
        assert not [one["error"] for one in judged if one["error"]]
        thresholds = {one["model"]: one["threshold"] for one in judged if one["model"]}
        assert all(one["threshold"] == thresholds[one["model"]] for one in judged if one["model"])
        assert all(one["accepted"] == (one["score"] <= one["threshold"]) for one in judged if one["model"])


def test_no_image_of_the_line_is_in_the_cloud(shown: Shown) -> None:
    """All that the line wrote lies in the results and reports of its orders: nothing there is an image, or holds one."""
    belts = shown.home / "data" / "inspection" / "belts"
    pixels = {Image.open(path).convert("L").tobytes()[1000:1512] for path in belts.rglob("*.png") if path.is_file()}
    recorded = [path.read_bytes() for path in (shown.home / "edges" / "line-1" / "line").rglob("*.png")]
    assert len(recorded) >= 48
    sent = 0
    for entry in shown.store.list("runs"):
        if "/results/" not in entry.key and "/reports/" not in entry.key:
            continue
        content = shown.store.get(entry.key, 1 << 30)
        sent += 1
        for mark in (b"\x89PNG", b"\xff\xd8\xff", b"IHDR"):
            assert mark not in content, entry.key
        assert not any(image in content for image in recorded), entry.key
        assert not any(row in content for row in pixels), entry.key
        with pytest.raises(UnidentifiedImageError):
            Image.open(io.BytesIO(content))
    assert sent >= 8


def test_who_overrode_the_brand_and_why_is_in_the_log(shown: Shown) -> None:
    overridden = [
        event.details
        for run in shown.store.folders("runs")
        for _, event in events(shown.store, run)
        if event.action == "overridden"
    ]

    assert [(each["by"], each["reason"]) for each in overridden] == [
        ("the demo", "The line makes brick now, and there is no model for it yet.")
    ]


def test_the_reports_tell_of_it(shown: Shown) -> None:
    training, deployment = (Path(path).read_text() for path in shown.summary["reports"].values())

    assert "the model may be deployed" in training
    assert training.count("data:image/png;base64,") >= 4
    assert "3 of 3 detectors on line-1 judge brick by the model." in deployment


def test_nothing_stays_at_work(shown: Shown) -> None:
    home = str(shown.home)
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if home in " ".join(process.info["cmdline"] or ())
    ]

    assert not left


def test_an_engineer_gets_a_line_to_inspect(reader: Reader, guide: list[Block]) -> None:
    for block in guide[1:]:
        reader.follow(block)
