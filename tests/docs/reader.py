"""A reader who does what a page says: writes its files, types its commands, runs its Python, and compares what comes."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from tests.docs.pages import ROOT, Block, Command, blocks, commands

ROOMS = ("cloudedge", "cloud", "components", "pipelines", "edge")

ELSEWHERE = re.compile(r"make [a-z]+$")
"""Commands that belong into a clone and are run by hand and in CI; that they exist is checked in test_pages."""

_SECONDS = 1400


class Reader:
    """Reads pages in one folder, one after the other."""

    def __init__(self, folder: Path, rooms: Path = ROOT, environment: Mapping[str, str] | None = None) -> None:
        """Work in a folder with the software of `rooms`, installed as pip would: a script for each entry point."""
        self._environment = environment or {}
        self.folder = folder
        scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
        self._path = folder / ".bin"
        self._path.mkdir(parents=True)
        for name, entry in scripts.items():
            module, function = entry.split(":")
            self._script(name, f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n")
        self._script("python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        self._rooms = [str(rooms)]
        self._place = folder

    def _script(self, name: str, text: str) -> None:
        (self._path / name).write_text(text)
        (self._path / name).chmod(0o755)

    def add_program(self, program: Path) -> None:
        """Have a further program on the path."""
        (self._path / program.name).symlink_to(program)

    def add_packages(self, folder: Path) -> None:
        """Find installed packages in a further folder."""
        self._rooms.append(str(folder))

    def read(self, page: Path) -> None:
        """Do all that a page says, in its order."""
        self._place = self.folder
        for block in blocks(page):
            self.follow(block)

    def write_files(self, page: Path) -> None:
        """Write the files that a page shows."""
        for block in blocks(page):
            if block.title:
                self.follow(block)

    def follow(self, block: Block) -> None:
        """Do what one block says."""
        if block.title:
            path = self.folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "console":
            for command in commands(block):
                if not ELSEWHERE.match(command.text):
                    self._type(command)
        elif block.language == "python":
            done = self._run([sys.executable, "-W", "error::SyntaxWarning", "-c", block.text])
            assert done.returncode == 0, f"{block}:\n{done.stdout}"

    def _type(self, command: Command) -> None:
        if command.text.startswith("cd "):
            self._place = self._place / command.text.removeprefix("cd ")
            return
        done = self._run(["bash", "-c", command.text])
        assert done.returncode == 0, f"{command.block}: {command.text}\n{done.stdout}"
        assert resembles(done.stdout, command.output), (
            f"{command.block}: {command.text}\nprints\n{done.stdout}\nand not, as the page says,\n{command.output}"
        )

    def _run(self, arguments: list[str]) -> "subprocess.CompletedProcess[str]":
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CLOUDEDGE_", "MLFLOW_", "PYTEST_"))},
            "PATH": f"{self._path}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(self._rooms),
            "COLUMNS": "160",
            "OMP_NUM_THREADS": "1",
            **self._environment,
        }
        return subprocess.run(
            arguments,
            cwd=self._place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )


def resembles(output: str, shown: str) -> bool:
    """Whether output is what a page shows: `...` stands for anything, a figure for any figure, a bar for any bar."""
    if not shown.strip():
        return True
    pattern = ""
    for part in re.split(r"(\.\.\.|[█░▁▂▃▄▅▆▇ ]*[█░▁▂▃▄▅▆▇][█░▁▂▃▄▅▆▇ ]*|\d+(?:\.\d+)?|\s+)", shown.strip()):
        if part == "...":
            pattern += r".*?"
        elif re.search("[█░▁▂▃▄▅▆▇]", part):
            pattern += r"[█░▁▂▃▄▅▆▇\s]*"
        elif re.fullmatch(r"\d+(\.\d+)?", part):
            pattern += r"\d+(\.\d+)?"
        else:
            pattern += r"\s+" if part.isspace() else re.escape(part)
    return re.fullmatch(rf"{pattern}\s*", output.strip(), re.DOTALL) is not None


def copy_of_the_rooms(folder: Path) -> Path:
    """A clone's source, to add files to."""
    for room in (*ROOMS, "tests"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def installed(package: Path, site_packages: Path) -> Path:
    """Build a package's wheel and unpack it, which is what installing it into a folder does."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=package, check=True, stdout=subprocess.DEVNULL
    )
    (wheel,) = (package / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site_packages)
    shutil.rmtree(package / "dist")
    return site_packages
