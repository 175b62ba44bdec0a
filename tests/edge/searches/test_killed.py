"""Real searches in processes of their own that are killed: what they did is never done again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloudedge.documents import Order
from cloudedge.documents.kinds.search import Search
from cloudedge.interpreter import python
from edge.folders import Folders
from edge.kinds.search import work
from edge.messages import Message
from edge.searches.trace import Searches
from tests.edge.searches.digits import TRAINING, keep_calibration, order_of, unchecked, write_digits
from tests.edge.site import Site

TRIALS = 2

pytestmark = pytest.mark.timeout(900)  # This machine is calibrated by whichever test is the first.


def main(root: Path, order_file: Path, begun: str, dies: str = "") -> None:
    """Do the order, and tell each point; or die as the first epoch of the first candidate begins."""
    site, order = Site(root), Order.model_validate_json(order_file.read_bytes())
    assert isinstance(order.work, Search)

    def say(message: Message) -> None:
        for point in message.points or ():
            if dies and point.sequence == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            print(point.model_dump_json(), flush=True)

    with unchecked():
        work(site.job(order, begun=begun == "begun"), order.work, say)


def test_killed_after_any_epoch_it_goes_on_there_and_trains_no_candidate_twice(tmp_path: Path) -> None:
    site = Site(tmp_path)
    write_digits(site.samples)
    keep_calibration(site)
    order = order_of(site, trials=TRIALS)
    file = tmp_path / "order.json"
    file.write_bytes(order.to_json())
    epochs = TRAINING.epochs + 1
    seconds: dict[int, float] = {}
    trace = Searches(Folders(site.state).searches)
    kept: list[object] = []
    # In the first candidate's training, as it ends, as the second one's begins and within that, and then never.
    for number, last in enumerate((2, epochs, epochs + 1, 2 * epochs - 1, 99)):
        command = python("tests.edge.searches.test_killed", tmp_path, file, "begun" if number else "new")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                point = json.loads(line)
                told = seconds.setdefault(point["sequence"], point["seconds"])
                # What is told again was not trained again: it took exactly as long. Before the first epoch nothing was trained.
                assert told == point["seconds"] or point["sequence"] % epochs == 0
                if point["sequence"] + 1 >= last:
                    process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.returncode == (0 if last == 99 else -signal.SIGKILL)
        row = trace.row(order.id)
        assert row is not None
        trained = [trial for trial in row.trials if trial.accuracy is not None]
        assert trained[: len(kept)] == kept
        kept = list(trained)
    assert len({trial.candidate for trial in trained}) == len(trained) == TRIALS
    assert sorted(seconds) == list(range(TRIALS * epochs))
    assert Folders(site.state).manifest(order.id).exists()


def test_a_candidate_whose_training_takes_the_process_with_it_is_given_up_and_the_search_goes_on(tmp_path: Path) -> None:
    site = Site(tmp_path)
    write_digits(site.samples)
    keep_calibration(site)
    order = order_of(site, trials=TRIALS)
    file = tmp_path / "order.json"
    file.write_bytes(order.to_json())
    trace = Searches(Folders(site.state).searches)
    for number, ends in enumerate((-signal.SIGKILL, -signal.SIGKILL, 0)):
        command = python(
            "tests.edge.searches.test_killed", tmp_path, file, "begun" if number else "new", "dies" if ends else ""
        )
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            process.communicate()
        assert process.returncode == ends
    row = trace.row(order.id)
    assert row is not None
    first, second = (trial for trial in row.trials if trial.accuracy is not None)
    assert "Its training ended the process 2 times" in first.fault
    assert second.fault == ""
    assert row.best is not None
    assert row.trials[row.best] == second


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
