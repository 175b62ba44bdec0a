"""Demos that have ended, each run once for all tests."""

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cloudedge.interpreter import environment, python
from tests.once import made_once


class Ended(NamedTuple):
    """What a demo has left: its home, its summary, and what it said."""

    home: Path
    summary: dict[str, Any]
    said: str


def ended_demo(factory: pytest.TempPathFactory, name: str) -> Ended:
    """A demo that has ended well."""

    def make(folder: Path) -> None:
        command = python("pipelines.cli", "demo", name, "--home", folder / "home", "--json")
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=800, check=False)
        assert done.returncode == 0, done.stderr
        (folder / "summary.json").write_text(done.stdout)
        (folder / "said.txt").write_text(done.stderr)

    folder = made_once(factory, name, make)
    return Ended(folder / "home", json.loads((folder / "summary.json").read_text()), (folder / "said.txt").read_text())
