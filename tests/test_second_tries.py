"""What tests that fail by chance may do to everybody who waits for them."""

from pathlib import Path

import pytest

from tests import __main__ as tests

_SOMETIMES = """
from pathlib import Path

def test_fails_the_first_time():
    place = Path(__file__).with_name("tried")
    tried = place.exists()
    place.touch()
    assert tried

def test_passes():
    place = Path(__file__).with_name("passed")
    assert not place.exists()
    place.touch()
"""
_SKIPPED = _SOMETIMES.replace("assert tried", "tried and pytest.skip('nothing here')\n    assert tried").replace(
    "from pathlib import Path", "from pathlib import Path\nimport pytest"
)
_ALWAYS = """
def test_fails():
    raise AssertionError
"""
_MANY = """
from pathlib import Path

import pytest

@pytest.mark.parametrize("number", range(4))
def test_fails_the_first_time(number, request):
    place = Path(__file__).with_name(request.node.name)
    tried = place.exists()
    place.touch()
    assert tried
"""


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *contents: str, ci: bool = True) -> int:
    groups = {}
    for number, content in enumerate(contents):
        file = folder / f"group{number}" / f"test_of_group{number}.py"
        file.parent.mkdir()
        file.write_text(content)
        groups[f"group{number}"] = (str(file),)
    monkeypatch.setattr(tests, "_GROUPS", groups)
    if ci:
        monkeypatch.setenv("CI", "1")
    else:
        monkeypatch.delenv("CI", raising=False)
    return tests.main(list(groups))


def test_a_test_that_fails_by_chance_is_run_once_more_alone_and_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = run(monkeypatch, tmp_path, _SOMETIMES, "def test_passes(): pass")

    said = capfd.readouterr().out
    assert code == 0
    assert "1 failed, 1 passed" in said
    assert "failed amid the others, and passed alone: " in said
    assert "test_of_group0.py::test_fails_the_first_time." in said.splitlines()[-1]


def test_what_fails_twice_has_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, _SOMETIMES, _ALWAYS) == 1
    (passed,) = (line for line in capfd.readouterr().out.splitlines() if "passed alone" in line)
    assert "test_fails_the_first_time" in passed
    assert "test_fails." not in passed


def test_what_is_skipped_when_it_is_tried_again_has_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, _SKIPPED) == 1
    said = capfd.readouterr().out
    assert "1 skipped" in said
    assert "passed alone" not in said


def test_where_many_fail_none_is_run_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, _MANY) == 1
    assert "once more" not in capfd.readouterr().out


def test_who_runs_them_at_a_desk_sees_them_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path, _SOMETIMES, ci=False) == 1
