import json
import subprocess
from pathlib import Path

from cloudedge.interpreter import python


def test_the_benchmark_of_training_times_both_contenders_in_turns(tmp_path: Path) -> None:
    out = tmp_path / "training.json"
    small = ["--samples", "64", "--epochs", "1", "--repeats", "2", "--networks", "mlp"]
    subprocess.run(python("benchmarks.training", *small, "--out", out), stdout=subprocess.DEVNULL, check=True)
    seconds = json.loads(out.read_text())["seconds_an_epoch"]["mlp"]
    assert {name: len(times) for name, times in seconds.items()} == {"by_hand": 2, "cloudedge": 2}
    assert all(time > 0 for times in seconds.values() for time in times)
