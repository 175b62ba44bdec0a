"""Samples in the object store: where a cluster's pipeline steps find those of the cloud, as a laptop's do in a folder.

datasets/<name>/<path of each file below the folder that was put>
"""

from collections.abc import Iterator
from pathlib import Path

from cloudedge.errors import NotFound
from cloudedge.files import atomic_copy, atomic_write
from cloudedge.names import checked_name
from cloudedge.store import Store, checked_key

SCHEME = "store:"
_ROOT = "datasets"
_WHOLE = ".whole"


def put(store: Store, name: str, source: Path) -> Iterator[tuple[Path, int]]:
    """Put the files of a folder, or one file, into the store; what was there under the name before is replaced.

    Yields:
        Each file and its size in bytes, once the store has it.

    Raises:
        NotFound: there is no such folder or file.
        InvalidInput: a name cannot be a key; nothing was put.
    """
    prefix = f"{_ROOT}/{checked_name(name, 'a dataset')}"
    if source.is_file():
        files = {f"{prefix}/{source.name}": source}
    else:
        found = (path for path in sorted(source.rglob("*")) if path.is_file())
        paths = {path: path.relative_to(source) for path in found}
        hidden = {path for path, inner in paths.items() if any(part.startswith(".") for part in inner.parts)}
        files = {f"{prefix}/{inner.as_posix()}": path for path, inner in paths.items() if path not in hidden}
    if not files:
        raise NotFound(f"There is no file in {source}: name the folder or file that holds the samples.")
    for key in files:
        checked_key(key)
    for entry in list(store.list(prefix)):
        if entry.key not in files:
            store.delete(entry.key)
    for key, path in files.items():
        store.put_file(key, path)
        yield path, path.stat().st_size


def names(store: Store) -> tuple[str, ...]:
    """Names of all datasets, sorted."""
    return store.folders(_ROOT)


def delete(store: Store, name: str) -> int:
    """Remove a dataset.

    Returns:
        Number of files removed.

    Raises:
        NotFound: there is none of this name.
    """
    keys = [entry.key for entry in store.list(f"{_ROOT}/{checked_name(name, 'a dataset')}")]
    if not keys:
        raise _missing(store, name)
    for key in keys:
        store.delete(key)
    return len(keys)


def local_folder(store: Store, address: str, scratch: Path) -> Path:
    """Where the samples at an address are on this machine.

    Args:
        store: Where datasets are.
        address: A path, or store:NAME.
        scratch: Folder that a dataset is brought to; one that is there whole is not brought again.

    Raises:
        NotFound: there is no dataset of that name.
        StoreFailed: the store or the disk does not do its work.
    """
    if not address.startswith(SCHEME):
        return Path(address)
    name = checked_name(address.removeprefix(SCHEME), "a dataset")
    folder = scratch / _ROOT / name
    whole = folder.with_name(f"{name}{_WHOLE}")
    if whole.exists():
        return folder
    prefix = f"{_ROOT}/{name}"
    count = 0
    for entry in store.list(prefix):
        with store.local(entry.key) as path:
            atomic_copy(path, folder / entry.key.removeprefix(f"{prefix}/"))
        count += 1
    if not count:
        raise _missing(store, name)
    atomic_write(whole, b"")
    return folder


def _missing(store: Store, name: str) -> NotFound:
    known = ", ".join(names(store)) or "none"
    return NotFound(
        f"There is no dataset {name!r} in the store; there are: {known}. Put it there: cloudedge data put {name} FOLDER"
    )
