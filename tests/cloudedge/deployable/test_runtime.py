"""onnxruntime as all of cloudedge loads it."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "module", ["cloudedge.deployable.session", "cloudedge.deployable.converting", "cloudedge.inspection.models"]
)
def test_it_starts_no_thread_and_leaves_nothing_behind_by_which_it_would_tell_its_maker(module: str, tmp_path: Path) -> None:
    loaded = f"import os, sys, {module}; assert 'onnxruntime' in sys.modules; print(len(os.listdir('/proc/self/task')))"
    # Nothing else: where it sees that it is tested, it is silent by itself.
    environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}

    told = subprocess.run([sys.executable, "-c", loaded], env=environment, capture_output=True, text=True, check=True)

    assert told.stdout == "1\n"
    assert list(tmp_path.iterdir()) == []
