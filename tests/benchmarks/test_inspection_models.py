import json
import subprocess
from pathlib import Path

from cloudedge.interpreter import python


def test_the_benchmark_of_inspection_models_measures_both_methods(tmp_path: Path) -> None:
    out = tmp_path / "inspection.json"
    subprocess.run(python("benchmarks.inspection_models", "--quick", "--out", out), stdout=subprocess.DEVNULL, check=True)
    (case,) = json.loads(out.read_text())["cases"].values()
    assert set(case) == {"gaussian", "bank"}
    for figures in case.values():
        assert figures["image"] > 0.7
        assert figures["pixel"] > 0.6
        assert figures["training_seconds"] > 0
    assert "| brick | gaussian |" in out.with_suffix(".md").read_text()
