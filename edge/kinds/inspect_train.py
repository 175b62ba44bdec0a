"""Trains for inspection at a line's edge server: gathers what its detectors recorded, learns, and writes the ONNX file.

What was gathered is settled before it is used: the images are linked into the order's folder, and then a list of them is
written. So another try learns from the same ones, whatever has come or gone since. None of them leaves the edge.
"""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cloudedge.deployable.checking import described
from cloudedge.documents import Phase, Point, Stream, parse
from cloudedge.documents.base import Document, Part
from cloudedge.documents.deployable import ImageForm, Lineage
from cloudedge.documents.inspection import NORMAL, Gathering, InspectionTraining
from cloudedge.documents.kinds.inspect_train import InspectTrain, InspectTrained
from cloudedge.errors import InvalidModel, InvalidSamples
from cloudedge.files import atomic_write, disk_errors, sync_folder
from cloudedge.inspection.backbone import check_backbone
from cloudedge.inspection.images import ENDINGS, prepared, read
from cloudedge.inspection.training import Example, Step, require, train
from cloudedge.names import SHA256, is_passed_over, sha256_of
from edge.folders import Folders
from edge.inputs import fetch, seed_of
from edge.line.control import Line
from edge.line.history import History
from edge.messages import Job, Message, Say
from edge.results import deliver, place_for

_PROGRESS_SECONDS = 0.5

_MOST_POINTS = 20_000
"""Of a training with more batches, not each has one."""


class _Gathered(Part):
    """An image that is learned from."""

    file: str = Field(description="Its name in the order's folder.")
    label: str = Field(description="'normal', or a defect's name.")
    sha256: str = Field(pattern=SHA256, description="Digest of the file.")


class _Gathering(Document):
    """All images of an order; once it is written, it stays."""

    images: tuple[_Gathered, ...] = Field(description="The images.")
    missing: Annotated[dict[str, str], Field(description="Detectors that did not send all, and why.")]
    passed_over: int = Field(default=0, ge=0, description="Images that cannot be read.")


@dataclass(frozen=True)
class _Found:
    """An image that is there, wherever that is."""

    path: Path
    label: str
    taken_at: datetime


def work(job: Job, asked: InspectTrain, say: Say) -> None:
    """Do an order to train for inspection.

    Raises:
        CloudedgeError: it cannot be done.
    """
    started = time.monotonic()
    order, folders = job.order, Folders(Path(job.state))
    say(Message(phase=Phase.FETCHING))
    base = order.inputs["backbone"]
    weights = fetch(job, base, folders.received(order.id) / "backbone.safetensors")
    check_backbone(weights)
    gathering = _settled(job, asked.training, say)
    examples = list(_examples(folders.received(order.id) / "images", gathering, asked.training, say))
    say(Message(phase=Phase.TRAINING, gauges={"samples": len(examples)}))
    trained = train(
        examples,
        asked.training,
        weights,
        name=asked.name,
        seed=seed_of(order, asked.seed),
        lineage=Lineage(run=order.run, edge=order.edge, base_sha256=base.sha256),
        on_batch=_Teller(say, len(examples), started).on_batch,
    )
    model, manifest = place_for(job, "model.onnx"), place_for(job, "deployable.json")
    atomic_write(model, trained.model)
    if described(model) != (trained.deployable.inputs, trained.deployable.outputs):
        raise InvalidModel("The model that was trained is not what its manifest says. This is a fault of cloudedge: report it.")
    atomic_write(manifest, trained.deployable.to_json())
    labels = [image.label for image in gathering.images]
    result = InspectTrained(
        sha256=trained.deployable.sha256,
        gathered={label: labels.count(label) for label in sorted(set(labels))},
        missing=gathering.missing,
        passed_over=gathering.passed_over,
        data_fingerprint=trained.deployable.lineage.data_fingerprint,
        threshold=trained.threshold,
        figures=dict(trained.figures),
    )
    deliver(job, result, time.monotonic() - started, {"model": model, "deployable": manifest})


def _settled(job: Job, asked: InspectionTraining, say: Say) -> _Gathering:
    """What the order learns from: gathered now, or by a try before this one."""
    folders = Folders(Path(job.state))
    folder = folders.received(job.order.id)
    index, images = folder / "gathered.json", folder / "images"
    if not job.begun:  # The cloud may have issued the order again, and there may be more by now.
        with disk_errors(index):
            index.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        return parse(_Gathering, index.read_bytes(), str(index))
    say(Message(phase=Phase.COLLECTING))
    found, missing = _gathered(job, asked)
    with disk_errors(images):
        shutil.rmtree(images, ignore_errors=True)
        images.mkdir(parents=True)
    kept: dict[str, _Gathered] = {}
    passed_over = 0
    for number, image in enumerate(found):
        say(Message(progress=(Stream(name="images", done=number, total=len(found), unit="images"),)))
        with disk_errors(images):
            name = f"{number:07}{image.path.suffix.lower()}"
            try:
                _take(image.path, images / name, folders.line_history)
            except FileNotFoundError:
                continue  # The history has removed it since: it is full, or the image too old.
            # The same file twice is one image; what was said of it last holds.
            digest = sha256_of(images / name)
        try:
            read(images / name)
        except InvalidSamples as error:  # One that nobody can look at keeps nobody from learning from the others.
            print(f"{image.path} is passed over: {error}", file=sys.stderr)
            passed_over += 1
            continue
        kept[digest] = _Gathered(file=name, label=image.label, sha256=digest)
    gathering = _Gathering(images=_newest(list(kept.values()), asked), missing=missing, passed_over=passed_over)
    counts = {label: sum(image.label == label for image in gathering.images) for label in _labels(gathering)}
    require(asked, counts)
    with disk_errors(images):
        sync_folder(images)
    atomic_write(index, gathering.to_json())
    return gathering


def _labels(gathering: _Gathering) -> set[str]:
    return {image.label for image in gathering.images}


def _newest(images: list[_Gathered], asked: InspectionTraining) -> tuple[_Gathered, ...]:
    """The newest images of each label, as many as may be used."""
    most = asked.training_set.most_images + asked.validation_set.most_images
    by_label: dict[str, list[_Gathered]] = {}
    for image in images:
        by_label.setdefault(image.label, []).append(image)
    return tuple(image for label in sorted(by_label) for image in by_label[label][-most:])


def _gathered(job: Job, asked: InspectionTraining) -> tuple[list[_Found], dict[str, str]]:
    """All images of the brand, oldest first; and detectors that did not send all, with the reason."""
    folders, gathering = Folders(Path(job.state)), asked.gathering
    since = datetime.now(UTC) - timedelta(hours=gathering.last_hours) if gathering.last_hours else None
    found: list[_Found] = []
    missing: dict[str, str] = {}
    if folders.line_settings.exists():
        missing = Line(folders).gather(asked.brand, gathering.detectors, gathering.wait_seconds)
        found += _recorded(History(folders.line_history), asked.brand, gathering, since)
    if job.samples:
        found += _in_folder(Path(job.samples) / asked.brand, since)
    return sorted(found, key=lambda image: (image.taken_at, str(image.path))), missing


def _recorded(history: History, brand: str, gathering: Gathering, since: datetime | None) -> Iterator[_Found]:
    """Images of the line's history that are labelled, or accepted where that counts."""
    try:
        for image in history.recorded(brand, gathering.detectors, since):
            label = image.label or (NORMAL if image.accepted and gathering.accepted else "")
            if label:
                yield _Found(image.path, label, image.taken_at)
    finally:
        history.close()


def _in_folder(folder: Path, since: datetime | None) -> Iterator[_Found]:
    """Images that lie in folders of their labels' names."""
    if not folder.is_dir():
        return
    for path in sorted(folder.glob("*/*")):
        if is_passed_over(path.name) or is_passed_over(path.parent.name) or path.suffix.lower() not in ENDINGS:
            continue
        changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        if since is None or changed >= since:
            yield _Found(path, path.parent.name, changed)


def _take(source: Path, target: Path, history: Path) -> None:
    """Have a file in the order's folder: the very one where that can be, since nobody changes what is in the history.

    Raises:
        FileNotFoundError: it is gone.
        OSError: the disk refuses.
    """
    if source.is_relative_to(history):
        with suppress(PermissionError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)


def _examples(folder: Path, gathering: _Gathering, asked: InspectionTraining, say: Say) -> Iterator[Example]:
    """The images as the model gets them.

    Raises:
        InvalidSamples: one cannot be read, or is another than was gathered.
    """
    form = ImageForm(height=asked.height, width=asked.width)
    told = time.monotonic()
    for number, image in enumerate(gathering.images):
        path = folder / image.file
        if sha256_of(path) != image.sha256:
            raise InvalidSamples(f"The image {path} was altered since it was gathered. Issue the order again.")
        yield Example(prepared(read(path), form), image.label, image.sha256)
        if time.monotonic() >= told + _PROGRESS_SECONDS:
            told = time.monotonic()
            say(Message(progress=(Stream(name="images", done=number + 1, total=len(gathering.images), unit="images"),)))


class _Teller:
    """Tells of batches: the progress, and a point at the start of each."""

    def __init__(self, say: Say, samples: int, started: float) -> None:
        self._say, self._samples, self._started = say, samples, started

    def on_batch(self, step: Step) -> None:
        """Tell of one."""
        every = -(-step.batches // _MOST_POINTS)
        if step.batch % every and step.batch != step.batches:
            return
        values = {"progress": step.batch / step.batches}
        values |= {} if step.accuracy is None else {"accuracy": step.accuracy}
        values |= {} if step.loss is None else {"loss": step.loss}
        self._say(
            Message(
                progress=(Stream(name="batches", done=step.batch, total=step.batches, unit="batches"),),
                gauges={"samples": self._samples} | values,
                points=(Point(sequence=step.batch, seconds=time.monotonic() - self._started, values=values),),
            )
        )
