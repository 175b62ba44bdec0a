import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloudedge.documents.automl import Candidate, Change, Costs, NothingFeasible, Remedy
from cloudedge.errors import Cancelled, WorkFailed
from pipelines.automl_demo import demo, groups

DEVICE = {"nothing_feasible": None, "words": "A model."}


def needing(milliseconds: float) -> dict[str, Any]:
    """A device that can bear nothing within less."""
    costs = Costs(latency_ms=0.1, latency_bound_ms=milliseconds, memory_bytes=1)
    change = Change(limit="latency", allowed=0.25, needed=milliseconds)
    remedy = Remedy(candidate=Candidate(layers=1, filters=4, kernel=1), predicted=costs, changes=(change,))
    nothing = NothingFeasible(candidates=200, binding="latency", remedies=(remedy,))
    return {"nothing_feasible": nothing.model_dump(mode="json"), "words": "Nothing."}


def unheard(line: str) -> None:
    pass


class Searched:
    """A laptop whose devices come to what a test says, search after search; the last one again and again."""

    def __init__(self, *outcomes: tuple[str | None, list[dict[str, Any]]]) -> None:
        self.asked: list[tuple[str, float | None]] = []
        self._outcomes = outcomes
        self.fails: list[BaseException] = []

    def __call__(self, home: Path) -> "Searched":
        return self

    def __enter__(self) -> "Searched":
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def run(self, task: Any, data: Path) -> Any:
        self.asked.append((task.document.id, task.document.allowed.latency_ms))
        if self.fails:
            raise self.fails.pop(0)
        best, devices = self._outcomes[min(len(self.asked), len(self._outcomes)) - 1]
        return SimpleNamespace(id=task.document.id, summary={"best": best, "devices": dict(zip("abc", devices, strict=False))})


@pytest.fixture
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SAMPLES", 10)


@pytest.mark.usefixtures("few_samples")
@pytest.mark.parametrize(
    ("outcomes", "limits"),
    [
        ([("a", [DEVICE, needing(0.7)])], [0.25]),
        ([(None, [needing(0.557), needing(0.656)]), ("a", [DEVICE])], [0.25, 1.3]),
        ([(None, [DEVICE]), ("a", [DEVICE])], [0.25, 0.5]),  # All that it found was measured above the limit.
        ([(None, [needing(0.4)])], [0.25, 0.8, 1.6]),
    ],
)
def test_a_machine_that_can_bear_nothing_is_allowed_what_it_needs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outcomes: list[tuple[str | None, list[dict[str, Any]]]],
    limits: list[float],
) -> None:
    laptop, said = Searched(*outcomes), list[str]()
    monkeypatch.setattr(demo, "Laptop", laptop)

    summary = demo.show(tmp_path, said.append, said.append)

    assert [limit for _, limit in laptop.asked] == limits
    assert len({run for run, _ in laptop.asked}) == len(limits)
    assert (summary["limit_ms"], summary["best"]) == (limits[-1], outcomes[-1][0])
    told = [line for line in said if "are allowed now" in line]
    assert all(f" {limit:g} ms are allowed now" in line for limit, line in zip(limits[1:], told, strict=True))


@pytest.mark.usefixtures("few_samples")
@pytest.mark.parametrize(
    ("end", "goes_on"), [(KeyboardInterrupt(), True), (WorkFailed("The disk is full."), True), (Cancelled("By hand."), False)]
)
def test_a_search_that_did_not_end_goes_on_unless_it_was_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException, goes_on: bool
) -> None:
    laptop = Searched((None, [needing(0.4)]), (None, [needing(0.4)]), ("a", [DEVICE]), ("a", [DEVICE]))
    monkeypatch.setattr(demo, "Laptop", laptop)
    monkeypatch.setattr(demo, "time", SimpleNamespace(time=iter(range(9)).__next__, monotonic=time.monotonic))
    laptop.fails = [end]
    with pytest.raises(type(end)):
        demo.show(tmp_path, unheard, unheard)

    summary = demo.show(tmp_path, unheard, unheard)
    demo.show(tmp_path, unheard, unheard)

    (first, _), (second, _), (wider, limit), (anew, _) = laptop.asked
    assert (second == first) == goes_on
    assert (summary["run"], summary["limit_ms"]) == (wider, limit)
    assert anew not in (first, second, wider), "One that has ended is over."


@pytest.mark.usefixtures("few_samples")
def test_what_another_version_left_off_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laptop = Searched(("a", [DEVICE]))
    monkeypatch.setattr(demo, "Laptop", laptop)
    (tmp_path / "meters.json").write_text('{"id": "old"}')

    demo.show(tmp_path, unheard, unheard)

    assert [run for run, _ in laptop.asked] != ["old"]


def test_groups_of_a_demo_that_was_killed_are_removed_by_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "ROOT", tmp_path)
    over = subprocess.Popen(["true"])
    over.wait()
    for name in (f"cpu/demo-{over.pid}-meter", f"demo-{over.pid}-gate", f"cpu/demo-{os.getpid()}-meter", "memory/other-1"):
        (tmp_path / name).mkdir(parents=True)
    groups.remove_left_behind("demo")
    assert {each.name for each in tmp_path.rglob("*-*")} == {f"demo-{os.getpid()}-meter", "other-1"}
