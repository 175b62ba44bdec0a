"""Small models on disk, fused: what the tests of fusion arrange and look at."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from cloud.fusion.files import Contribution, FusionOutcome, fuse_files
from cloudedge.documents import Fusion
from cloudedge.names import sha256_of

Model = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Fused:
    """What a fusion gave."""

    outcome: FusionOutcome
    model: dict[str, npt.NDArray[Any]]
    content: bytes


def tensor(values: object, dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """A tensor of these numbers."""
    return np.array(values, dtype)


def numbers(*values: float, dtype: npt.DTypeLike = np.float32) -> dict[str, npt.NDArray[Any]]:
    """A model of one tensor, 'w'."""
    return {"w": tensor(values, dtype)}


def written(path: Path, model: Model) -> Path:
    """Write a model with the safetensors library."""
    save_file(dict(model), path)
    return path


def delivered(
    folder: Path, models: Sequence[Model], samples: Sequence[int] = (), accuracy: Sequence[float | None] = ()
) -> list[Contribution]:
    """Contributions of edge-0, edge-1, ..., one sample each unless said otherwise."""
    contributions = []
    for number, model in enumerate(models):
        path = written(folder / f"edge-{number}.safetensors", model)
        contributions.append(
            Contribution(
                edge=f"edge-{number}",
                path=path,
                samples=samples[number] if samples else 1,
                accuracy=accuracy[number] if accuracy else 0.5,
                round=1,
                sha256=sha256_of(path),
            )
        )
    return contributions


def fused(
    folder: Path,
    base: Model,
    contributions: Sequence[Contribution],
    rule: str = "samples",
    parameters: Mapping[str, Any] | None = None,
    base_weight: float = 0.0,
    score: Callable[[Path], float] | None = None,
    state: Path | None = None,
    next_state: Path | None = None,
) -> Fused:
    """Fuse contributions with a base model."""
    output = folder / "fused.safetensors"
    outcome = fuse_files(
        written(folder / "base.safetensors", base),
        contributions,
        Fusion(rule=rule, parameters=dict(parameters or {}), base_weight=base_weight),
        output,
        score=score,
        state=state,
        next_state=next_state,
    )
    return Fused(outcome, load_file(output), output.read_bytes())
