"""Inboxes as directories, written exactly as kubelet writes a ConfigMap mount."""

import contextlib
import fcntl
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from cloud.inboxes.base import MakeOrders, write_orders
from cloudedge.documents import Inbox, parse
from cloudedge.errors import NotFound
from cloudedge.files import disk_errors
from cloudedge.mount import DATA, read_mount, write_mount
from cloudedge.names import checked_name

FILE = "inbox.json"


class DirectoryInboxes:
    """One mounted directory per edge below one folder."""

    def __init__(self, root: Path) -> None:
        """Keep the inboxes below `root`."""
        self.root = root

    @property
    def where(self) -> None:
        """See `Inboxes.where`."""
        return None

    def enroll(self, edge: str) -> None:
        """See `Inboxes.enroll`."""
        folder = self.root / checked_name(edge, "an edge")
        with self._locked(edge):
            if not (folder / DATA).is_symlink():
                write_mount(folder, {FILE: Inbox(edge=edge, generation=0).to_json()})

    def edges(self) -> list[str]:
        """See `Inboxes.edges`."""
        # The link itself is looked at: what it leads to is replaced now and then.
        return sorted(path.name for path in self.root.glob("*") if (path / DATA).is_symlink())

    def all(self) -> Iterator[Inbox]:
        """See `Inboxes.all`."""
        for edge in self.edges():
            with contextlib.suppress(NotFound):  # It was removed since.
                yield self.read(edge)

    def read(self, edge: str) -> Inbox:
        """See `Inboxes.read`."""
        folder = self.root / checked_name(edge, "an edge")
        try:
            return parse(Inbox, read_mount(folder, FILE), str(folder / FILE), stored=True)
        except NotFound:
            known = ", ".join(self.edges()) or "none"
            raise NotFound(f"No edge {edge!r} is enrolled; enrolled are: {known}.") from None

    def update(self, edge: str, make_orders: MakeOrders) -> Inbox:
        """See `Inboxes.update`."""
        self.read(edge)  # No lock is made for an edge that is not enrolled.
        with self._locked(edge):
            inbox = self.read(edge)
            following = write_orders(inbox, make_orders)
            if following is None:
                return inbox
            write_mount(self.root / edge, {FILE: following.to_json()})
            return following

    def nudging(self, edges: Collection[str], accepted: Callable[[str], bool]) -> AbstractContextManager[None]:
        """See `Inboxes.nudging`; what is written here has arrived."""
        return nullcontext()

    @contextmanager
    def _locked(self, edge: str) -> Iterator[None]:
        lock = self.root / f".{edge}.lock"
        with disk_errors(lock):
            self.root.mkdir(parents=True, exist_ok=True)
            file = lock.open("w")
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
