"""Processes that are kept from one run to the next, and what they say found with the run that they say it in."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipelines.laptop.processes import Program, Runners
from tests.waiting import until

SAYING = """
import sys, time, pathlib
while True:
    for word in sorted(pathlib.Path(sys.argv[1]).glob("say-*")):
        print(word.name, flush=True)
        word.unlink()
    time.sleep(0.01)
"""


@pytest.fixture
def runners() -> Iterator[Runners]:
    runners, others = Runners(), set(psutil.Process().children())
    yield runners
    runners.end()
    assert set(psutil.Process().children()) <= others


def saying(folder: Path, place: int = 0) -> Program:
    return Program([sys.executable, "-c", SAYING, str(folder)], place)


def say(folder: Path, word: str) -> None:
    (folder / f"say-{word}").touch()
    until(lambda: not (folder / f"say-{word}").exists(), what="the word's being said")


def ids() -> set[int]:
    return {child.pid for child in psutil.Process().children() if SAYING in child.cmdline()}


def logs(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_what_a_kept_process_says_is_in_the_log_of_the_run_that_it_says_it_in(runners: Runners, tmp_path: Path) -> None:
    first, second = logs(tmp_path / "first"), logs(tmp_path / "second")
    (second / "hall-1.log").write_text("of an earlier try\n")
    runners.have({"hall-1": saying(tmp_path)}, first)
    process = ids()
    say(tmp_path, "one")

    runners.have({"hall-1": saying(tmp_path)}, second)
    say(tmp_path, "two")
    runners.have({"hall-1": saying(tmp_path)}, first)
    say(tmp_path, "three")

    assert ids() == process
    assert (first / "hall-1.log").read_text() == "say-one\nsay-three\n"
    assert (second / "hall-1.log").read_text() == "of an earlier try\nsay-two\n"
    assert [path.name for folder in (first, second) for path in folder.iterdir()] == ["hall-1.log"] * 2


def test_only_what_is_asked_for_in_the_same_way_stays(runners: Runners, tmp_path: Path) -> None:
    def have(**programs: Program) -> dict[str, int]:
        runners.have(programs, logs(tmp_path))
        return {name: runner.process.pid for name, runner in runners._runners.items()}

    here, elsewhere = saying(tmp_path), saying(logs(tmp_path / "elsewhere"))
    first = have(one=here, two=here, three=saying(tmp_path, place=1))
    second = have(two=elsewhere, three=saying(tmp_path, place=2), four=here)
    third = have(two=elsewhere, three=saying(tmp_path, place=2), four=here)

    assert list(second) == ["two", "three", "four"]
    assert not set(first.values()) & set(second.values())
    assert third == second
    assert ids() == set(third.values())


def test_one_that_has_died_or_whose_log_is_gone_is_started_anew(runners: Runners, tmp_path: Path) -> None:
    first = logs(tmp_path / "first")
    programs = {"dead": saying(tmp_path), "silent": saying(logs(tmp_path / "words"))}
    runners.have(programs, first)
    dead, _ = (runner.process for runner in runners._runners.values())
    before = ids()
    dead.kill()
    dead.wait()
    shutil.rmtree(first)

    runners.have(programs, logs(tmp_path / "second"))
    say(tmp_path / "words", "hello")

    assert not ids() & before
    assert (tmp_path / "second" / "silent.log").read_text() == "say-hello\n"
