"""How a Python process of ours is started: with the modules that are installed, wherever it is started from.

A file `random.py` in the folder that somebody works in, or an old library on the PYTHONPATH of their shell, would otherwise be
run in place of the module that is meant. Nothing but what every Python has loaded already may be imported here, as the path is
not safe yet.
"""

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - pathlib is not loaded yet
_NO_HOME = "/nonexistent"


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module of ours; to be started in `environment()`.

    Args:
        module: Such as edge.runner.
        arguments: What it is given.
    """
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def environment() -> dict[str, str]:
    """This process's environment, in which no Python takes modules from the current folder or from a foreign PYTHONPATH.

    A PYTHONPATH that has cloudedge itself is how somebody installed it, and stays. A user without a name and a home, as in a
    container that runs under any number, is given a home that is not there: some libraries ask for it as they are imported.
    """
    found = {**os.environ, "PYTHONSAFEPATH": "1"}
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - pathlib raises
        found["HOME"] = _NO_HOME
    entries = found.get("PYTHONPATH", "").split(os.pathsep)
    if not any(entry and os.path.realpath(entry) == _ROOT for entry in entries):
        found.pop("PYTHONPATH", None)
    return found


def use_own_modules(module: str) -> None:
    """Begin a program of ours: before it imports anything else, no module can come from where it happens to be started.

    Args:
        module: The program's, which begins anew if this Python had taken modules from a foreign PYTHONPATH.
    """
    clean = environment()
    if "PYTHONPATH" in os.environ and "PYTHONPATH" not in clean:
        os.execve(sys.executable, [*python(module), *sys.argv[1:]], clean)  # noqa: S606
    os.environ.update(clean)
    script = os.path.dirname(os.path.realpath(sys.argv[0]))  # noqa: PTH120
    if not sys.flags.safe_path and sys.path[0] in ("", script) and script != _ROOT:
        del sys.path[0]
