"""Meta models in the store: what leads searches on devices.

automl/files/<digest>.safetensors|json    weights and cards, each once; they stay as long as they may lead a search
automl/newest.json                        the newest meta model that passed its gate
automl/refused.json                       the newest one that did not
runs/<run>/trained.json                   the one that a run has trained
"""

import contextlib
import hashlib
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from cloud.keys import run_key
from cloud.stores.recorded import recorded
from cloudedge.automl.meta.files import CARD, SHIPPED, WEIGHTS
from cloudedge.documents import parse
from cloudedge.documents.base import Document, Part
from cloudedge.documents.report import Count
from cloudedge.errors import Conflict, InvalidDocument, InvalidInput, NotFound
from cloudedge.files import atomic_copy, disk_errors
from cloudedge.names import SHA256, checked_name
from cloudedge.store import Store

_NEWEST, _REFUSED = "automl/newest.json", "automl/refused.json"
_FILES = "automl/files"
_MOST_BYTES = 64 * 1024


class StoredFile(Part):
    """A file in the store."""

    key: str = Field(max_length=1024, description="Its key.")
    sha256: str = Field(pattern=SHA256, description="Its digest.")
    size: int = Field(ge=1, description="Its length in bytes.")


class MetaModelRecord(Document):
    """A meta model in the store."""

    called: ClassVar[str] = "record of a meta model"

    run: str = Field(default="", description="Run that trained it; empty: it is the one that comes with cloudedge.")
    weights: StoredFile = Field(description="Its weights.")
    card: StoredFile = Field(description="What it says of itself.")
    searches: Count = Field(default=0, description="Searches that were in the trace when it was trained.")
    passed: bool = Field(default=True, description="Whether it passed its run's gate.")


def newest(store: Store) -> MetaModelRecord | None:
    """The newest meta model that passed its gate; None: no run has trained one.

    Raises:
        InvalidInput: what stands there cannot be read.
    """
    try:
        return _find(store, _NEWEST)
    except InvalidDocument as error:
        raise InvalidInput(
            f"{error}\nDelete {_NEWEST} from the store: until a meta model is trained again, the one that comes with cloudedge "
            "leads."
        ) from error


def newest_refused(store: Store) -> MetaModelRecord | None:
    """The newest one that did not pass; None: there is none."""
    return _find(store, _REFUSED)


def of_run(store: Store, run_id: str) -> MetaModelRecord:
    """The meta model that a run has trained.

    Raises:
        InvalidInput: this is no id of a run.
        NotFound: the run has trained none that passed its gate.
    """
    found = _find(store, _key_of(run_id))
    if found and found.passed:
        return found
    there = newest(store)
    if there and there.run == run_id:
        return there  # Its run was deleted, and it leads all the same.
    why = "did not pass its gate" if found else "is not in the store"
    known = f", {there.run!r} for the newest one" if there else ""
    raise NotFound(
        f"A meta model of the run {run_id!r} {why}. Give 'shipped' for the one that comes with cloudedge{known}, or "
        "nothing: then the newest one that passed leads, or else the shipped one."
    )


def shipped(store: Store) -> MetaModelRecord:
    """The one that comes with cloudedge, which is put into the store if it is not there."""
    return put(store, SHIPPED)


def put(store: Store, folder: Path, *, run: str = "", searches: int = 0, passed: bool = True) -> MetaModelRecord:
    """Put a meta model's files into the store, where it leads nothing yet; repeated, it changes nothing.

    Args:
        store: Where to.
        folder: Its two files.
        run: Run that trained it; empty: it comes with cloudedge.
        searches: How many were in the trace.
        passed: Whether it passed its gate.
    """
    return MetaModelRecord(
        run=run,
        weights=_put_file(store, folder / WEIGHTS),
        card=_put_file(store, folder / CARD),
        searches=searches,
        passed=passed,
    )


def settle(store: Store, record: MetaModelRecord) -> None:
    """Have a meta model that passed its gate lead searches from now on, and keep what became of one that did not.

    A run does that once: repeated later, it does not take the place of a newer one.

    Args:
        store: Where its files are.
        record: A meta model that a run has trained.
    """
    key = _key_of(record.run)
    if store.stat(key) is None:
        store.put(_NEWEST if record.passed else _REFUSED, record.to_json())
        store.put(key, record.to_json())


def bring(store: Store, record: MetaModelRecord, folder: Path) -> None:
    """Bring a meta model's files into a folder.

    Raises:
        NotFound: they are not in the store.
        InvalidModel: they are others than were put there.
    """
    for file, name in ((record.weights, WEIGHTS), (record.card, CARD)):
        with recorded(store, file.key, file.sha256) as path:
            atomic_copy(path, folder / name)


def _key_of(run_id: str) -> str:
    return run_key(checked_name(run_id, "a run"), "trained.json")


def _put_file(store: Store, path: Path) -> StoredFile:
    with disk_errors(path):
        content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    key = f"{_FILES}/{digest}{path.suffix}"
    with contextlib.suppress(Conflict):
        store.put(key, content, once=True)
    return StoredFile(key=key, sha256=digest, size=len(content))


def _find(store: Store, key: str) -> MetaModelRecord | None:
    try:
        return parse(MetaModelRecord, store.get(key, _MOST_BYTES), key, _MOST_BYTES, stored=True)
    except NotFound:
        return None
