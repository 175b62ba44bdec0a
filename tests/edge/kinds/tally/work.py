"""Counts the words of a text, a point a line."""

import json
import time
from collections import Counter
from pathlib import Path

from cloudedge import __version__
from cloudedge.documents import Manifest, OutputFile, Phase, Point, Stream
from cloudedge.errors import WorkFailed
from cloudedge.files import atomic_write
from cloudedge.names import sha256_of
from edge.folders import Folders
from edge.inputs import fetch
from edge.messages import Job, Message, Say
from tests.edge.kinds.tally.document import Tallied, Tally
from tests.waiting import until


def work(job: Job, asked: Tally, say: Say) -> None:
    """Do an order to count.

    Raises:
        CloudedgeError: it cannot be done.
    """
    started = time.monotonic()
    order, folders = job.order, Folders(Path(job.state))
    say(Message(phase=Phase.FETCHING))
    lines = fetch(job, order.inputs["text"], folders.received(order.id) / "text").read_text().splitlines()
    say(Message(phase=Phase.EVALUATING))
    counts = Counter[str]()
    for number, line in enumerate(lines):
        if asked.hold and number == len(lines) // 2:
            until(Path(asked.hold).exists)
        words = line.split()
        if asked.refused in words:
            raise WorkFailed(f"The word {asked.refused!r} stands in line {number + 1}.")
        counts.update(words)
        values = {
            "words": len(words) / 3,
            "letters": len(line) / 7,
            "different": len(counts) / 11,
            "share": number / len(lines),
        }
        point = Point(sequence=number, seconds=time.monotonic() - started, values=values)
        progress = (Stream(name="lines", done=number + 1, total=len(lines), unit="lines"),)
        say(Message(progress=progress, gauges={"words": counts.total()}, points=(point,)))
    folder = folders.trained(order.id)
    atomic_write(folder / "counts.json", json.dumps(counts, sort_keys=True).encode())
    atomic_write(folder / "longest.txt", max(counts, key=len).encode())
    outputs = {
        name: OutputFile(file=path.name, sha256=sha256_of(path), size=path.stat().st_size)
        for name, path in {"counts": folder / "counts.json", "longest": folder / "longest.txt"}.items()
    }
    manifest = Manifest(
        order=order.id,
        edge=order.edge,
        outputs=outputs,
        result=Tallied(lines=len(lines), words=counts.total()),
        seconds=time.monotonic() - started,
        runner_version=__version__,
    )
    atomic_write(folders.manifest(order.id), manifest.to_json())
