"""Reads what the cloud wants of this edge from a directory that is mounted as kubelet mounts a ConfigMap.

A look costs a readlink and a stat. What is read is read below the directory that `..data` pointed to, so two states never mix.
After edgecore has restarted, the mount of a running pod is dead for good: what is mounted is a removed directory, empty for
ever. A removed directory, or an inbox that was there and is gone, therefore tells the runner to end, and the node to start it
anew with a good mount.
"""

import time
from pathlib import Path

from cloudedge.documents import Inbox, parse
from cloudedge.documents.order import MAX_INBOX_BYTES
from cloudedge.mount import DATA

FILE = "inbox.json"
_GONE_SECONDS = 1.0
"""How long an inbox must be missing before it counts as dead: writers that are no kubelet may take a moment."""


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

    def poll(self) -> Inbox | None:
        """The inbox, if it has changed since it was last taken.

        Raises:
            InvalidDocument: it is malformed; it is not looked at again until it changes.
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
        return parse(Inbox, content, str(self._directory / FILE), MAX_INBOX_BYTES, stored=True)

    def _removed(self) -> bool:
        """Whether the directory is only there for us, who have it mounted."""
        try:
            return self._directory.stat().st_nlink == 0
        except OSError:
            return False

    def retry(self) -> None:
        """Take the same content again at the next look: it could not be put into effect."""
        self._taken = ""
