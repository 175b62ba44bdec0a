"""Ctrl-C in the first moment of a command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("module", ["pipelines.cli", "edge.cli"])
def test_ctrl_c_while_a_command_line_starts_is_no_traceback(tmp_path: Path, module: str) -> None:
    # What Python does upon Ctrl-C, at a moment that can be repeated: as a library is imported.
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    command = [sys.executable, "-c", f"from {module} import main; main()", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    assert (ended.returncode, ended.stdout) == (130, "")
