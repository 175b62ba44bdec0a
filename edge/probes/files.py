"""Reading what the system says in small files, each of which may be missing or not for this user."""

from pathlib import Path

ROOT = Path("/")


def text(path: Path) -> str | None:
    """What a file says; none: it is not there, or not to be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return None


def number(path: Path) -> int | None:
    """A whole number in a file; none: there is no such file, or something else in it, such as `max`."""
    found = text(path)
    try:
        return int(found) if found else None
    except ValueError:
        return None


def table(path: Path) -> dict[str, int]:
    """Lines of a name and a number, as in memory.stat and /proc/meminfo; empty: there is no such file."""
    found = {}
    for line in (text(path) or "").splitlines():
        name, *values = line.replace(":", " ").split()
        if values and values[0].isdigit():
            found[name] = int(values[0])
    return found
