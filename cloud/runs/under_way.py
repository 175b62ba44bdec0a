"""Which runs are under way, so that who looks after them asks nothing about those that are over.

reaper/under-way/<run>    written when a step of the run begins, removed by the reaper once the run is over
reaper/looked-through     written once the runs of a store that knows no such list were all put on it
"""

import re

from cloud.runs.run import run_folders
from cloudedge.names import NAME
from cloudedge.store import Store

_LIST = "reaper/under-way"
_LOOKED_THROUGH = "reaper/looked-through"


def enter(store: Store, run: str) -> None:
    """Put a run on the list."""
    store.put(f"{_LIST}/{run}", b"")


def leave(store: Store, run: str) -> None:
    """Take a run from the list; the next step of it that begins puts it there again."""
    store.delete(f"{_LIST}/{run}")


def listed(store: Store) -> set[str]:
    """Ids of the runs on the list: all that are under way, and perhaps some that were not looked at since they ended."""
    if store.stat(_LOOKED_THROUGH) is None:
        for run in run_folders(store):
            enter(store, run)
        store.put(_LOOKED_THROUGH, b"")
    names = (entry.key.removeprefix(f"{_LIST}/") for entry in store.list(_LIST))
    return {name for name in names if re.fullmatch(NAME, name)}
