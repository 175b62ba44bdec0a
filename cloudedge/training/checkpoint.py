"""Where training stands after an epoch, in one file: safetensors, with the history as JSON. Nothing is ever pickled."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from torch import Tensor

from cloudedge import weights
from cloudedge.data import Samples
from cloudedge.documents import EpochRecord, Scores, Training, canonical_json
from cloudedge.errors import InvalidModel, NotFound

_HISTORY = "history"


@dataclass(frozen=True)
class Best:
    """The best model so far, and what it scored on the held-out samples."""

    state: Mapping[str, Tensor]
    scores: Scores


@dataclass(frozen=True)
class Checkpoint:
    """All that training needs to go on; its random numbers follow from the seed and the epoch alone.

    Attributes:
        identity: Names the work that it belongs to, as `identity_of` does.
        held_out: Digest of the samples that were measured on.
        model: State of the model.
        optimizer: State of the optimizer.
        best: Best model so far, where a target asks for it.
        history: All finished epochs.
    """

    identity: str
    held_out: str
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    best: Best | None
    history: tuple[EpochRecord, ...]

    def save(self, path: Path) -> None:
        """Write the file atomically, so that a power cut leaves the one before.

        Raises:
            StoreFailed: the disk does not take it.
        """
        history = canonical_json([record.model_dump(mode="json") for record in self.history])
        parts = {"model": self.model, "optimizer": self.optimizer, "best": self.best.state if self.best else {}}
        tensors = {f"{part}.{name}": tensor for part, state in parts.items() for name, tensor in state.items()}
        # Not in the metadata: those are bounded, and a history of many epochs is not.
        tensors[_HISTORY] = torch.from_numpy(numpy.frombuffer(history, numpy.uint8).copy())
        scores = self.best.scores.model_dump_json() if self.best else ""
        weights.save(tensors, path, {"identity": self.identity, "held_out": self.held_out, "best_scores": scores})


def load_checkpoint(path: Path, identity: str) -> Checkpoint | None:
    """Read the checkpoint of this very work.

    Returns:
        The checkpoint; None where there is none, it is damaged or belongs to other work: then training starts anew, to the
        same result.

    Raises:
        StoreFailed: it is there but cannot be read.
    """
    try:
        metadata = weights.read_header(path).metadata
        if metadata.get("identity") != identity:
            return None
        tensors = weights.load(path)
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "best": {}}
        history = tensors.pop(_HISTORY)
        for name, tensor in tensors.items():
            part, _, inner = name.partition(".")
            parts[part][inner] = tensor
        scores = metadata["best_scores"]
        return Checkpoint(
            identity=identity,
            held_out=metadata["held_out"],
            model=parts["model"],
            optimizer=parts["optimizer"],
            best=Best(parts["best"], Scores.model_validate_json(scores)) if scores else None,
            history=tuple(EpochRecord.model_validate(record) for record in json.loads(history.numpy().tobytes())),
        )
    except (NotFound, InvalidModel, KeyError, ValueError):
        return None


def identity_of(settings: Training, seed: int, received: Mapping[str, Tensor]) -> str:
    """Digest of all that training follows from besides the samples: settings, seed and the model received.

    The number of epochs is left out, as it may be raised; so are the samples, as more are collected when accuracy is low.
    """
    digest = hashlib.sha256(canonical_json([settings.model_dump(mode="json", exclude={"epochs"}), seed]))
    for name, tensor in sorted(received.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def digest_of(samples: Samples) -> str:
    """Digest of samples: equal ones in the same order have the same."""
    digest = hashlib.sha256(_bytes_of(samples.labels))
    digest.update(_bytes_of(samples.inputs))
    return digest.hexdigest()


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
