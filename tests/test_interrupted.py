"""Ctrl-C in the first moment of a command."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("module", ["pipelines.cli", "edge.cli"])
def test_ctrl_c_while_a_command_line_starts_is_no_traceback(tmp_path: Path, module: str) -> None:
    # What Python does upon Ctrl-C, at a moment that can be repeated: as a library is imported.
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    program = f"import sys; from {module} import main; sys.path.insert(1, {str(tmp_path)!r}); main()"
    command = [sys.executable, "-c", program, "--help"]

    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    assert (ended.returncode, ended.stdout) == (130, "")
