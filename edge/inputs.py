"""What work begins with: models from the cloud and samples from this place."""

import time
from pathlib import Path

import torch

from cloudedge import weights
from cloudedge.data import Samples, to_samples
from cloudedge.documents import DataFormat, Order, Phase, RemoteFile
from cloudedge.errors import InvalidSamples
from cloudedge.names import sha256_of
from cloudedge.seeds import derived_seed
from cloudedge.transport import Transport
from edge.folders import Folders
from edge.messages import Job, Message, Say
from edge.samples.store import BadFile, Collection, SampleStore


def seed_of(order: Order, seed: int) -> int:
    """The seed of this edge's work in this step: another one at every edge and in every step, the same at every try."""
    return derived_seed(seed, "work", order.edge, order.step)


def fetch(job: Job, file: RemoteFile, path: Path) -> Path:
    """Bring a model here; another try goes on where this one ended.

    Raises:
        StoreFailed: the store, the network or the disk does not do its work.
        InvalidModel: what came is not what the order announced.
        InvalidInput: the URL may not be used.
    """
    if not (path.exists() and path.stat().st_size == file.size and sha256_of(path) == file.sha256):
        Transport([Path(root) for root in job.file_roots]).fetch(file, path)
    return path


def load_checked(model: torch.nn.Module, file: RemoteFile, path: Path) -> None:
    """Give a network the weights of a fetched file.

    Raises:
        InvalidModel: the file is not such a model.
    """
    weights.check(path, weights.layout_of(model.state_dict()), sha256=file.sha256, size=file.size)
    model.load_state_dict(weights.load(path))


class Collector:
    """Gathers samples for one order."""

    def __init__(self, job: Job, data: DataFormat, say: Say) -> None:
        """Open the sample store."""
        self._order_id = job.order.id
        self._data = data
        self._directory = Path(job.samples) if job.samples else None
        self._mirror = job.mirror_samples
        self._say = say
        self._store = SampleStore(Folders(Path(job.state)).samples)

    def first(self) -> Collection:
        """Collect, or after a crash go on with what was collected.

        Raises:
            StoreFailed: the disk refuses.
        """
        collection = self._store.collection(self._order_id)
        if collection is None:
            self._say(Message(phase=Phase.COLLECTING))
            if self._directory is not None:
                take = self._store.mirror if self._mirror else self._store.collect
                take(self._directory, self._data)
            collection = self._store.settle(self._order_id, 0)
        return collection

    def next(self, former: Collection, wait_seconds: float) -> Collection | None:
        """Wait for samples beyond a collection; None if none came in this time, in seconds."""
        self._say(Message(phase=Phase.COLLECTING))
        end = time.monotonic() + wait_seconds
        while True:
            if self._directory is not None:
                self._store.collect(self._directory, self._data)
            if self._store.has_more(self._data, former):
                return self._store.settle(self._order_id, former.number + 1)
            if time.monotonic() >= end:
                return None
            time.sleep(min(1.0, max(0.0, end - time.monotonic())))

    def samples(self, collection: Collection, *, held_out: bool) -> Samples:
        """A collection's samples to measure on, or to train on."""
        return to_samples(self._store.records(self._data, collection, held_out=held_out), self._data)

    def fingerprint(self, collection: Collection) -> str:
        """Digest over a collection's samples."""
        return self._store.fingerprint(self._data, collection)

    def bad_files(self) -> list[BadFile]:
        """The files that gave no samples in the order's format."""
        return self._store.bad_files(self._data)

    def require(self, samples: Samples) -> Samples:
        """The samples to train on, if there are any.

        Raises:
            InvalidSamples: there are none.
        """
        if len(samples):
            return samples
        place = f"Put files into {self._directory} or add" if self._directory else "Add"
        bad = self.bad_files()
        faults = "".join(f"\n  - {file.fault}" for file in bad[:5])
        passed = f" Files that were passed over:{faults}" if bad else ""
        raise InvalidSamples(f"This edge has no samples to train on. {place} some with 'cloudedge-edge samples add'.{passed}")
