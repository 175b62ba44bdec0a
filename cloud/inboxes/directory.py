"""Inboxes as directories, written exactly as kubelet writes a ConfigMap mount."""

import contextlib
import fcntl
import logging
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from cloud.inboxes.base import MakeOrders, UnusableInbox, anew, parsed, write_orders
from cloudedge.documents import Inbox
from cloudedge.errors import NotFound, StoreFailed
from cloudedge.files import disk_errors
from cloudedge.mount import DATA, read_mount, write_mount
from cloudedge.names import IN_WORDS, NAME, checked_name
from cloudedge.places import shown_path

_log = logging.getLogger(__name__)

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
        """See `Inboxes.enroll`; in the place of an inbox that cannot be used an empty one is put.

        Raises:
            UnusableInbox: a newer version of cloudedge wrote it.
        """
        folder = self.root / checked_name(edge, "an edge")
        with self._locked(edge):
            if not (folder / DATA).is_symlink():
                write_mount(folder, {FILE: Inbox(edge=edge, generation=0).to_json()})
            elif isinstance(found := self._look(edge), UnusableInbox):
                if found.newer:
                    raise found
                _log.warning("%s\nAn empty one takes its place now; whatever orders it held are lost.", found)
                write_mount(folder, {FILE: anew(edge, self._text(edge)).to_json()})

    def edges(self) -> list[str]:
        """See `Inboxes.edges`."""
        return [name for name in self._mounts() if re.fullmatch(NAME, name)]

    def all(self) -> Iterator[Inbox | UnusableInbox]:
        """See `Inboxes.all`."""
        for name in self._mounts():
            if re.fullmatch(NAME, name):
                with contextlib.suppress(NotFound):  # It was removed since.
                    yield self._look(name)
            else:
                path = shown_path(self.root / name)
                yield UnusableInbox("", path, [f"its name is no edge's: {IN_WORDS[NAME]}"], "Take it away from there.")

    def read(self, edge: str) -> Inbox:
        """See `Inboxes.read`."""
        found = self._look(checked_name(edge, "an edge"))
        if isinstance(found, UnusableInbox):
            raise found
        return found

    def update(self, edge: str, make_orders: MakeOrders) -> Inbox:
        """See `Inboxes.update`."""
        self.read(edge)  # No lock is made for an edge that is not enrolled.
        with self._locked(edge):
            inbox = self.read(edge)
            next_inbox = write_orders(inbox, make_orders)
            if next_inbox is None:
                return inbox
            write_mount(self.root / edge, {FILE: next_inbox.to_json()})
            return next_inbox

    def nudging(self, edges: Collection[str], accepted: Callable[[str], bool]) -> AbstractContextManager[None]:
        """See `Inboxes.nudging`; what is written here has arrived."""
        return nullcontext()

    def _mounts(self) -> list[str]:
        # The link itself is looked at: what it leads to is replaced now and then.
        return sorted(path.name for path in self.root.glob("*") if (path / DATA).is_symlink())

    def _look(self, edge: str) -> Inbox | UnusableInbox:
        """An edge's inbox, or why it cannot be used.

        Raises:
            NotFound: the edge is not enrolled.
        """
        folder = self.root / edge
        way_out = f"The next 'cloudedge run' with this edge puts an empty one in its place; remove {folder} to forget the edge."
        try:
            return parsed(edge, read_mount(folder, FILE), str(folder / FILE), way_out)
        except NotFound as error:
            if (folder / DATA).is_symlink():
                return UnusableInbox(edge, str(folder), [str(error)], way_out)
            known = ", ".join(self.edges()) or "none"
            raise NotFound(f"No edge {edge!r} is enrolled; enrolled are: {known}.") from None
        except StoreFailed as error:
            return UnusableInbox(edge, str(folder), [str(error)], way_out)

    def _text(self, edge: str) -> bytes:
        """What stands in an edge's inbox; empty if that cannot be read."""
        try:
            return read_mount(self.root / edge, FILE)
        except (NotFound, StoreFailed):
            return b""

    @contextmanager
    def _locked(self, edge: str) -> Iterator[None]:
        lock = self.root / f".{edge}.lock"
        with disk_errors(lock):
            self.root.mkdir(parents=True, exist_ok=True)
            file = lock.open("w")
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
