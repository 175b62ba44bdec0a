"""How a person can type the name of a program that stands beside this Python."""

import os
import shutil
import sys
from pathlib import Path


def typed(name: str) -> str:
    """The program's name if the shell finds it, else its path, from the current folder if it is below that."""
    if shutil.which(name):
        return name
    path = Path(sys.executable).parent / name
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
