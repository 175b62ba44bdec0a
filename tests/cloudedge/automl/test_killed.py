"""A search in a process of its own, killed again and again."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloudedge.automl.beginning import taken_up
from cloudedge.automl.searching import Search
from cloudedge.documents.automl import TraceRow
from cloudedge.files import atomic_write
from cloudedge.interpreter import python
from tests.cloudedge.automl.devices import BOARD, DATA
from tests.cloudedge.automl.test_searching import CAPPED, Named, begun, finished, trained

MOST = 3


def main(path: Path) -> None:
    """Go on with the search in a file, and tell each step."""
    search = Search(*taken_up(TraceRow.model_validate_json(path.read_bytes()), BOARD, DATA), MOST)
    while trial := search.ask():
        print("training", trial.candidate.model_dump_json(), flush=True)
        search.tell(trained(trial))
        print("trained", trial.candidate.model_dump_json(), flush=True)
        atomic_write(path, search.row.model_dump_json().encode())
        print("kept", trial.candidate.model_dump_json(), flush=True)


@pytest.mark.parametrize("model", [CAPPED, None], ids=["meta", "tpe"])
def test_killed_after_any_step_it_goes_on_and_trains_nothing_that_was_kept_again(tmp_path: Path, model: Named | None) -> None:
    row, screen = begun(model=model)
    whole = finished(Search(row, screen, MOST))
    path = tmp_path / "row.json"
    path.write_text(row.model_dump_json())
    kept: set[str] = set()
    steps = 0
    # While it trains, once it has trained and before that is kept, once it is kept, while it trains the next one; then never.
    for last in (1, 2, 3, 4, 9):
        command = python("tests.cloudedge.automl.test_killed", path)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line, _ in zip(process.stdout, range(last), strict=False):
                word, candidate = line.split(maxsplit=1)
                steps += 1
                if word == "training":
                    assert candidate not in kept
                if word == "kept":
                    kept.add(candidate)
            process.send_signal(signal.SIGKILL)
            process.stdout.read()
        # What was kept as the signal came, and was not read any more, counts as well.
        kept |= {
            f"{trial.candidate.model_dump_json()}\n"
            for trial in TraceRow.model_validate_json(path.read_bytes()).trials
            if trial.accuracy is not None
        }
    found = TraceRow.model_validate_json(path.read_bytes())
    assert len(kept) == MOST
    assert steps > MOST
    assert found.trials == whole.trials
    assert found.best == whole.best


if __name__ == "__main__":
    main(Path(sys.argv[1]))
