"""Where runs are: in a laptop's home, or on a cluster that the environment or somebody names."""

import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cloud.inboxes import Inboxes
from cloudedge.errors import NotFound
from cloudedge.store import DirectoryStore, Store
from pipelines.laptop.home import DEFAULT, Home

if TYPE_CHECKING:
    from cloud.settings import Settings

_PATIENCE_SECONDS = "10"
"""A person who waits is told sooner than a step that has all night."""


class Target(NamedTuple):
    """Runs, and the edges that work for them."""

    store: Store
    inboxes: Inboxes
    home: Home | None
    """Whose they are on a laptop."""

    @property
    def cluster(self) -> dict[str, str] | None:
        """Which cluster its edges are in, for programs; none on a laptop."""
        where = self.inboxes.where
        return asdict(where) if where else None

    def tell_cluster(self) -> None:
        """Tell a person which cluster's edges were meant, beside what the command says."""
        if self.inboxes.where:
            print(f"The edges are those in {self.inboxes.where}.", file=sys.stderr)

    def where(self, key: str) -> str:
        """An object's place, for a person: its file, or its key and the cluster's store."""
        if isinstance(self.store, DirectoryStore):
            return str(self.store.root / key)
        return f"{key} in {os.environ['CLOUDEDGE_STORE']}"


def open_target(home: Path | None) -> Target:
    """The home if one is given; else the cluster of CLOUDEDGE_STORE, if that is set; else the home in this folder.

    Raises:
        NotFound: nothing has run in that home yet.
        InvalidInput: the environment names no cluster rightly.
    """
    if home is None and "CLOUDEDGE_STORE" in os.environ:
        return cluster_target()
    found = Home(home or DEFAULT)
    if not found.store.root.is_dir():
        raise NotFound(
            f"Nothing has run in {home or DEFAULT} yet: run a task first (cloudedge demo), name another folder with --home, "
            "or set CLOUDEDGE_STORE and CLOUDEDGE_INBOXES to those of a cluster."
        )
    return Target(found.store, found.inboxes, found)


def cluster_target(**named: str) -> Target:
    """A cluster.

    Args:
        named: What names it in the environment's place: store, store_for_edges, inboxes, tracking_uri.

    Raises:
        InvalidInput: neither names it, or not rightly.
    """
    settings = _settings(**named)
    return Target(settings.open_store(), settings.open_inboxes(), None)


def clusters_store() -> Store | None:
    """The store of the cluster, if the environment names it; who only looks at runs needs no way to the edges.

    Raises:
        InvalidInput: the environment names it wrongly.
    """
    if "CLOUDEDGE_STORE" not in os.environ:
        return None
    return _settings(inboxes=os.environ.get("CLOUDEDGE_INBOXES", "")).open_store()


def _settings(**values: str) -> "Settings":
    from cloud.settings import Settings

    os.environ.setdefault("CLOUDEDGE_SCRATCH", str(Path(tempfile.gettempdir()) / "cloudedge"))
    os.environ.setdefault("CLOUDEDGE_PATIENCE_SECONDS", _PATIENCE_SECONDS)
    return Settings(**values)
