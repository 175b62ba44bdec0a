"""How benchmarks show and keep their figures."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def say(title: str, rows: Sequence[tuple[str, ...]]) -> None:
    """Print a markdown table; the first row has the titles."""
    print(_table(title, rows), flush=True)


def page(path: Path | None, title: str, tables: Mapping[str, Sequence[tuple[str, ...]]]) -> None:
    """Print tables by their titles, and keep them as a page beside the figures."""
    shown = "".join(f"{_table(name, rows)}\n" for name, rows in tables.items())
    print(shown)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".md").write_text(f"# {title}\n{shown.replace('### ', '## ').rstrip()}\n")


def write(path: Path | None, figures: dict[str, Any]) -> None:
    """Keep the figures as JSON, with what they were measured on."""
    if path is None:
        return
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, **figures}, indent=2) + "\n")


def _table(title: str, rows: Sequence[tuple[str, ...]]) -> str:
    titles, *others = (f"| {' | '.join(row)} |\n" for row in rows)
    return f"\n### {title}\n\n{titles}|{'---|' * len(rows[0])}\n{''.join(others)}"
