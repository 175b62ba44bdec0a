"""What a command says arrives, or its exit code tells that it did not; whatever takes it, nothing breaks in between."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.digits import digits_task

SAY = r"print('S\xfcd \u2192 \u2581\u2584\u2588\udcff \u6e29 ' + sys.argv[1])"


def said(*streams: str, program: str = SAY, **variables: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a program that says something within `own_output`, with its streams redirected as a shell writes it."""
    code = f"""
import sys
from cloudedge.errors import CloudedgeError
from cloudedge.output import own_output
try:
    with own_output():
        {program}
except CloudedgeError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""
    command = ["bash", "-c", f'"$0" -c "$1" words {" ".join(streams)}; exit ${{PIPESTATUS[0]}}', sys.executable, code]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({}, "Süd → ▁▄█\\udcff 温 words\n".encode()),
        ({"PYTHONIOENCODING": "latin-1"}, b"S\xfcd -> _:#\\udcff \\u6e29 words\n"),
        ({"PYTHONIOENCODING": "ascii"}, b"S\\xfcd -> _:#\\udcff \\u6e29 words\n"),
        ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, b"S\\xfcd -> _:#\\udcff \\u6e29 words\n"),
    ],
)
def test_an_encoding_that_lacks_a_letter_gets_a_plain_one(variables: dict[str, str], shown: bytes) -> None:
    for stream, program in (("stdout", SAY), ("stderr", SAY[:-1] + ", file=sys.stderr)")):
        ended = said(program=program, **variables)

        assert ended.returncode == 0, ended.stderr
        assert getattr(ended, stream) == shown


@pytest.mark.parametrize(
    ("streams", "code", "message"),
    [
        ("> /dev/full", 5, "Cannot write standard output: No space left on device. The disk is full: free some space"),
        (">&-", 5, "Cannot write standard output: Bad file descriptor. It is closed: have it lead somewhere"),
        ("| true", 141, ""),
        ("2> /dev/full", 0, ""),
        ("2>&-", 0, ""),
        ("<&- >&- 2>&-", 5, ""),
    ],
)
def test_an_output_that_takes_nothing_has_its_exit_code(streams: str, code: int, message: str) -> None:
    # More than a buffer, so that it fails in the midst of saying it; and then less, so that it does at the end.
    for many in (20_000, 1):
        program = f"print('hello', file=sys.stderr); print('x' * {many}); sys.stdout.write('y')"
        if streams == "| true":
            program = f"import time; time.sleep(0.5); {program}"

        ended = said(streams, program=program)

        assert ended.returncode == code
        assert ended.stderr.decode().removeprefix("hello\n").startswith(message)
        assert b"Traceback" not in ended.stderr
        assert b"Exception ignored" not in ended.stderr


def test_a_file_that_is_opened_does_not_get_what_is_said() -> None:
    program = (
        "import tempfile, os; file = tempfile.TemporaryFile(); print('words'); print('words', file=sys.stderr); "
        "os.write(2, b'of a library'); sys.exit(os.fstat(file.fileno()).st_size)"
    )

    assert said(">&-", "2>&-", program=program).returncode == 5
    assert said("2>&-", program=program).returncode == 0


@pytest.mark.parametrize(
    ("command", "streams", "code"),
    [
        ("cloudedge", "> /dev/full", 5),
        ("cloudedge", "| true", 141),
        ("cloudedge-edge", "> /dev/full", 5),
        ("cloudedge-edge", "2>&1 >&-", 5),
    ],
)
def test_a_command_keeps_to_it(tmp_path: Path, command: str, streams: str, code: int) -> None:
    (tmp_path / "task.json").write_bytes(digits_task().to_json())
    arguments = f"validate {tmp_path}/task.json" if command == "cloudedge" else "--help"
    line = f"{Path(sys.executable).parent / command} {arguments} {streams}; exit ${{PIPESTATUS[0]}}"

    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=100)

    assert ended.returncode == code, ended
    assert ("Cannot write standard output" in ended.stderr + ended.stdout) is (code == 5)
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("cloudedge", ("run", "{task}", "--data", "{long}", "--home", "{home}")),
        ("cloudedge", ("tasks", "list", "--home", "{long}")),
        ("cloudedge-edge", ("status", "--state", "{long}")),
        ("cloudedge-edge", ("samples", "add", "{long}", "--format", "{task}", "--state", "{home}")),
    ],
)
def test_a_path_that_cannot_be_looked_at_is_named(tmp_path: Path, command: str, arguments: tuple[str, ...]) -> None:
    (tmp_path / "task.json").write_bytes(digits_task().to_json())
    places = {"task": tmp_path / "task.json", "home": tmp_path / "home", "long": tmp_path / ("x" * 300)}
    typed = [str(Path(sys.executable).parent / command), *(argument.format(**places) for argument in arguments)]

    ended = subprocess.run(typed, capture_output=True, text=True, timeout=100)

    assert ended.returncode == 2, ended
    assert ended.stderr.startswith(f"Cannot use {places['long']}")
    assert ended.stderr.endswith(": File name too long. Correct the path, or its rights.\n")


@pytest.mark.parametrize("content", ["5", "null", "[" * 100_000])
def test_a_format_that_is_no_object_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "format.json").write_text(content)
    edge = Path(sys.executable).parent / "cloudedge-edge"
    typed: list[str | Path] = [edge, "samples", "add", tmp_path, "--format", tmp_path / "format.json", "--state", tmp_path]

    ended = subprocess.run(typed, capture_output=True, text=True, timeout=100)

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{tmp_path}/format.json is not a valid dataformat:")
