import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fusion import run, write_models
from benchmarks.fusion_peers import PEERS


def test_the_benchmark_of_fusion_runs_and_all_peers_agree_on_the_average(tmp_path: Path) -> None:
    out = tmp_path / "fusion.json"
    command = [sys.executable, "-m", "benchmarks.fusion", "--quick", "--folder", str(tmp_path), "--out", str(out)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    report = json.loads(out.read_text())
    assert [row["peer"] for row in report["rows"]] == list(PEERS)
    assert all(row["gigabytes_per_second"] > 0 for row in report["rows"])
    assert done.stdout.strip() == out.with_suffix(".md").read_text().strip()
    assert {path.name for path in tmp_path.iterdir()} == {"fusion.json", "fusion.md"}


@pytest.mark.parametrize("peer", ["cloudedge", "cloudedge-whole"])
def test_fusing_takes_less_than_64_mebibytes_of_memory_whatever_the_size_of_the_models(tmp_path: Path, peer: str) -> None:
    # 10 models of 12 MB: 120 MB, were they held at once.
    write_models(tmp_path, 10, 3_000_000)
    assert run(peer, tmp_path)["peak_bytes"] < 64 * 2**20
