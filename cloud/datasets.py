"""Samples in the object store: where a cluster's pipeline steps find those of the cloud, as a laptop's do in a folder.

datasets/<name>/list.json                 the files of the dataset; written last, so it is visible whole or not at all
datasets/<name>/<digest>/<path>           the files, below the digest of their list: no put overwrites another's

Whoever fetches a dataset holds to one list; what is put meanwhile stands beside it.
"""

import hashlib
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from cloudedge.documents import canonical_json, parse
from cloudedge.documents.base import Document, Part
from cloudedge.errors import InvalidInput, InvalidModel, NotFound
from cloudedge.files import atomic_copy, atomic_write, disk_errors
from cloudedge.names import NAME, SHA256, checked_name, sha256_of
from cloudedge.places import files_below, found_at, shown_path
from cloudedge.store import Store, checked_key

SCHEME = "store:"
_ROOT = "datasets"
_LIST = "list.json"
_WHOLE = ".whole"
_MOST_BYTES = 256 * 1024 * 1024
"""Of a list; one of a million files has about as much."""

_MOST_FAULTS = 20
_MOST_LISTS = 5
"""So often a dataset is fetched anew that is replaced meanwhile."""

_ABANDONED_SECONDS = 86_400.0
"""What was put for this long, and never listed, was interrupted; until then it may be somebody's who puts right now."""


class DatasetFile(Part):
    """A file of samples."""

    path: str = Field(max_length=1024, description="Its path below the folder that was put.")
    sha256: str = Field(pattern=SHA256, description="Digest of its bytes.")
    size: int = Field(ge=0, description="Its length in bytes.")


class Dataset(Document):
    """What a dataset consists of. Written after its files, as its commit mark."""

    files: tuple[DatasetFile, ...] = Field(min_length=1, description="All files, sorted by path.")


def put(store: Store, name: str, source: Path) -> Iterator[tuple[Path, int]]:
    """Put the files of a folder, or one file, into the store; in the end it takes the place of what had the name before.

    Interrupted and put again, it sends only what is missing.

    Of a folder, the files that are read for samples: no hidden ones, but those of linked folders.

    Yields:
        Each file and its size in bytes, once the store has it. The dataset is visible once all were yielded.

    Raises:
        NotFound: there is no such folder or file.
        InvalidInput: a file cannot be read or has a name that cannot be a key, all of which are named; or one was changed
            meanwhile. What had the name before stays.
    """
    prefix = _prefix(name)
    paths = _files_of(source)
    dataset = Dataset(files=tuple(_described(path, key) for key, path in sorted(paths.items())))
    files = f"{prefix}/{_digest(dataset)}"
    missing = _missing_of(store, files, dataset)
    for file in dataset.files:
        if file in missing:
            _put_file(store, files, file, paths[file.path])
        yield paths[file.path], file.size
    former = _listed(store, name)
    store.put(f"{prefix}/{_LIST}", dataset.to_json())
    # Whoever put another dataset in the place of one like this meanwhile has removed its files, some of which were not sent.
    for file in _missing_of(store, files, dataset):
        _put_file(store, files, file, paths[file.path])
    _tidy(store, name, former)


def names(store: Store) -> tuple[str, ...]:
    """Names of all datasets, sorted."""
    found = (name for name in store.folders(_ROOT) if re.fullmatch(NAME, name))
    return tuple(name for name in found if store.stat(f"{_ROOT}/{name}/{_LIST}"))


def delete(store: Store, name: str) -> int:
    """Remove a dataset, or what is left of one whose removal or putting was interrupted.

    Returns:
        Number of files removed.

    Raises:
        NotFound: there is none of this name.
    """
    prefix = _prefix(name)
    visible = store.stat(f"{prefix}/{_LIST}") is not None
    store.delete(f"{prefix}/{_LIST}")
    count = store.delete_below(prefix)
    if not visible and not count:
        raise _missing(store, name)
    return count


def require_address(parameter: str, address: str) -> None:
    """Make sure that a pipeline's parameter says where samples are: an empty or a relative one would be the pod's own folder.

    Args:
        parameter: Its name, for the message.
        address: What it says.

    Raises:
        InvalidInput: it says nothing, or a place that depends on where a step happens to work.
    """
    if not address.startswith(SCHEME) and not Path(address).is_absolute():
        raise InvalidInput(
            f"{parameter} is {address!r}: give {SCHEME}NAME, samples in the store (cloudedge data put NAME FOLDER), or the "
            "absolute path of a folder that every step has."
        )


def require(store: Store, name: str) -> None:
    """Make sure that there is a dataset.

    Raises:
        NotFound: there is none of this name.
    """
    if store.stat(f"{_prefix(name)}/{_LIST}") is None:
        raise _missing(store, name)


def require_samples(store: Store, parameter: str, address: str) -> None:
    """Make sure that there is something at an address, without bringing it here.

    Args:
        store: Where datasets are.
        parameter: Name of the pipeline's parameter, for the message.
        address: What it says: a path, or store:NAME.

    Raises:
        InvalidInput: it is no address.
        NotFound: there is no such dataset, folder or file.
    """
    require_address(parameter, address)
    if address.startswith(SCHEME):
        require(store, address.removeprefix(SCHEME))
    elif not Path(address).exists():
        raise NotFound(f"{parameter} is {address!r}, and there is no such folder or file here: correct it.")


def extent(store: Store, address: str) -> tuple[int, int]:
    """Number and bytes of the files at an address, a path or store:NAME."""
    if address.startswith(SCHEME):
        dataset = _listed(store, address.removeprefix(SCHEME))
        sizes = [file.size for file in dataset.files] if dataset else []
    else:
        path = Path(address)
        with disk_errors(path):
            all_found = files_below(path) if path.is_dir() else [found_at(path)]
            sizes = [found.path.stat().st_size for found in all_found if not found.fault]
    return len(sizes), sum(sizes)


def local_folder(store: Store, address: str, scratch: Path) -> Path:
    """Where the samples at an address are on this machine.

    Args:
        store: Where datasets are.
        address: A path, or store:NAME.
        scratch: Folder that a dataset is brought to; one that is there whole is not brought again.

    Raises:
        NotFound: there is no dataset of that name.
        InvalidModel: a file is not the one that was put.
        StoreFailed: the store or the disk does not do its work.
    """
    if not address.startswith(SCHEME):
        return Path(address)
    name = checked_name(address.removeprefix(SCHEME), "a dataset")
    root = scratch / _ROOT / name
    whole = next(root.glob(f"*{_WHOLE}"), None)
    if whole:
        return whole.with_suffix("")
    for _ in range(_MOST_LISTS):
        dataset = _listed(store, name)
        if dataset is None:
            raise _missing(store, name)
        try:
            return _fetched(store, name, dataset, root)
        except NotFound as error:
            if _listed(store, name) == dataset:
                raise
            replaced = error
    raise replaced


def _fetched(store: Store, name: str, dataset: Dataset, root: Path) -> Path:
    """Bring the files of one list here, or find that they are.

    Raises:
        NotFound: a file is not in the store any more.
    """
    digest = _digest(dataset)
    folder = root / digest
    for file in dataset.files:
        key = checked_key(f"{_prefix(name)}/{digest}/{file.path}")
        with store.local(key) as path:
            if path.stat().st_size != file.size or sha256_of(path) != file.sha256:
                raise InvalidModel(
                    f"The object {key!r} is not the file that was put: it was altered in the store. Put the dataset again: "
                    f"cloudedge data put {name} FOLDER"
                )
            atomic_copy(path, folder / file.path)
    atomic_write(folder.with_name(f"{digest}{_WHOLE}"), b"")
    return folder


def _files_of(source: Path) -> dict[str, Path]:
    """Files by their path below the source.

    Raises:
        NotFound: there is none.
        InvalidInput: what cannot be put, all of it.
    """
    files: dict[str, Path] = {}
    faults: list[str] = []
    for one in files_below(source) if source.is_dir() or not source.exists() else [found_at(source)]:
        inner = one.path.name if one.path == source else one.path.relative_to(source).as_posix()
        fault = one.fault or _fault(one.path, inner)
        if fault:
            faults.append(f"  - {shown_path(one.path)} {fault}")
        else:
            files[inner] = one.path
    if faults:
        more = [f"  - and {len(faults) - _MOST_FAULTS} more"] if len(faults) > _MOST_FAULTS else []
        raise InvalidInput("\n".join([f"{shown_path(source)} cannot be put into the store:", *faults[:_MOST_FAULTS], *more]))
    if not files:
        raise NotFound(f"There is no file in {shown_path(source)}: name the folder or file that holds the samples.")
    return files


def _fault(path: Path, inner: str) -> str:
    """Why a file cannot be put."""
    if not os.access(path, os.R_OK):
        return "cannot be read: give this user the right to"
    try:
        checked_key(f"{_ROOT}/{'x' * 53}/{'x' * 32}/{inner}")
    except InvalidInput:
        return "cannot be a key: rename it: use letters, digits, '.', '_' and '-', a letter or digit first"
    return ""


def _missing_of(store: Store, files: str, dataset: Dataset) -> set[DatasetFile]:
    """Files that the store does not have in the folder of a dataset's list."""
    present = {entry.key: entry.size for entry in store.list(files)}
    return {file for file in dataset.files if present.get(f"{files}/{file.path}") != file.size}


def _put_file(store: Store, files: str, file: DatasetFile, path: Path) -> None:
    key = f"{files}/{file.path}"
    store.put_file(key, path)
    if _described(path, file.path) != file:
        store.delete(key)
        raise InvalidInput(f"{str(path)!r} was changed while it was put: put the dataset again once nobody writes there.")


def _described(path: Path, inner: str) -> DatasetFile:
    try:
        return DatasetFile(path=inner, sha256=sha256_of(path), size=path.stat().st_size)
    except OSError as error:
        raise InvalidInput(f"Cannot read {str(path)!r}: {error.strerror}. Nothing was put in the dataset's place.") from None


def _listed(store: Store, name: str) -> Dataset | None:
    key = f"{_prefix(name)}/{_LIST}"
    try:
        return parse(Dataset, store.get(key, _MOST_BYTES), key, _MOST_BYTES)
    except NotFound:
        return None


def _tidy(store: Store, name: str, former: Dataset | None) -> None:
    """Remove what the dataset had before, and what was put long ago and never listed; but nothing that is listed by now."""
    prefix = _prefix(name)
    newest: dict[str, float] = {}
    for entry in store.list(prefix):
        folder = "/".join(entry.key.split("/")[:3])
        newest[folder] = max(newest.get(folder, 0.0), entry.modified)
    replaced = f"{prefix}/{_digest(former)}" if former else ""
    current, listed = _listed(store, name), newest.pop(f"{prefix}/{_LIST}", 0.0)
    if current is not None:
        newest.pop(f"{prefix}/{_digest(current)}", None)
    for folder, modified in newest.items():
        if folder == replaced or listed - modified > _ABANDONED_SECONDS:
            store.delete(folder)
            store.delete_below(folder)


def _prefix(name: str) -> str:
    return f"{_ROOT}/{checked_name(name, 'a dataset')}"


def _digest(dataset: Dataset) -> str:
    return hashlib.sha256(canonical_json(dataset)).hexdigest()[:32]


def _missing(store: Store, name: str) -> NotFound:
    command = f"cloudedge data put {shlex.quote(name)} FOLDER"
    if next(iter(store.list(_prefix(name))), None) is not None:
        return NotFound(
            f"The dataset {name!r} is not there whole: files of it are in the store, but no list of them, as an older version "
            f"put none, or putting them was interrupted. Put it again: {command}"
        )
    known = ", ".join(names(store)) or "none"
    return NotFound(f"There is no dataset {name!r} in the store; there are: {known}. Put it there: {command}")
