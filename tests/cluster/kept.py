"""What takes minutes to make stays from one session of tests to the next, beside the programs of `tests.cluster.tools`."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock

from tests.cluster.tools import folder

_STAY, _STAY_SECONDS = 2, 3600
"""Of each kind, the last used, a change and what was before it; and whatever another checkout may be using."""


def kept(kind: str, made_of: str, make: Callable[[Path], None]) -> Path:
    """What `make` makes, a file or a folder, unless it is there; by whichever process comes first.

    Args:
        kind: What it is; without a dash.
        made_of: Whatever decides what it is like.
        make: Makes it at the path that it is given.
    """
    place = _place()
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{kind}-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
    with FileLock(place / f".{kind}.lock"):
        if not path.exists():
            for half in place.glob(f".{kind}-*"):  # Of a process that was killed.
                _remove(half)
            fresh = place / f".{path.name}"
            make(fresh)
            fresh.replace(path)
        os.utime(path)
        for old in _newest_first(kind)[_STAY:]:
            if time.time() - old.stat().st_mtime > _STAY_SECONDS:
                _remove(old)
    return path


def last_kept(kind: str) -> Path | None:
    """What of a kind was used last, to make the next one of; nothing: there is none yet."""
    return next(iter(_newest_first(kind)), None)


def digest_of(paths: Iterable[Path]) -> str:
    """One digest of files, and of all sources in folders; their names count too."""
    digest = hashlib.sha256()
    for path in paths:
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        for file in files:
            if "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(path.parent)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _place() -> Path:
    return folder() / "images"


def _newest_first(kind: str) -> list[Path]:
    return sorted(_place().glob(f"{kind}-*"), key=lambda each: each.stat().st_mtime, reverse=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
