"""Inboxes as directories, written exactly as kubelet writes a ConfigMap mount."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudedge.documents import Inbox, parse
from cloudedge.errors import NotFound
from cloudedge.files import disk_errors
from cloudedge.mount import write_mount
from cloudedge.names import checked_name
from components.shared.inboxes.base import MakeOrders, write_orders

FILE = "inbox.json"


class DirectoryInboxes:
    """One mounted directory per edge below one folder."""

    def __init__(self, root: Path) -> None:
        """Keep the inboxes below `root`."""
        self.root = root

    def enroll(self, edge: str) -> None:
        """See `Inboxes.enroll`."""
        checked_name(edge, "an edge")
        with self._locked(edge):
            if not (self.root / edge / FILE).exists():
                self._write(Inbox(edge=edge, generation=0))

    def edges(self) -> list[str]:
        """See `Inboxes.edges`."""
        return sorted(path.parent.name for path in self.root.glob(f"*/{FILE}"))

    def read(self, edge: str) -> Inbox:
        """See `Inboxes.read`."""
        path = self.root / checked_name(edge, "an edge") / FILE
        try:
            return parse(Inbox, path.read_bytes(), str(path))
        except FileNotFoundError:
            known = ", ".join(self.edges()) or "none"
            raise NotFound(f"No edge {edge!r} is enrolled; enrolled are: {known}.") from None

    def update(self, edge: str, make_orders: MakeOrders) -> Inbox:
        """See `Inboxes.update`."""
        with self._locked(edge):
            inbox = self.read(edge)
            following = write_orders(inbox, make_orders)
            if following is None:
                return inbox
            self._write(following)
            return following

    def _write(self, inbox: Inbox) -> None:
        folder = self.root / inbox.edge
        with disk_errors(folder):
            write_mount(folder, {FILE: inbox.to_json()})

    @contextmanager
    def _locked(self, edge: str) -> Iterator[None]:
        lock = self.root / f".{edge}.lock"
        with disk_errors(lock):
            self.root.mkdir(parents=True, exist_ok=True)
            file = lock.open("w")
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
