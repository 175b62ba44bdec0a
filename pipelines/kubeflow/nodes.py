"""Names of the nodes that a run has in Argo, from which their pods and messages are told apart."""

import re
from collections.abc import Collection
from typing import NamedTuple

_ROOT = "root"
_DRIVER = "-driver"
_SEPARATOR = re.compile(r"\.(?![^(]*\))")
"""Between two names; what a loop is about may have dots too, and stands in parentheses."""
_TRY = re.compile(r"\((\d+)\)")


class Node(NamedTuple):
    """A node of a Workflow.

    Argo numbers what it may try again, at each depth, and what is done in turns by their number and item: `name(0).root(0)
    .train(1).loop(2:item)(0).executor(0)`.

    Attributes:
        path: Names from the pipeline's root down, without it; turns keep their parentheses.
        tries: Which try it is, from 0, for each name that has one; of equal paths, the newest has the highest.
    """

    path: tuple[str, ...]
    tries: tuple[int, ...]

    @property
    def prepares(self) -> bool:
        """Whether it is Kubeflow's own, which prepares a task; a run as a whole has one too."""
        return _bare(self.path[-1]).endswith(_DRIVER)

    def task_of(self, keys: Collection[str]) -> str:
        """The outermost of some tasks that it belongs to, be it that it prepares it; empty if none."""
        names = map(_bare, self.path)
        return next((key for name in names for key in (name, name.removesuffix(_DRIVER)) if key in keys), "")


def node(name: str) -> Node:
    """Understand a name, whatever it is."""
    tries = tuple(map(int, _TRY.findall(name)))
    workflow, *path = _SEPARATOR.split(_TRY.sub("", name))
    if _ROOT in path:
        path = path[path.index(_ROOT) + 1 :] or [_ROOT]
    return Node(tuple(path) or (workflow,), tries)


def driver_of(key: str) -> str:
    """The name of what prepares a task."""
    return key + _DRIVER


def prepared_by(name: str) -> str:
    """The task that something of this name prepares; empty if it prepares none."""
    return name.removesuffix(_DRIVER) if name.endswith(_DRIVER) and name != _ROOT + _DRIVER else ""


def _bare(name: str) -> str:
    return name.partition("(")[0]
