"""How a search begins: with limits that hold and caps that the meta model names, or with why there is nothing to search."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from cloudedge.automl.meta.features import Array, features
from cloudedge.automl.screen import BACKLOG_SHARE, REFERENCE, Predictor, Screen, bounds
from cloudedge.automl.searching import everything
from cloudedge.automl.space import Preferences, below
from cloudedge.documents import DataFormat
from cloudedge.documents.automl import Candidate, DeviceState, Hyperparameters, Limits, Loss, NothingFeasible, TraceRow

_MOST_OUTSIDE = 5
"""Features that are named, of those beyond the meta model's range."""


class Caps(Protocol):
    """A meta model."""

    def outside(self, seen: Array) -> tuple[str, ...]:
        """The features that are beyond what it was trained on, in words."""

    def propose(self, seen: Array) -> tuple[Hyperparameters, Preferences]:
        """How large a search may be, and how likely each size is the best one."""


class Begun(NamedTuple):
    """A search that can go on.

    Attributes:
        row: What it sets out with.
        screen: Of the device, with the limits that hold.
    """

    row: TraceRow
    screen: Screen


def begin(
    identity: str,
    device: str,
    state: DeviceState,
    asked: Limits,
    predictor: Predictor,
    data: DataFormat,
    model: Caps | None,
    *,
    lacking: str = "There is no meta model here.",
    loss: Loss = "cross-entropy",
    share: float = BACKLOG_SHARE,
    training: Callable[[Candidate], int] | None = None,
) -> Begun | NothingFeasible:
    """Settle what a search sets out with.

    Args:
        identity: Of the search: its order's.
        device: Name of the device.
        state: Its queue and resources.
        asked: What a model may cost, by itself.
        predictor: Of the device.
        data: What the candidates learn from.
        model: The meta model; none: Optuna leads.
        lacking: Why there is none, where there is none.
        loss: Of a search that Optuna leads.
        share: Of the queue's backlog that an inference has to wait for.
        training: Bytes that a candidate's training takes; none: its limit is not looked at.

    Returns:
        The search; or, in under a second, why it would find nothing.

    Raises:
        InvalidInput: energy is limited and not known, or the samples are no images.
    """
    holding = bounds(asked, state, share)
    screen = Screen(predictor, data, holding.limits, training)
    nothing = screen.nothing_feasible(holding.why)
    if nothing:
        return nothing
    reference = screen.costs(REFERENCE)
    seen = features(state, holding.limits, reference)
    proposed, why = (None, lacking) if model is None else _proposed(model, seen, screen)
    caps, preferences = proposed or (everything().model_copy(update={"loss": loss}), {})
    row = TraceRow(
        id=identity,
        device=device,
        state=state,
        limits=holding.limits,
        reference=reference,
        hyperparameters=caps,
        preferences={name: tuple(shares) for name, shares in preferences.items()},
        by="meta" if proposed else "tpe",
        why=why,
        trials=(),
    )
    return Begun(row, screen)


def taken_up(
    row: TraceRow, predictor: Predictor, data: DataFormat, training: Callable[[Candidate], int] | None = None
) -> Begun:
    """A search that was begun before, with the limits and caps of then; `training` as in `begin`."""
    return Begun(row, Screen(predictor, data, row.limits, training))


def _proposed(model: Caps, seen: Array, screen: Screen) -> tuple[tuple[Hyperparameters, Preferences] | None, str]:
    """What the meta model proposes; or nothing, and why."""
    outside = model.outside(seen)
    if outside:
        more = f", and {len(outside) - _MOST_OUTSIDE} more" if len(outside) > _MOST_OUTSIDE else ""
        return None, f"Beyond what the meta model was trained on: {'; '.join(outside[:_MOST_OUTSIDE])}{more}."
    proposed = model.propose(seen)
    caps, _ = proposed
    if not screen.feasible(below(caps)):
        return None, (
            f"None of the networks of at most {caps.layers} layers, {caps.filters} filters and kernels of {caps.kernel}, as "
            "the meta model names them, keeps the limits; larger ones do."
        )
    return proposed, ""
