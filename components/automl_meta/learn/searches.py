"""The searches of the trace, as far as they can be believed: devices wrote them."""

import hashlib
from typing import NamedTuple

import numpy as np

from cloud.searches import trace
from cloudedge.automl.meta.features import features
from cloudedge.automl.screen import broken
from cloudedge.documents.automl import TraceRow
from cloudedge.errors import InvalidInput
from cloudedge.store import Store
from components.automl_meta.records import DeviceSearches

_ONE_OF = 5
"""Searches of which one is held out."""


class Searches(NamedTuple):
    """What there is in the trace.

    Attributes:
        rows: Searches.
        passed_over: Keys of what is not believed, each with why.
    """

    rows: list[TraceRow]
    passed_over: dict[str, str]

    def by_device(self) -> dict[str, DeviceSearches]:
        """How many each device has had, and when."""
        found: dict[str, list[TraceRow]] = {}
        for row in self.rows:
            found.setdefault(row.device, []).append(row)
        return {
            name: DeviceSearches(
                meta=sum(row.by == "meta" for row in rows),
                tpe=sum(row.by == "tpe" for row in rows),
                nothing=sum(row.best is None for row in rows),
                first=min(row.state.at for row in rows),
                last=max(row.state.at for row in rows),
            )
            for name, rows in sorted(found.items())
        }


def read(store: Store) -> Searches:
    """Read the trace."""
    found = Searches([], {})
    for key, row in trace.entries(store):
        fault = "it cannot be read, or is not the search that belongs there" if row is None else _fault(row)
        if fault:
            found.passed_over[key] = fault
        elif row:
            found.rows.append(row)
    return found


def is_held_out(row: TraceRow) -> bool:
    """Whether no meta model ever learns from a search: by its id alone, so that each of them is judged on the same ones."""
    return int.from_bytes(hashlib.sha256(row.id.encode()).digest()[:8]) % _ONE_OF == 0


def _fault(row: TraceRow) -> str:
    """Why a search cannot have been as it says; empty: it can."""
    if row.best is None:
        return ""
    if row.best >= len(row.trials):
        return f"its best trial is number {row.best} of {len(row.trials)}"
    best = row.trials[row.best]
    if best.accuracy is None or best.measured is None:
        return "its best trial was not trained and measured"
    try:
        exceeded = broken(best.measured, row.limits)
    except InvalidInput:
        return "its best trial's energy is limited, and was not measured"
    if exceeded:
        return f"its best trial breaks its limit of {exceeded[0]}"
    if not np.isfinite(features(row.state, row.limits, row.reference)).all():
        return "its figures are no finite numbers"
    return ""
