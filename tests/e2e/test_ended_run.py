"""A run that somebody ends, here or from another terminal, ends at the edges too, and says so."""

import pytest

from cloud.runs.events import events
from cloudedge.documents import Training
from tests.digits import EDGES, digits_task
from tests.e2e.laptop import Laptop

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


def test_a_run_cancelled_from_another_terminal_ends_everywhere_and_keeps_others_out_meanwhile(laptop: Laptop) -> None:
    edge = EDGES[0]
    laptop.task = digits_task(rounds=1, training=Training(epochs=100_000), edges=(edge,))
    home = ("--home", str(laptop.home.folder))
    command = laptop.run_task("--compact")
    laptop.until(laptop.has("rounds", "000001", "reports", f"{edge}-1.json"), command, "the first report")

    task_file = laptop.folder / "second.json"
    task_file.write_bytes(digits_task("second").to_json())
    second = laptop.start("run", str(task_file), "--data", str(laptop.samples), *home)
    _, message = second.process.communicate()
    assert second.process.returncode == 4
    assert f"Process {command.process.pid} is running a task in" in message

    cancelling = laptop.start("tasks", "cancel", "digits", *home)
    out, _ = cancelling.process.communicate()
    assert (cancelling.process.returncode, out) == (0, "Run digits is cancelled.\n")
    ended = command.end()
    assert ended.code == 7
    assert "was cancelled" in ended.error
    assert laptop.home.inboxes.read(edge).orders == ()
    actions = [event.action for _, event in events(laptop.store, "digits")]
    assert "cancelled" in actions
    assert "failed" not in actions

    again = laptop.run_task("--compact").end()
    assert again.code == 7
    assert "Start it again under another id" in again.error
