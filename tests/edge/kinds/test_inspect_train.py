"""The work of an order to train for inspection: from what detectors recorded to the ONNX file."""

import io
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cloudedge.deployable.checking import check
from cloudedge.deployable.session import Session, judge
from cloudedge.documents import Manifest, Order, Phase, RemoteFile, parse
from cloudedge.documents.deployable import Deployable
from cloudedge.documents.inspection import Classifier, Gathering, InspectionTraining
from cloudedge.documents.kinds.inspect_train import InspectTrain, InspectTrained
from cloudedge.documents.line import Record
from cloudedge.errors import CloudedgeError, InvalidSamples
from cloudedge.names import sha256_of
from edge.folders import Folders
from edge.kinds.inspect_train import work
from edge.line.history import Arrived, History
from edge.messages import Message
from tests.cloudedge.inspection.parts import SIZE, hole, normal, weights
from tests.edge.line.site import LineSite
from tests.edge.site import Site
from tests.waiting import until

BRAND = "plate"


def png(pixels: "np.ndarray[Any, np.dtype[np.uint8]]") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def put(site: Site, label: str, count: int) -> None:
    """Have images of a label in the samples folder, larger than the model gets them."""
    draw = {"normal": normal, "hole": hole}.get(label, normal)
    folder = site.samples / BRAND / label
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        large = Image.fromarray(draw(number)).resize((SIZE * 2, SIZE * 2))
        path = folder / f"{number}.png"
        large.save(path)
        os.utime(path, (1_700_000_000 + number,) * 2)


def order_of(site: Site, number: int = 1, **changes: Any) -> Order:
    base = site.cloud / "backbone.safetensors"
    base.parent.mkdir(parents=True, exist_ok=True)
    if not base.exists():
        shutil.copyfile(weights(), base)
    asked = InspectionTraining(**{"brand": BRAND, "height": SIZE, "width": SIZE, **changes})
    name = f"run.{number}.edge-1.1"
    file = RemoteFile(url=base.as_uri(), sha256=sha256_of(base), size=base.stat().st_size)
    outputs = {
        output: site.target(name, output).model_copy(update={"max_bytes": 50_000_000}) for output in ("model", "deployable")
    }
    return site.order(number, work=InspectTrain(name=BRAND, training=asked, seed=3), inputs={"backbone": file}, outputs=outputs)


@dataclass
class Worked:
    """Work in this process, and what it said."""

    site: Site
    said: list[Message] = field(default_factory=list)

    def do(self, order: Order, *, begun: bool = False) -> InspectTrained:
        assert isinstance(order.work, InspectTrain)
        work(self.site.job(order, begun=begun), order.work, self.said.append)
        manifest = parse(Manifest, Folders(self.site.state).manifest(order.id).read_bytes(), "manifest")
        assert isinstance(manifest.result, InspectTrained)
        return manifest.result

    def made(self, order: Order, name: str) -> Path:
        return Folders(self.site.state).trained(order.id) / name

    def points(self) -> list[dict[str, float]]:
        return [dict(point.values) for message in self.said for point in message.points or ()]


@pytest.fixture
def worked(tmp_path: Path) -> Worked:
    return Worked(Site(tmp_path))


@pytest.fixture
def line(tmp_path: Path) -> Iterator[LineSite]:
    """A line whose service runs in this process, for the runner's state directory of the site."""
    line = LineSite(tmp_path)
    line.start()
    yield line
    line.close()


def test_a_model_comes_of_the_images_in_the_samples_folder(worked: Worked) -> None:
    put(worked.site, "normal", 12)
    put(worked.site, "hole", 4)
    order = order_of(worked.site, classifier=Classifier(classes=("hole",), iterations=2))
    result = worked.do(order)
    model, manifest = worked.made(order, "model.onnx"), worked.made(order, "deployable.json")
    deployable = parse(Deployable, manifest.read_bytes(), "manifest")
    check(model, deployable)
    assert result.gathered == {"hole": 4, "normal": 12}
    assert (result.sha256, result.threshold) == (deployable.sha256, deployable.threshold)
    assert result.data_fingerprint == deployable.lineage.data_fingerprint != ""
    assert (deployable.brand, deployable.name, deployable.classes) == (BRAND, BRAND, ("hole",))
    assert deployable.lineage.base_sha256 == order.inputs["backbone"].sha256
    assert (deployable.lineage.run, deployable.lineage.edge) == ("run", "edge-1")
    found = judge(Session(model, deployable), hole(90))
    assert (found.reject, found.defect) == (True, "hole")


def test_it_tells_phases_and_the_progress_accuracy_and_loss_of_each_batch(worked: Worked) -> None:
    put(worked.site, "normal", 12)
    worked.do(order_of(worked.site))
    phases = [message.phase for message in worked.said if message.phase]
    assert phases == [Phase.FETCHING, Phase.COLLECTING, Phase.TRAINING]
    points = worked.points()
    assert [point["progress"] for point in points] == sorted({point["progress"] for point in points})
    assert (points[0], points[-1]["progress"]) == ({"progress": 0}, 1)
    assert all(point.keys() == {"progress", "accuracy", "loss"} for point in points[1:])
    streams = [(stream.name, stream.done) for message in worked.said for stream in message.progress or ()]
    for name in ("images", "batches"):
        done = [count for stream, count in streams if stream == name]
        assert done == sorted(done)


def test_what_was_gathered_stays_although_images_come_change_and_go(worked: Worked) -> None:
    put(worked.site, "normal", 10)
    order = order_of(worked.site)
    first = worked.do(order)
    model = worked.made(order, "model.onnx").read_bytes()
    shutil.rmtree(Folders(worked.site.state).trained(order.id))
    put(worked.site, "normal", 14)
    (worked.site.samples / BRAND / "normal" / "3.png").write_bytes(png(hole(1)))
    (worked.site.samples / BRAND / "normal" / "4.png").unlink()
    assert worked.do(order, begun=True) == first
    assert worked.made(order, "model.onnx").read_bytes() == model
    assert worked.do(order).gathered == {"normal": 13}  # Issued again, it looks anew.


def test_a_runner_that_is_killed_ends_with_the_bytes_of_one_that_was_not(tmp_path: Path, workers: tuple[Path, Any]) -> None:
    digests = []
    for name, kills in (("calm", ()), ("killed", (Phase.COLLECTING, Phase.TRAINING))):
        site = Site(tmp_path / name, workers[0], workers[1].pid)
        put(site, "normal", 24)
        order = order_of(site)
        site.want(order)
        for phase in kills:
            with site.running():
                until(partial(_has_come, site, order, phase))
        with site.running():
            site.finish(order)
        assert [point.sequence for point in site.history(order)] == list(range(len(site.history(order))))
        digests.append(sha256_of(site.cloud / order.id / "model"))
    assert digests[0] == digests[1]


def _has_come(site: Site, order: Order, phase: Phase) -> bool:
    return site.phase(order) in (phase, Phase.TRAINING, Phase.DONE)


def test_nothing_of_an_image_is_in_what_leaves_the_edge(worked: Worked) -> None:
    put(worked.site, "normal", 9)
    order = order_of(worked.site)
    worked.do(order)
    assert worked.points()
    leaving = b"".join(path.read_bytes() for path in worked.made(order, "").iterdir())
    leaving += b"".join(message.model_dump_json().encode() for message in worked.said)
    for number in range(9):
        image = Image.open(worked.site.samples / BRAND / "normal" / f"{number}.png")
        pixels = np.asarray(image)
        small = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        for values in (pixels, small, np.moveaxis(small, -1, 0)):
            content = np.ascontiguousarray(values).tobytes()
            # Not even a piece of it, as numbers of 8 bits or as floats.
            pieces = [content[place : place + 48] for place in range(0, len(content), len(content) // 20)]
            assert not any(piece in leaving for piece in pieces)
        floats = small[:, :8, 0].astype(np.float32)
        assert not any(row.tobytes() in leaving for row in floats[::8])


def test_images_of_the_lines_history_are_used_as_they_were_labelled(worked: Worked, line: LineSite) -> None:
    assert Folders(worked.site.state).line_settings.exists()
    history = History(Folders(worked.site.state).line_history)
    now = datetime.now(UTC)
    labels: list[tuple[str, bool | None, int]] = [("normal", None, 8), ("", True, 4), ("", False, 3), ("hole", False, 2)]
    number = 0
    for label, accepted, count in labels:
        for _ in range(count):
            number += 1
            content = png((hole if label == "hole" else normal)(number))
            record = Record(
                id=number,
                taken_at=now - timedelta(hours=number),
                brand=BRAND,
                label=label,
                accepted=accepted,
                image_sha256=sha256(content).hexdigest(),
            )
            history.keep("camera-1", [Arrived(record, content)])
    history.close()
    first = worked.do(order_of(worked.site, 1))
    assert (first.gathered, first.missing) == ({"hole": 2, "normal": 8}, {})
    accepted_too = worked.do(order_of(worked.site, 2, gathering=Gathering(accepted=True)))
    assert accepted_too.gathered == {"hole": 2, "normal": 12}
    recent = worked.do(order_of(worked.site, 3, gathering=Gathering(accepted=True, last_hours=10.5)))
    assert recent.gathered == {"normal": 10}
    with pytest.raises(InvalidSamples, match="There are 0 normal images"):
        worked.do(order_of(worked.site, 4, brand="other"))


@pytest.mark.parametrize(
    ("spoil", "changes", "fault"),
    [
        (lambda folder: (folder / "normal" / "0.png").unlink(), {}, "There are 7 normal images of the brand 'plate'"),
        (
            lambda folder: (folder / "normal" / "0.png").write_bytes(b"no image"),
            {},
            "There are 7 normal images of the brand 'plate'",
        ),
        (
            lambda folder: None,
            {"classifier": Classifier(classes=("dent",))},
            "There are fewer than 2 images of the defect 'dent' of the brand 'plate'; there are 8 of 'normal'",
        ),
    ],
)
def test_what_is_wrong_with_images_is_said_once_with_the_way_out(
    worked: Worked, spoil: Any, changes: dict[str, Any], fault: str
) -> None:
    put(worked.site, "normal", 8)
    spoil(worked.site.samples / BRAND)
    with pytest.raises(InvalidSamples) as refused:
        worked.do(order_of(worked.site, **changes))
    assert fault in str(refused.value)


def test_an_image_that_nobody_can_look_at_is_passed_over(worked: Worked, capsys: pytest.CaptureFixture[str]) -> None:
    put(worked.site, "normal", 9)
    (worked.site.samples / BRAND / "normal" / "0.png").write_bytes(b"no image")

    result = worked.do(order_of(worked.site))

    assert (result.gathered, result.passed_over) == ({"normal": 8}, 1)
    assert "normal/0.png is passed over" in capsys.readouterr().err


def test_a_file_that_is_no_backbone_is_refused_before_anything_is_gathered(worked: Worked) -> None:
    put(worked.site, "normal", 8)
    (worked.site.cloud).mkdir(parents=True, exist_ok=True)
    (worked.site.cloud / "backbone.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(CloudedgeError, match="is no safetensors file"):
        worked.do(order_of(worked.site))
    assert [message.phase for message in worked.said] == [Phase.FETCHING]


def test_the_newest_images_are_used_where_there_are_more_than_may_be(worked: Worked) -> None:
    put(worked.site, "normal", 14)
    order = order_of(
        worked.site,
        training_set={"most_images": 7},
        validation_set={"most_images": 3},
    )
    assert worked.do(order).gathered == {"normal": 10}
    index = json.loads((Folders(worked.site.state).received(order.id) / "gathered.json").read_bytes())
    newest = {sha256_of(worked.site.samples / BRAND / "normal" / f"{number}.png") for number in range(4, 14)}
    assert {image["sha256"] for image in index["images"]} == newest
