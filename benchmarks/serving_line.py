"""A line's beat beside swaps, in a process of its own; `benchmarks.serving` starts it.

    python -m benchmarks.serving_line PART FOLDER SWAPS

FOLDER has `0.onnx`, `0.json`, `1.onnx`, ... Prints figures as JSON.
"""

import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cloudedge import memory
from cloudedge.deployable.session import Session
from cloudedge.documents.deployable import Deployable
from cloudedge.serving.metrics import resident_bytes
from cloudedge.serving.models import Models

FRAME = 1 / 60
IMAGES = 8
MOST_PARTS = 200_000
NAME = "oats"

Image = np.ndarray[Any, Any]
Judge = Callable[[Image], tuple[str, float] | None]
"""Version and score; None: nothing judges now."""


class Line:
    """Parts come 60 times a second, and each is to be judged before the next one comes."""

    def __init__(self, judge: Judge, images: list[Image]) -> None:
        # There from the beginning, so that what is noted does not count as growth: due, answered, image, version and score.
        self._table = np.full((MOST_PARTS, 5), np.nan)
        self._versions: list[str] = []
        self.parts = 0
        self.waited, self.first = 0.0, False
        self._judge, self._images = judge, images
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Line":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        self.first = _go_first()
        waited = _waited()
        self._judge_all()
        self.waited = _waited() - waited

    def _judge_all(self) -> None:
        began, number = time.perf_counter(), 0
        while not self._over.is_set():
            due = began + number * FRAME
            time.sleep(max(0.0, due - time.perf_counter()))
            which = number % IMAGES
            found = self._judge(self._images[which])
            self.note(due, time.perf_counter(), which, found)
            number += 1

    def note(self, due: float, done: float, which: int, found: tuple[str, float] | None) -> None:
        """Keep what became of a part."""
        version, score = ("", np.nan) if found is None else found
        if version not in self._versions:
            self._versions.append(version)
        self._table[self.parts] = due, done, which, self._versions.index(version), score
        self.parts += 1

    @property
    def last(self) -> str:
        """Version that the last part was judged by; empty: none."""
        return self._versions[int(self._table[self.parts - 1, 3])] if self.parts else ""

    def figures(self, expected: dict[str, list[float]]) -> dict[str, float]:
        """What became of the parts.

        Args:
            expected: Each version's score of each image.
        """
        table = self._table[: self.parts]
        due, done, which, version, score = table[~np.isnan(table[:, 4])].T
        late, gaps = done - due, np.diff(done)
        wanted = [expected[self._versions[int(each)]][int(image)] for each, image in zip(version, which, strict=True)]
        return {
            "parts": self.parts,
            "dropped": self.parts - len(done) + int(np.sum(late > FRAME)),
            "judged by half a model": int(np.sum(score != wanted)),
            "median ms from part to answer": 1e3 * float(np.median(late)),
            "p99 ms from part to answer": 1e3 * float(np.percentile(late, 99)),
            "longest ms from part to answer": 1e3 * float(late.max()),
            "longest ms between answers beyond the beat": 1e3 * float(gaps.max() - FRAME),
            "line has real-time priority": self.first,
            "ms a part that the line waited for a processor": 1e3 * self.waited / self.parts,
        }


def _waited() -> float:
    """Seconds that this thread could have run and had no processor."""
    return int(Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text().split()[1]) / 1e9


def _go_first() -> bool:
    """Let this thread go before the process's others, as a detector's inspection does where it may; whether it may."""
    try:
        os.sched_setscheduler(threading.get_native_id(), os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True


def have_the_machine() -> bool:
    """Let the whole process go before all others, as if it were alone; whether it may."""
    group = Path("/proc/self/autogroup")  # Where Linux groups by session, a process's own priority counts in its group only.
    try:
        if group.exists():
            os.setsid()
            group.write_text("-20")
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    except PermissionError:
        return False
    return True


def files(folder: Path) -> list[tuple[Path, Deployable]]:
    """Models and what is known of them."""
    paths = sorted(folder.glob("[0-9].onnx"))
    return [(path, Deployable.model_validate_json(path.with_suffix(".json").read_bytes())) for path in paths]


def judged(session: Session, image: Image) -> float:
    """Score of an image."""
    return float(session.infer({"image": image})["score"][0])


def swaps(folder: Path, times: int) -> dict[str, Any]:
    """Put, load and swap beside the beat, and roll back at the end."""
    with Models(folder / "models") as models:
        choice, images = files(folder), some_images()
        expected = {deployable.sha256[:12]: scores(path, deployable, images) for path, deployable in choice}
        if len({scores_of[0] for scores_of in expected.values()}) < len(choice):
            raise ArithmeticError("two models answer the same, so nothing could be told by their answers")

        def use(number: int) -> None:
            path, deployable = choice[number % len(choice)]
            models.load(NAME, models.put(deployable, path)).result()

        def judge(image: Image) -> tuple[str, float] | None:
            current = models.current(NAME)
            return None if current is None else (current.version, judged(current.session, image))

        for number in range(3):
            use(number)
        seconds, resident, back = [], [], []
        memory.settle()
        with Line(judge, images) as line:
            for number in range(3, 3 + times):
                began = time.perf_counter()
                use(number)
                seconds.append(time.perf_counter() - began)
                resident.append(resident_bytes())
            for _ in range(20):
                use(3 + times)  # Of which the one before is in use since the last time.
                began = time.perf_counter()
                before = models.rollback(NAME).version
                while line.last != before:
                    time.sleep(0.0005)
                back.append(time.perf_counter() - began)
        counts = models.counts()[NAME]
    few = max(1, min(20, times // 4))
    begin, end = statistics.median(resident[:few]), statistics.median(resident[-few:])
    return line.figures(expected) | {
        "swaps": counts.swaps - counts.rollbacks - 2,
        "median s of a deployment": statistics.median(seconds),
        "resident MiB after the first swaps": begin / 2**20,
        "resident MiB after the last swaps": end / 2**20,
        "largest resident MiB": max(resident) / 2**20,
        "growth of memory": end / begin - 1,
        "longest ms from a rollback to an answer by it": 1e3 * max(back),
    }


def reloads(folder: Path, times: int) -> dict[str, Any]:
    """Free the old model, then load the new one, as it is done where one process has one model."""
    choice, images = files(folder), some_images()
    expected = {deployable.sha256[:12]: scores(path, deployable, images) for path, deployable in choice}
    held: list[Session] = []

    def use(number: int) -> None:
        path, deployable = choice[number % len(choice)]
        held.clear()
        session = Session(path, deployable)
        session.warm_up()
        held.append(session)

    def judge(image: Image) -> tuple[str, float] | None:
        found = held[:]
        return (found[0].deployable.sha256[:12], judged(found[0], image)) if found else None

    use(0)
    memory.settle()
    with Line(judge, images) as line:
        for number in range(1, times + 1):
            use(number)
            time.sleep(0.1)
    return line.figures(expected) | {"swaps": times}


def some_images() -> list[Image]:
    """Images of noise."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (1, 128, 128, 3), np.uint8) for _ in range(IMAGES)]


def scores(path: Path, deployable: Deployable, images: list[Image]) -> list[float]:
    """What a model says of each image."""
    session = Session(path, deployable)
    return [judged(session, image) for image in images]


if __name__ == "__main__":
    alone = have_the_machine()
    found = {"swaps": swaps, "reloads": reloads}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps(found | {"before all other processes": alone}))
