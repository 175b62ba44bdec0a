"""Fusing model files into one file."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud.fusion.fusing import Fusing
from cloud.fusion.rule import AnyRule, Averaging, Contribution, CoordinateWise, NoSetting, find_rule
from cloud.fusion.rules.samples import weights as by_samples
from cloud.fusion.streaming import Models
from cloudedge.documents import Fusion
from cloudedge.errors import InvalidInput
from cloudedge.files import disk_errors
from cloudedge.names import sha256_of

__all__ = ["Contribution", "FusionOutcome", "fuse_files"]


@dataclass(frozen=True)
class FusionOutcome:
    """What a fusion did.

    Attributes:
        base_weight: The base model's share.
        weights: Each contribution's share, in the order given; of rules that do not average, 1 if used and 0 if not.
        sha256: Digest of the fused file.
        size: Its length in bytes.
        seconds: Duration.
        bytes_read: Bytes of models read.
        notes: What a person should know of it.
    """

    base_weight: float
    weights: tuple[float, ...]
    sha256: str
    size: int
    seconds: float
    bytes_read: int
    notes: tuple[str, ...]


def fuse_files(
    base: Path,
    contributions: Sequence[Contribution],
    fusion: Fusion,
    output: Path,
    *,
    score: Callable[[Path], float] | None = None,
    state: Path | None = None,
    next_state: Path | None = None,
) -> FusionOutcome:
    """Fuse a base model and the edges' models into one file, streaming; the same inputs give the same bytes.

    The order of `contributions` does not matter: models are summed base first, then by edge.

    Args:
        base: The round's base model; all files must have its tensors.
        contributions: The edges' models, already checked for finite values.
        fusion: Rule, its parameters and the base model's weight.
        output: Where the fused model goes.
        score: Measures the held-out accuracy of a model file, for rules that try candidates (greedy).
        state: What a server optimizer remembered in the round before; None in the first.
        next_state: Where it writes what it remembers now; None to forget it. Other rules write nothing.

    Raises:
        InvalidInput: no contribution, an unknown rule, or parameters that the rule cannot use.
        InvalidModel: a file has other tensors than the base model, or the result is not finite.
        NotFound: a file does not exist.
        StoreFailed: the disk is full or broken; nothing was written.
    """
    started = time.monotonic()
    rule, setting = find_rule(fusion.rule, fusion.parameters)
    counted, notes = _once_each(contributions)
    with disk_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    with Models([base, *(contribution.path for contribution in counted)]) as models:
        fusing = Fusing(models, counted, fusion.base_weight, output.parent, score)
        if isinstance(rule, Averaging):
            shares = fusing.shares(fusion.rule, rule.weights(fusing, setting))
            fusing.average(shares, output)
            if shares[0] == 1 and fusion.base_weight < 1:
                notes.append(f"No model is better than the base model by the rule {fusion.rule!r}: it stays as it is.")
        elif isinstance(rule, CoordinateWise):
            fusing.combine(rule, setting, output)
            shares = [fusion.base_weight, *(1.0 for _ in counted)]
        else:
            shares = fusing.shares(fusion.rule, by_samples(fusing, NoSetting()))
            fusing.take_step(rule, setting, shares, output, state, next_state)
        if fusing.integers:
            notes.append(_integers(fusing.integers, _taken_from(rule, counted, shares)))
    share_of = dict(zip(counted, shares[1:], strict=True))
    return FusionOutcome(
        base_weight=shares[0],
        # A contribution given twice is counted at its first place.
        weights=tuple(share_of.pop(contribution, 0.0) for contribution in contributions),
        sha256=sha256_of(output),
        size=output.stat().st_size,
        seconds=time.monotonic() - started,
        bytes_read=fusing.bytes_read,
        notes=tuple(notes),
    )


def _taken_from(rule: AnyRule, counted: Sequence[Contribution], shares: Sequence[float]) -> str:
    """Whose integers the fused model has."""
    if isinstance(rule, CoordinateWise):
        return max(counted, key=lambda one: one.samples).edge  # As `Fusing.combine` chooses it.
    heaviest = max(range(len(shares)), key=lambda i: shares[i])  # As `Average` does.
    return counted[heaviest - 1].edge if heaviest else "the base model"


def _integers(names: Sequence[str], owner: str) -> str:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"Integers cannot be averaged: {shown} {'is' if len(names) == 1 else 'are'} taken from {owner} alone."


def _once_each(contributions: Sequence[Contribution]) -> tuple[list[Contribution], list[str]]:
    """The contributions ordered by edge, each edge's model of a round once, and what a person should know of that."""
    if not contributions:
        raise InvalidInput("There is no model to fuse: every edge's model is missing or was left out.")
    counted: dict[tuple[str, int], Contribution] = {}
    notes = []
    for one in sorted(contributions, key=lambda c: (c.edge, c.round, c.sha256, str(c.path))):
        if (one.edge, one.round) in counted:
            notes.append(f"{one.edge} delivered round {one.round} more than once: one of its models is counted.")
        else:
            counted[one.edge, one.round] = one
    return list(counted.values()), notes
