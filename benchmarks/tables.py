"""How benchmarks show and keep their figures."""

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def say(title: str, rows: Sequence[tuple[str, ...]]) -> None:
    """Print a markdown table; the first row has the titles."""
    print(f"\n### {title}\n")
    for index, row in enumerate(rows):
        print("| " + " | ".join(row) + " |")
        if index == 0:
            print("|" + "---|" * len(row))
    print(flush=True)


def write(path: Path | None, figures: dict[str, Any]) -> None:
    """Keep the figures as JSON, with what they were measured on."""
    if path is None:
        return
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, **figures}, indent=2) + "\n")
