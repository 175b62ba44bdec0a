"""A command loads what it uses: the list of commands next to nothing, and none of them what another one needs."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from pipelines.commands.app import COMMANDS, Commands, app
from tests.terminal import Cloudedge

HEAVY = {"kfp", "kfp_server_api", "kubernetes", "matplotlib", "minio", "mlflow", "pandas", "sklearn", "sqlalchemy", "torch"}
"""Libraries that take from a tenth of a second to several seconds."""

PROGRAM = """
import atexit, sys
atexit.register(lambda: print("loaded:", *{name.partition(".")[0] for name in sys.modules}, file=sys.stderr))
from pipelines.cli import main
main()
"""


def loaded(*arguments: object) -> set[str]:
    """Top-level names of what a command has imported when it ends."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return set(ended.stderr.rpartition("loaded:")[2].split())


@pytest.mark.parametrize("words", ["--help", "--version"])
def test_the_list_of_commands_loads_none_of_them(words: str) -> None:
    assert not loaded(words) & (HEAVY | {"numpy", "pydantic", "rich", "safetensors", "urllib3", "yaml"})


def test_help_is_shown_as_it_is_written(cloudedge: Cloudedge) -> None:
    ended = cloudedge("submit", "--help")

    assert ended.code == 0
    assert "http(s)://host[:port][/path]" in ended.out


@pytest.mark.parametrize("command", [*COMMANDS, "tasks list", "edges enroll", "data put", "store prepare"])
def test_the_help_of_a_command_loads_nothing_heavy(command: str) -> None:
    assert not loaded(*command.split(), "--help") & HEAVY


def test_a_task_is_checked_with_pytorch_and_nothing_else_heavy(task_file: Path) -> None:
    assert loaded("validate", task_file) & HEAVY == {"torch"}


def test_the_list_says_of_each_command_what_it_says_of_itself() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, Commands)
    for name in COMMANDS:
        group.load(name)

    said = {name: " ".join(str(command.help).partition("\n\n")[0].split()) for name, command in group.commands.items()}
    assert said == {name: words for name, (_, words) in COMMANDS.items()}
