"""What the edge server wants that outlasts a restart: the brand that runs, and what is being taught."""

import logging
import threading
from pathlib import Path

from pydantic import Field

from cloudedge.documents.base import Document, parse
from cloudedge.documents.line import Brand, Teach
from cloudedge.errors import InvalidDocument, StoreFailed
from cloudedge.files import atomic_write

_log = logging.getLogger(__name__)


class Kept(Document):
    """What is on disk of it."""

    brand: Brand | None = None
    teach: Teach | None = None
    taught: int = Field(default=0, ge=0)
    """Images that were taught of it so far."""


class Wishes:
    """The brand, and the examples that are still to be taken.

    Attributes:
        trouble: Why they would not outlast a restart; empty: they would.
    """

    def __init__(self, path: Path, brand: str) -> None:
        """Take up what was wanted before.

        Args:
            path: Where it is kept.
            brand: What runs where nobody has said so yet.
        """
        self.trouble = ""
        self._path = path
        self._lock = threading.Lock()
        self._disk = threading.Lock()  # The inspection never waits for it.
        self._first = brand
        try:
            self._kept = parse(Kept, path.read_bytes(), str(path), stored=True)
        except FileNotFoundError:
            self._kept = Kept()
        except (InvalidDocument, OSError) as error:
            _log.warning("which brand ran is lost: %s", error)
            self._kept = Kept()
        self._written = self._kept

    @property
    def brand(self) -> str:
        """What runs on the line; empty: nothing."""
        brand = self._kept.brand
        return self._first if brand is None else brand

    @property
    def taught(self) -> tuple[str, int]:
        """What is taught, or was last, by its id, and how many images were taken of it so far."""
        kept = self._kept
        return (kept.teach.id, kept.taught) if kept.teach else ("", 0)

    def use_brand(self, brand: str) -> None:
        """Something else runs from now on."""
        with self._lock:
            self._kept = self._kept.model_copy(update={"brand": brand})
        self.keep()

    def teach(self, asked: Teach) -> None:
        """The next images of a brand are examples, in place of what was taught before; the same wish again changes nothing."""
        with self._lock:
            if self._kept.teach is not None and self._kept.teach.id == asked.id:
                return
            self._kept = self._kept.model_copy(update={"teach": asked, "taught": 0})
        self.keep()

    def label_of_next(self, brand: str) -> str:
        """What the next image of a brand is an example of, and one less is to come; empty: of nothing."""
        kept = self._kept
        if kept.teach is None or kept.teach.brand != brand or kept.taught >= kept.teach.count:
            return ""
        with self._lock:
            kept = self._kept
            if kept.teach is None or kept.teach.brand != brand or kept.taught >= kept.teach.count:
                return ""
            self._kept = kept.model_copy(update={"taught": kept.taught + 1})
        return kept.teach.label

    def keep(self) -> None:
        """Write down what has changed since."""
        with self._disk:
            kept = self._kept
            if kept is self._written:
                return
            try:
                atomic_write(self._path, kept.to_json())
            except StoreFailed as error:
                self.trouble = str(error)
            else:
                self.trouble = ""
                self._written = kept
