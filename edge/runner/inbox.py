"""Reads what the cloud wants of this edge from a directory that is mounted as kubelet mounts a ConfigMap.

A look costs a readlink and a stat. What is read is read below the directory that `..data` pointed to, so two states never mix.
After edgecore has restarted, the mount of a running pod may be dead for good: what is mounted is a removed directory, empty for
ever. A removed directory, or an inbox that was there and is gone, therefore tells the runner to end, and the node to start it
anew with a good mount.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from cloudedge.documents import Envelope, Order, parse
from cloudedge.documents.order import MAX_INBOX_BYTES, InboxFrame
from cloudedge.errors import InvalidDocument
from cloudedge.mount import DATA
from cloudedge.texts import readable, shortened

FILE = "inbox.json"
_LONGEST_NAME = 200
"""Of what an order that cannot be read calls itself."""

_GONE_SECONDS = 1.0
"""How long an inbox must be missing before it counts as dead: writers that are no kubelet may take a moment."""


@dataclass(frozen=True)
class Wanted:
    """What an inbox says, as far as it is understood here.

    Attributes:
        edge: Edge that it is for.
        generation: The highest one holds.
        orders: The orders that can be read.
        refused: Those that cannot, of which is known whom to tell, and why: as of a kind that this version does not know.
        unreadable: Ids, or what stands in their place, of those of which not even that is known, and why.
    """

    edge: str
    generation: int
    orders: tuple[Order, ...] = ()
    refused: tuple[tuple[Envelope, str], ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()


class InboxDirectory:
    """A mounted inbox."""

    def __init__(self, directory: Path) -> None:
        """Look at a directory, which need not be there."""
        self._directory = directory
        self._taken: str | None = None
        self._missing_since: float | None = None

    @property
    def dead(self) -> bool:
        """Whether no inbox can come here any more."""
        return self._missing_since is not None and time.monotonic() - self._missing_since >= _GONE_SECONDS

    def poll(self) -> Wanted | None:
        """The inbox, if it has changed since it was last taken.

        Raises:
            InvalidDocument: it is malformed as a whole; it is not looked at again until it changes.
        """
        try:
            target = str((self._directory / DATA).readlink())
            path = self._directory / target / FILE
            if target == self._taken:
                path.stat()
                self._missing_since = None
                return None
            with path.open("rb") as file:
                content = file.read(MAX_INBOX_BYTES + 1)
        except OSError:
            if self._missing_since is None and (self._taken is not None or self._removed()):
                self._missing_since = time.monotonic()
            return None
        self._missing_since = None
        self._taken = target
        return understood(content, str(self._directory / FILE))

    def _removed(self) -> bool:
        """Whether the directory is only there for us, who have it mounted."""
        try:
            return self._directory.stat().st_nlink == 0
        except OSError:
            return False

    def retry(self) -> None:
        """Take the same content again at the next look: it could not be put into effect."""
        self._taken = ""


def understood(content: bytes, source: str) -> Wanted:
    """What an inbox's JSON says.

    Raises:
        InvalidDocument: it is malformed as a whole, or two of its orders have the same id.
    """
    frame = parse(InboxFrame, content, source, MAX_INBOX_BYTES, stored=True)
    orders: list[Order] = []
    refused: list[tuple[Envelope, str]] = []
    ids: set[str] = set()
    unreadable: list[tuple[str, str]] = []
    for number, said in enumerate(frame.orders):
        found = said.get("id") if isinstance(said, dict) else None
        name = shortened(readable(found), _LONGEST_NAME) if isinstance(found, str) else f"orders.{number}"
        try:
            envelope = parse(Envelope, json.dumps(said), f"{source}: order {name}", stored=True)
            if envelope.edge != frame.edge:
                raise InvalidDocument(f"{source}: order {name} is for another edge:", [f"edge: found {envelope.edge!r}"])
        except InvalidDocument as error:
            unreadable.append((name, str(error)))
            continue
        if envelope.id in ids:
            raise InvalidDocument(f"{source} is not a valid inbox:", [f"orders: two of them have the id {envelope.id}"])
        ids.add(envelope.id)
        try:
            orders.append(parse(Order, json.dumps(said), f"{source}: order {name}", stored=True))
        except InvalidDocument as error:
            refused.append((envelope, str(error)))
    return Wanted(frame.edge, frame.generation, tuple(orders), tuple(refused), tuple(unreadable))
