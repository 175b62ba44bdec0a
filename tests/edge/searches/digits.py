"""A site whose samples are handwritten digits, and orders to search for a model that reads them."""

import json
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from sklearn.datasets import load_digits

from cloudedge.automl.meta.files import CARD, SHIPPED, WEIGHTS
from cloudedge.automl.space import networks
from cloudedge.documents import DataFormat, Manifest, Order, RemoteFile, Training, parse
from cloudedge.documents.automl import Calibration, Limits, SearchRecord
from cloudedge.documents.data import SampleField
from cloudedge.documents.kinds.search import Search, Searched
from cloudedge.names import sha256_of
from edge.calibration import keeping
from edge.calibration.calibrating import calibrate
from edge.folders import Folders
from edge.kinds.search import work
from edge.messages import Message
from tests.edge.site import Site

SIZE = 8
DIGITS = DataFormat(
    storage="npz",
    fields=(SampleField(name="image", dtype="uint8", shape=(1, SIZE, SIZE), scale=1 / 16),),
    classes=tuple("0123456789"),
    held_out=0.25,
)
LIMITS = Limits(latency_ms=1000)
"""What any network keeps, whatever else is at work on this machine."""

TRAINING = Training(epochs=4, batch_size=25, learning_rate=0.005, optimizer="adam")


@cache
def calibration() -> Calibration:
    """What networks cost on this machine: measured once, and by a few."""
    some = list(networks().everything)[::12]
    return calibrate(DIGITS, candidates=some, seconds=60)


def write_digits(folder: Path, count: int = 400) -> None:
    """Write samples."""
    images, labels = load_digits(return_X_y=True)
    folder.mkdir(parents=True, exist_ok=True)
    shaped = images[:count].reshape(-1, 1, SIZE, SIZE).astype(np.uint8)
    np.savez(folder / "digits.npz", image=shaped, label=labels[:count].astype(str))


def keep_calibration(site: Site, **changes: Any) -> None:
    """Have a site's device calibrated."""
    folder = Folders(site.state).calibrations
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "digits.json").write_bytes(calibration().model_copy(update=changes).to_json())


def unchecked() -> AbstractContextManager[object]:
    """Have what was measured on the device hold."""
    return patch.object(keeping, "why_otherwise", lambda *_: None)


def sent(site: Site, source: Path) -> RemoteFile:
    """A file that the cloud sends."""
    path = site.cloud / source.name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)
    return RemoteFile(url=path.as_uri(), sha256=sha256_of(path), size=path.stat().st_size)


def order_of(site: Site, card: dict[str, Any] | None = None, **changes: Any) -> Order:
    """An order to search, with the meta model that comes along, or one that says something else of itself."""
    described = SHIPPED / CARD
    if card is not None:
        described = site.root / CARD
        described.write_text(json.dumps(json.loads((SHIPPED / CARD).read_text()) | card))
    asked: dict[str, Any] = {"limits": Limits(), "training": TRAINING, "seed": 3} | changes
    names = ("search", "model", "deployable")
    return site.order(
        1,
        work=Search(name="digits", data=DIGITS, **asked),
        inputs={"meta": sent(site, SHIPPED / WEIGHTS), "card": sent(site, described)},
        outputs={name: site.target("run.1.edge-1.1", name) for name in names},
    )


@dataclass
class Searching:
    """Searches in this process, and what they said.

    Attributes:
        site: Where.
        said: What they said.
        checks: Whether it is looked at once more whether the device's calibration holds. What else is at work on this machine
            is not for a test to say.
    """

    site: Site
    said: list[Message] = field(default_factory=list)
    checks: bool = False

    def do(self, order: Order, *, begun: bool = False) -> Searched:
        assert isinstance(order.work, Search)
        with nullcontext() if self.checks else unchecked():
            work(self.site.job(order, begun=begun), order.work, self.said.append)
        result = self.manifest(order).result
        assert isinstance(result, Searched)
        return result

    def manifest(self, order: Order) -> Manifest:
        return parse(Manifest, Folders(self.site.state).manifest(order.id).read_bytes(), "manifest")

    def made(self, order: Order, name: str) -> Path:
        return Folders(self.site.state).trained(order.id) / name

    def record(self, order: Order) -> SearchRecord:
        return parse(SearchRecord, self.made(order, "search.json").read_bytes(), "the search")
