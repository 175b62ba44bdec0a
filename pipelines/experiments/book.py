"""What a sweep remembers from one call to the next, beside its runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from cloudedge.documents.base import Document, parse
from cloudedge.files import atomic_write, disk_errors

_MOST_BYTES = 64 * 1024 * 1024


class Pages(Document):
    """What is in a book."""

    called = "memory of a sweep: remove it, and the sweep begins anew with the runs that there are"

    asked: tuple[dict[str, Any], ...] = Field(default=(), description="Values that Optuna chose, in this order.")
    parent: str = Field(default="", description="MLflow's id of the sweep.")
    told: dict[str, str] = Field(default_factory=dict, description="MLflow's id of each run that it shows below the sweep.")
    over: bool = Field(default=False, description="Whether MLflow knows that the sweep is over.")


class Book:
    """One sweep's, in a file.

    Attributes:
        id: Id of the sweep.
    """

    def __init__(self, path: Path) -> None:
        """Read it, if it is there.

        Raises:
            InvalidDocument: it is malformed.
            StoreFailed: it cannot be read.
        """
        self.id, self._path = path.stem, path
        self._pages = Pages()
        with disk_errors(path):
            if path.exists():
                self._pages = parse(Pages, path.read_bytes(), str(path), _MOST_BYTES)

    @property
    def asked(self) -> tuple[dict[str, Any], ...]:
        """Values that Optuna chose, in this order."""
        return self._pages.asked

    def ask(self, values: Mapping[str, Any]) -> None:
        """Note what Optuna chose.

        Raises:
            StoreFailed: the disk does not take it.
        """
        self._write(asked=(*self._pages.asked, dict(values)))

    @property
    def parent(self) -> str:
        """MLflow's id of the sweep; empty: it was not told of it."""
        return self._pages.parent

    @property
    def told(self) -> Mapping[str, str]:
        """MLflow's id of each run that it shows below the sweep."""
        return self._pages.told

    @property
    def over(self) -> bool:
        """Whether MLflow knows that the sweep is over."""
        return self._pages.over

    def tell(self, parent: str, told: Mapping[str, str], *, over: bool) -> None:
        """Note what MLflow was told.

        Raises:
            StoreFailed: the disk does not take it.
        """
        self._write(parent=parent, told=dict(told), over=over)

    def _write(self, **changes: Any) -> None:
        self._pages = self._pages.model_copy(update=changes)
        with disk_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(self._path, self._pages.to_json())
