"""A run through everything that can happen to it gives the bytes of the run that nothing happened to."""

import os
import shlex
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cloud.runs.events import events
from cloudedge.documents import Order
from tests.digits import EDGES
from tests.e2e.conftest import Finished
from tests.e2e.laptop import Laptop

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


def test_a_full_disk_kills_and_a_tampered_model_change_no_byte(laptop: Laptop, flat: Finished) -> None:
    # No file may become as large as a model: what a full disk does, for one kind of file.
    ended = laptop.run_task("--compact", limit=48 * 1024).end()
    assert ended.code == 5
    assert "raise the limit and start again; nothing is lost" in ended.error
    assert not laptop.has("pretrained", "record.json")()

    # Each process at the edge is killed while an order is open.
    command = laptop.run_task("--compact")
    laptop.until(laptop.has("rounds", "000001", "orders", EDGES[0] + ".json"), command, "the first order")
    server = laptop.one("edge.workers")
    laptop.until(lambda: children(server), command, "the first work")
    kill(*children(server))
    laptop.until(lambda: children(server), command, "work after the first kill")
    kill(server)
    kill(laptop.one("edge.runner", EDGES[1]))

    # The step sleeps until all have delivered; then one model is not what its manifest says.
    step = laptop.step()
    step.suspend()
    for edge in EDGES:
        laptop.until(manifest(laptop, edge), command, f"the result of {edge}")
    flip_a_byte(laptop, EDGES[2])
    step.resume()
    ended = command.end()
    assert ended.code == 6
    assert f"{EDGES[2]}: " in ended.error
    assert "SHA-256" in ended.error

    # The pipeline itself dies after the first round, and goes on by itself.
    command = laptop.run_task("--compact")
    laptop.until(laptop.has("rounds", "000001", "fusion.json"), command, "the first fusion")
    kill(laptop.one("pipelines.laptop.local"))
    laptop.until(lambda: "resumed" in actions(laptop), command, "word of it")
    laptop.one("pipelines.laptop.local")

    # The whole command dies in the second round, and leaves nothing at work.
    laptop.until(laptop.has("rounds", "000002", "orders", EDGES[0] + ".json"), command, "an order of the second round")
    command.process.kill()
    command.process.communicate()
    laptop.empties()

    # Somebody presses Ctrl-C as the edges judge the fused model, if not before.
    command = laptop.run_task("--compact")
    laptop.until(laptop.has("rounds", "000002", "fusion.json"), command, "the second fusion")
    command.interrupt()
    ended = command.end()
    assert ended.code == 130
    words = (laptop.folder / "task.json", "--data", laptop.samples, "--home", laptop.home.folder, "--compact")
    assert ended.error.rstrip().endswith("run " + shlex.join(map(str, words)))
    assert open_orders(laptop) == []

    summary = laptop.run_task("--compact").end().summary
    assert summary["model"]["sha256"] == flat.summary["model"]["sha256"]
    for number in (1, 2):
        record, undisturbed = laptop.run.fusion(number), flat.laptop.run.fusion(number)
        assert record is not None
        assert undisturbed is not None
        assert record.sha256 == undisturbed.sha256
        assert [c.sha256 for c in record.contributions] == [c.sha256 for c in undisturbed.contributions]
    assert summary["accuracy"] == flat.summary["accuracy"]


def actions(laptop: Laptop) -> list[str]:
    return [event.action for _, event in events(laptop.store, laptop.run.id)]


def children(server: psutil.Process) -> list[psutil.Process]:
    return server.children()


def kill(*processes: psutil.Process) -> None:
    for process in processes:
        with suppress(ProcessLookupError):  # Work may have ended since it was found.
            os.kill(process.pid, signal.SIGKILL)


def manifest(laptop: Laptop, edge: str) -> Callable[[], object]:
    order = laptop.run.order("1", edge)
    assert order
    return lambda: laptop.store.stat(laptop.run.manifest_key(order))


def flip_a_byte(laptop: Laptop, edge: str) -> None:
    order = laptop.run.order("1", edge)
    assert order
    path: Path = laptop.store.root / laptop.run.output_key(order, "model")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def open_orders(laptop: Laptop) -> list[Order]:
    inboxes = laptop.home.inboxes
    return [order for edge in inboxes.edges() for order in inboxes.read(edge).orders]
