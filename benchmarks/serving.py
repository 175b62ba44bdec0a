"""Serving: swaps beside a line's beat, and the Open Inference Protocol beside KServe's own ModelServer, in one run.

    python -m benchmarks.serving --out FILE.json

The line: 60 parts a second in one process, each judged by EfficientNet-Lite0 without its head (11.8 MB, random weights, images
of 128 x 128 pixels, one thread), while another thread puts, loads and swaps versions one after the other, each a full
deployment: the file is copied, checked and synchronised to disk, opened, warmed up and swapped. A part counts as dropped where
it is not judged before the next one comes; as judged by half a model where its score is not, to the bit, that of the version
that was taken for it. Beside it the same process frees the old model and then loads the new one. Where it may, the process goes
before all others of the machine and its line before its other threads, so that the figures are those of a detector and not of
what else runs here. Where this is a virtual machine, all of it may stand still; a part that took longer than a frame while the
line's thread never left its processor tells so, and those that came late behind it are told apart.

The servers: each with the same two models, asked one request at a time by Triton's clients, which send bytes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.serving_models import write_image_model, write_small_model
from benchmarks.serving_peers import compare
from benchmarks.tables import write
from cloudedge.interpreter import environment, python

VERSIONS = 4


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the tables and write the figures."""
    parser = argparse.ArgumentParser(description="Measure serving.")
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--requests", type=int, default=500, help="of each kind and server")
    parser.add_argument("--folder", type=Path, help="where the models are written for the time being")
    parser.add_argument("--out", type=Path, help="JSON file; a .md file goes beside it")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="serving-", dir=given.folder) as name:
        folder = Path(name)
        write_models(folder)
        lines = {
            what: line(what, folder / "line", times) for what, times in (("swaps", given.swaps), ("reloads", given.reloads))
        }
        servers = compare(folder / "served", given.requests)
    table = f"{_line_table(lines)}\n{_server_table(servers)}"
    print(table)
    write(given.out, {"line": lines, "servers": servers, "load": os.getloadavg()})
    if given.out:
        given.out.with_suffix(".md").write_text(table)
    return 0


def write_models(folder: Path) -> None:
    """What the line swaps, and what the servers serve."""
    for part in ("line", "served"):
        (folder / part).mkdir()
    for number in range(VERSIONS):
        path = folder / "line" / f"{number}.onnx"
        path.with_suffix(".json").write_bytes(write_image_model(path, number, "oats").to_json())
    for name, write_model in (("image", lambda path: write_image_model(path, 0, "oats")), ("small", write_small_model)):
        path = folder / "served" / f"{name}.onnx"
        path.with_suffix(".json").write_bytes(write_model(path).to_json())


def line(what: str, folder: Path, times: int) -> dict[str, Any]:
    """Figures of a line, in a process of its own."""
    command = python("benchmarks.serving_line", what, folder, times)
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _line_table(lines: dict[str, dict[str, Any]]) -> str:
    """One column for each way."""
    titles = {"swaps": "loaded beside it, swapped", "reloads": "stopped, loaded anew"}
    rows = [
        "| a line of 60 parts a second | " + " | ".join(titles[what] for what in lines) + " |",
        "|---|" + "---|" * len(lines),
    ]
    for figure in lines["swaps"]:
        rows.append(f"| {figure} | " + " | ".join(_said(figure, figures.get(figure)) for figures in lines.values()) + " |")
    return "\n".join([*rows, ""])


def _server_table(servers: dict[str, dict[str, float]]) -> str:
    rows = ["| server | " + " | ".join(servers) + " |", "|---|" + "---|" * len(servers)]
    for figure in servers["cloudedge"]:
        rows.append(f"| {figure} | " + " | ".join(f"{figures[figure]:.3g}" for figures in servers.values()) + " |")
    return "\n".join([*rows, ""])


def _said(figure: str, value: float | bool | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if figure == "growth of memory":
        return f"{value:.1%}"
    return str(value) if isinstance(value, int) else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
