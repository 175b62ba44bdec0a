"""Users' packages to test with: written into a folder where this process finds them, as if they were installed."""

from collections.abc import Mapping
from pathlib import Path

import pytest

TASK = """
from typing import Literal
from cloudedge.documents import Task

class AnyTask(Task):
    kind: Literal["{system}"] = "{system}"
    column: str = "state"

TASK = AnyTask
"""
"""Module `task` of a system that asks for nothing but a column."""


def install_system(
    system: str, modules: Mapping[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch, package: str = ""
) -> None:
    """Have a package be a system.

    Args:
        system: The system's name.
        modules: Text of its modules by name.
        folder: Where the package goes; for one test alone, as what is imported stays.
        monkeypatch: Of the test that needs it.
        package: The package's name; by default the system's.
    """
    package = package or system
    (folder / package).mkdir(parents=True)
    for name, text in {"__init__": "", **modules}.items():
        (folder / package / f"{name}.py").write_text(text.replace("{system}", system))
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[cloudedge.systems]\n{system} = {package}\n")
    monkeypatch.syspath_prepend(folder)
