"""A folder in which no Python of ours may look for modules."""

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOMS = {"cloudedge", "cloud", "components", "edge", "pipelines"}


def lay_traps(folder: Path) -> Path:
    """Write a module that ends its process by every name that can be imported here, and files that libraries look for."""
    folder.mkdir()
    for name in {*sys.stdlib_module_names, *packages_distributions(), *ROOMS, "sitecustomize", "usercustomize"}:
        if name.isidentifier():
            (folder / f"{name}.py").write_text(f"raise SystemExit('{name} was taken from the current folder')\n")
    (folder / "matplotlibrc").write_bytes(b"\xb4 no text")
    return folder


def lay_traps_on_the_path(folder: Path) -> Path:
    """The same for a PYTHONPATH, of which a Python has taken its own first modules before any program can forbid it."""
    lay_traps(folder)
    program = "import sys; print(*{name.split('.')[0] for name in sys.modules})"
    first = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    for name in {*first, *ROOMS, "sitecustomize", "usercustomize"}:
        (folder / f"{name}.py").unlink(missing_ok=True)
    return folder
