"""One undisturbed run, which all tests look at."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.digits import digits_task, write_digits
from tests.e2e.laptop import Laptop
from tests.once import made_once


@dataclass(frozen=True)
class Finished:
    """A finished run and its summary."""

    laptop: Laptop
    summary: dict[str, Any]


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples of all runs."""
    return made_once(tmp_path_factory, "samples", write_digits)


@pytest.fixture(scope="session")
def flat(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Finished:
    """A run with a pipeline task for each step, by the command line, which nobody disturbed."""

    def make(folder: Path) -> None:
        command = Laptop(folder, samples, digits_task()).run_task("--flat")
        (folder / "summary.json").write_text(json.dumps(command.end().summary))

    folder = made_once(tmp_path_factory, "flat", make)
    return Finished(Laptop(folder, samples, digits_task()), json.loads((folder / "summary.json").read_text()))


@pytest.fixture
def laptop(tmp_path: Path, samples: Path) -> Iterator[Laptop]:
    """A laptop of which nothing stays at work."""
    laptop = Laptop(tmp_path, samples, digits_task())
    yield laptop
    for process in laptop.processes():
        process.kill()
