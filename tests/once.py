"""What takes long to make is made once for all tests, also where they are spread over several processes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills when it is first asked for, by whichever process comes first.

    Processes of one run of all tests (`tests.__main__`) are told where.
    """
    base = factory.getbasetemp()
    root = Path(os.environ.get("CLOUDEDGE_TESTS") or (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base))
    folder, done = root / name, root / f"{name}.done"
    with FileLock(root / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # Where making it failed.
            folder.mkdir()
            make(folder)
            done.touch()
    return folder
