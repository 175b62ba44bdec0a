"""What a terminal and a program are told of a run of searches that is over."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from cloudedge.store import DirectoryStore
from pipelines.edge_automl.system import SYSTEM
from tests.components.edge_automl.searches import BARREN, SITES, Searches, task

ABSENT = "no sign of life since the order was issued; is the edge online?"


def test_a_device_that_did_not_deliver_is_named_with_the_reason_on_one_line(tmp_path: Path) -> None:
    sites = {**SITES, "gate-3": BARREN}
    run = Searches(DirectoryStore(tmp_path), sites=sites, missing={"gate-20": ABSENT}).ended()
    console = Console(file=io.StringIO(), width=60)
    SYSTEM.print_outcome(console, run)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue().splitlines()
    assert f"gate-20: no result: {ABSENT}" in said
    assert any(line.startswith("gate-3: Nothing was trained: none of the 200 networks keeps all limits.") for line in said)
    summary = SYSTEM.summary(run)
    assert summary["missing"] == {"gate-20": ABSENT}
    assert summary["devices"].keys() == sites.keys()


@pytest.mark.parametrize(
    ("edges", "trials", "words"),
    [
        (("a",), 1, "a search on 1 device, 1 trial each"),
        (("a", "b"), 3, "a search on 2 devices, 3 trials each"),
        ((), 3, "a search on all devices, 3 trials each"),
    ],
)
def test_a_task_is_said_in_a_sentence(edges: tuple[str, ...], trials: int, words: str) -> None:
    assert SYSTEM.in_words(task(edges=edges, trials=trials)) == words
