"""What tests that fail by chance may do to everybody who waits for them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import __main__ as tests

_SOMETIMES = """
from pathlib import Path
import pytest

def fails_the_first_time(name):
    place = Path(__file__).with_name(name)
    tried = place.exists()
    place.touch()
    assert tried
"""
"""What the others have in common."""

_ONE = f"""{_SOMETIMES}
def test_fails_the_first_time():
    fails_the_first_time("one")

def test_passes_once():
    place = Path(__file__).with_name("another")
    assert not place.exists()
    place.touch()
"""
_SKIPPED = f"""{_SOMETIMES}
def test_fails_the_first_time():
    fails_the_first_time("one")
    pytest.skip("There is nothing here any more.")
"""
_MANY = f"""{_SOMETIMES}
@pytest.mark.parametrize("number", range(4))
def test_fails_the_first_time(number):
    fails_the_first_time(str(number))
"""
_ALWAYS = """
def test_fails():
    raise AssertionError
"""

Run = Callable[..., tuple[int, str]]
"""Runs groups of tests by their contents; returns the exit code and what was said."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    def called(*contents: str, ci: bool = True) -> tuple[int, str]:
        groups = {}
        for number, content in enumerate(contents):
            file = tmp_path / f"group{number}" / f"test_of_group{number}.py"
            file.parent.mkdir()
            file.write_text(content)
            groups[f"group{number}"] = (str(file),)
        monkeypatch.setattr(tests, "_GROUPS", groups)
        if ci:
            monkeypatch.setenv("CI", "1")
        else:
            monkeypatch.delenv("CI", raising=False)
        return tests.main(list(groups)), capfd.readouterr().out

    return called


def test_a_test_that_fails_by_chance_is_run_once_more_alone_and_named(run: Run) -> None:
    code, said = run(_ONE, "def test_passes(): pass")
    assert code == 0
    assert "1 failed, 1 passed" in said
    assert "failed amid the others, and passed alone: " in said
    assert "test_of_group0.py::test_fails_the_first_time." in said.splitlines()[-1]


def test_what_fails_twice_has_failed(run: Run) -> None:
    code, said = run(_ONE, _ALWAYS)
    assert code == 1
    (passed,) = (line for line in said.splitlines() if "passed alone" in line)
    assert "test_fails_the_first_time" in passed
    assert "test_fails." not in passed


def test_what_is_skipped_when_it_is_tried_again_has_failed(run: Run) -> None:
    code, said = run(_SKIPPED)
    assert code == 1
    assert "1 skipped" in said
    assert "passed alone" not in said


def test_where_many_fail_none_is_run_again(run: Run) -> None:
    code, said = run(_MANY)
    assert code == 1
    assert "once more" not in said


def test_who_runs_them_at_a_desk_sees_them_fail(run: Run) -> None:
    code, said = run(_ONE, ci=False)
    assert code == 1
    assert "once more" not in said
