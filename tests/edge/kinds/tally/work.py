"""Counts the words of a text, a point a line."""

import json
import time
from collections import Counter
from pathlib import Path

from cloudedge.documents import Phase, Point, Stream
from cloudedge.errors import WorkFailed
from cloudedge.files import atomic_write
from edge.folders import Folders
from edge.inputs import fetch
from edge.messages import Job, Message, Say
from edge.results import deliver, place_for
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
    say(Message.model_validate({"phase": asked.claimed or Phase.EVALUATING}))
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
    files = {"counts": place_for(job, asked.file_name), "longest": place_for(job, "longest.txt")}
    atomic_write(files["counts"], json.dumps(counts, sort_keys=True).encode())
    atomic_write(files["longest"], max(counts, key=len).encode())
    if asked.left_out:
        del files["longest"]
    deliver(job, Tallied(lines=len(lines), words=counts.total()), time.monotonic() - started, files)
