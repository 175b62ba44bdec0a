"""No process of ours takes modules from where it happens to be started."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cloudedge.interpreter import environment, python
from tests.digits import digits_task
from tests.traps import ROOMS, lay_traps, lay_traps_on_the_path

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def traps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder to work in and one on the PYTHONPATH."""
    folder = tmp_path_factory.mktemp("traps")
    return {"here": lay_traps(folder / "here"), "path": lay_traps_on_the_path(folder / "path")}


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("cloudedge", ("validate", "{task}")),
        ("cloudedge", ("tasks", "list", "--home", "{nowhere}")),
        ("cloudedge-edge", ("status", "--state", "{nowhere}")),
        ("cloudedge-edge", ("run", "--help")),
    ],
)
def test_a_command_starts_in_a_folder_of_traps(
    traps: dict[str, Path], tmp_path: Path, command: str, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "task.json").write_bytes(digits_task().to_json())
    places = {"task": tmp_path / "task.json", "nowhere": tmp_path / "nowhere"}
    typed = [str(Path(sys.executable).parent / command), *(argument.format(**places) for argument in arguments)]

    variables = {**os.environ, "PYTHONPATH": str(traps["path"])}
    ended = subprocess.run(typed, cwd=traps["here"], env=variables, capture_output=True, text=True, timeout=100)

    assert "was taken from" not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.returncode in (0, 3)


def test_what_a_process_of_ours_starts_is_started_alike(traps: dict[str, Path]) -> None:
    variables = {**environment(), "PYTHONPATH": ""}
    program = python("edge.workers", "--help")

    ended = subprocess.run(program, cwd=traps["here"], env=variables, capture_output=True, text=True, timeout=100)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_there_is_one_way_to_start_a_python() -> None:
    starts = {
        str(file.relative_to(ROOT))
        for room in ROOMS
        for file in (ROOT / room).rglob("*.py")
        if re.search(r"""sys\.executable,? *[*"']""", file.read_text())
    }

    assert starts == {"cloudedge/interpreter.py"}


@pytest.mark.parametrize(
    ("path", "kept"),
    [(f"{ROOT}{os.pathsep}/elsewhere", True), (f"{ROOT}/", True), ("/elsewhere", False), ("", False), (os.pathsep, False)],
)
def test_a_path_stays_only_if_it_has_cloudedge_itself(monkeypatch: pytest.MonkeyPatch, path: str, kept: bool) -> None:
    monkeypatch.setenv("PYTHONPATH", path)

    assert environment().get("PYTHONPATH") == (path if kept else None)


def test_a_user_without_a_name_has_a_home_that_libraries_can_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment().get("HOME") == os.environ.get("HOME")

    monkeypatch.delenv("HOME")
    assert "HOME" not in environment()  # It is known by the user's name.

    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    monkeypatch.setenv("HOME", environment()["HOME"])
    assert not Path.home().exists()
