"""The site engineer's commands, as they are typed, without a cloud and beside a running runner."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudedge.documents import Evaluated, Manifest, Phase, Stream
from cloudedge.documents.kinds.deploy import Deploy
from edge.cli import main
from edge.clock import now
from edge.folders import Folders
from edge.lock import locked
from edge.runner.ledger import Entry, Ledger
from tests.edge.runner.test_reconciling import an_order, refusal
from tests.edge.runner.test_runner import LONG
from tests.edge.site import DATA, Site, write_samples
from tests.terminal import Ended, called
from tests.waiting import until


def edge(*arguments: str | Path) -> Ended:
    """Run one of the tools."""
    return called(*arguments, program=main)


def script(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run cloudedge-edge as the installed script does."""
    command = [sys.executable, "-c", "from edge.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture
def form(tmp_path: Path) -> Path:
    path = tmp_path / "format.json"
    path.write_bytes(DATA.model_dump_json().encode())
    return path


def test_samples_are_added_listed_and_deleted(tmp_path: Path, form: Path) -> None:
    state, file = tmp_path / "state", tmp_path / "in.jsonl"
    write_samples(file, 5)
    assert edge("samples", "add", file, "--state", state, "--format", form).out == f"{file}: 5 new samples\n"
    again = edge("samples", "add", file, "--state", state, "--format", form, "--json")
    assert json.loads(again.out) == {"added": {str(file): 0}}
    listed = json.loads(edge("samples", "query", "--state", state, "--json").out)
    assert [sample["id"] for sample in listed] == [1, 2, 3, 4, 5]
    assert edge("samples", "delete", "1", "3", "--state", state).out == "2 samples deleted\n"
    highs = json.loads(edge("samples", "query", "--state", state, "--label", "high", "--json").out)
    assert {sample["label"] for sample in highs} <= {"high"}
    table = edge("samples", "query", "--state", state, "--limit", "1").out.splitlines()
    assert table[0] == "samples:"
    assert table[1].split() == ["ID", "CLASS", "DIGEST", "ADDED", "FROM"]
    assert len(table) == 3
    assert edge("samples", "delete", "--state", state, "--source", file).out == "3 samples deleted\n"


def test_a_task_file_serves_as_a_format(tmp_path: Path) -> None:
    task, file = tmp_path / "task.json", tmp_path / "in.jsonl"
    task.write_text(json.dumps({"name": "x", "id": "x", "data": DATA.model_dump(mode="json")}))
    write_samples(file, 2)
    found = edge("samples", "add", file, "--state", tmp_path / "state", "--format", task)
    assert found.out == f"{file}: 2 new samples\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["status", "--state", "{dir}/none"], 3, "No runner has used {dir}/none yet"),
        (["models", "query", "--state", "{dir}/none"], 3, "No runner has used"),
        (["samples", "query", "--state", "{dir}/none"], 3, "No sample was ever collected"),
        (["samples", "delete", "--state", "{dir}/none"], 2, "Say which samples to delete"),
        (["samples", "add", "{dir}/x", "--state", "{dir}/s", "--format", "{dir}/none.json"], 2, "Cannot read {dir}/none.json"),
        (["samples", "add", "{dir}/x", "--state", "{dir}/s", "--format", "{dir}/format.json"], 3, "no file or folder {dir}/x"),
    ],
)
def test_mistakes_end_with_a_message_and_an_exit_code(
    tmp_path: Path, form: Path, arguments: list[str], code: int, said: str
) -> None:
    found = edge(*(argument.replace("{dir}", str(tmp_path)) for argument in arguments))
    assert found.code == code
    assert said.replace("{dir}", str(tmp_path)) in found.err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "--inbox", "{dir}"], 2, "--state"),
        (["run", "--inbox", "{dir}", "--state", "{dir}/format.json/x"], 5, "choose another --state"),
        (["workers", "--socket", "{dir}/format.json/x"], 5, "Choose another --socket"),
        (["status", "--state", "{dir}/none"], 3, "No runner has used {dir}/none yet"),
    ],
)
def test_the_installed_script_ends_with_the_same_codes(
    tmp_path: Path, form: Path, arguments: list[str], code: int, said: str
) -> None:
    found = script(*(argument.replace("{dir}", str(tmp_path)) for argument in arguments))
    assert (found.returncode, "Traceback" in found.stderr) == (code, False)
    assert said.replace("{dir}", str(tmp_path)) in found.stderr


def test_status_tells_of_the_runner_its_orders_and_what_is_wrong(site: Site) -> None:
    (site.samples / "bad.jsonl").write_text("{\n")
    order = site.order()
    site.want(order)
    with site.running():
        site.finish(order)
        until(lambda: json.loads(edge("status", "--state", site.state, "--json").out)["orders"][0]["phase"] == "done")
        found = json.loads(edge("status", "--state", site.state, "--json").out)
        assert found["running"]
        assert (found["edge"], found["generation"], found["samples"]) == ("edge-1", "1", 40)
        assert [bad["path"] for bad in found["bad_files"]] == [str(site.samples / "bad.jsonl")]
    text = edge("status", "--state", site.state).out
    assert "runner:  not running" in text
    assert f"{order.id}  train  done" in text


def test_status_tells_of_an_order_that_was_refused(tmp_path: Path) -> None:
    ledger = Ledger(Folders(tmp_path).ledger)
    refused = refusal(an_order(1))
    ledger.apply(1, "edge-1", [refused], [], [], [])
    ledger.stand(refused)
    assert f"{refused.order.id}  refused  failed" in edge("status", "--state", tmp_path).out
    (found,) = json.loads(edge("status", "--state", tmp_path, "--json").out)["orders"]
    assert (found["kind"], found["phase"], found["error"]) == ("refused", "failed", "It cannot be read.")


def told(state: Path) -> dict[str, Any]:
    """How each order stands."""
    orders = json.loads(edge("status", "--state", state, "--json").out)["orders"]
    return {order["id"]: order["standing"] for order in orders}


def test_status_tells_what_each_order_does_or_waits_for_since_when_and_what_comes_next(site: Site) -> None:
    away = site.base().model_copy(update={"url": "http://127.0.0.1:1/base.safetensors"})
    first, second, third = site.order(1, inputs={"base": away}), site.order(2, training=LONG), site.order(3)
    site.want(first, second, third)
    with site.running():
        until(lambda: site.epochs(second) > 0)
        found = told(site.state)
        assert re.match(r"interrupted (once|\d+ times): .*127\.0\.0\.1", found[first.id]["now"])
        assert found[first.id]["next"].startswith("it is tried again")
        assert re.fullmatch(r"training: \d+ of 5,000 epochs.*", found[second.id]["now"])
        assert found[second.id]["next"].startswith("it fails unless that is done by 2")
        assert found[third.id]["now"] == f"waits for its turn: {second.id} is at work"
        text = edge("status", "--state", site.state).out
        assert re.search(rf"^{re.escape(first.id)}: .*interrupted (once|\d+ times): .*, since .*; it ", text, re.M)
    for standing in told(site.state).values():
        assert standing["now"].endswith(" (the runner is not at work)")
        assert "once the runner is started" in standing["next"]


def test_status_tells_of_a_deployment_that_holds_up_the_next_one_of_calibration_and_of_files_that_cannot_be_sent(
    site: Site,
) -> None:
    deployments = [
        site.order(number, work=Deploy(brand="oats"), inputs={"model": site.base(), "deployable": site.base()}, outputs={})
        for number in (1, 2)
    ]
    search, sending = site.order(3), site.order(4)
    entries = [Entry(order, Phase.ACCEPTED, now()) for order in (*deployments, search, sending)]
    ledger = Ledger(Folders(site.state).ledger)
    ledger.apply(1, "edge-1", entries, [], [], [])
    ledger.stand(replace(entries[0], phase=Phase.FETCHING))
    ledger.hold_up(deployments[0].id, "The store is away.", 3, 1000)
    calibrating = Stream(name="calibration", done=12, total=100, unit="networks measured (latency)")
    ledger.stand(replace(entries[2], phase=Phase.EVALUATING, progress=(calibrating,)))
    made = site.root / "manifest.json"
    manifest = Manifest(order=sending.id, edge="edge-1", result=Evaluated(), seconds=1)
    ledger.finish_work(replace(entries[3], phase=Phase.UPLOADING), manifest, [("manifest", made)])
    ledger.upload_failed(sending.id, "manifest", "It is refused.", 1000)
    with locked(Folders(site.state).lock):
        found = told(site.state)
    first, second = (order.id for order in deployments)
    assert found[first]["now"] == "interrupted 3 times: The store is away."
    assert found[second]["now"] == f"waits for {first}, which has to be done first"
    assert found[search.id]["now"] == "calibrating the device: 12 of 100 networks measured (latency)"
    assert found[sending.id]["now"] == "sending its files: manifest; failed once: It is refused."
    for order_id in (first, sending.id):
        assert found[order_id]["again_at"] > found[order_id]["since"]
    ledger.stand(replace(entries[0], phase=Phase.DEPLOYING))
    with locked(Folders(site.state).lock):
        assert told(site.state)[first]["now"] == "deploying"


def test_models_are_listed_with_their_epochs_and_deleted_once_their_order_is_over(site: Site) -> None:
    order = site.order(outputs={"model": site.target("late", "model.safetensors")})
    (site.cloud / "late").write_bytes(b"")  # A file where a folder is needed: the result cannot be sent.
    site.want(order)
    with site.running():
        until(lambda: json.loads(edge("models", "query", "--state", site.state, "--json").out or "[]"))
        refused = edge("models", "delete", order.id, "--state", site.state)
        assert (refused.code, "is not over" in refused.err) == (4, True)
        (site.cloud / "late").unlink()
        site.finish(order)
        until(lambda: not list(Ledger(Folders(site.state).ledger).entries()), what="the order's closing")
    (model,) = json.loads(edge("models", "query", "--state", site.state, "--json").out)
    assert model["sha256"] == site.manifest(order).outputs["model"].sha256
    assert model["accuracy"] == site.trained(order).scores["model"].accuracy
    epochs = json.loads(edge("models", "query", order.id, "--state", site.state, "--json").out)
    assert [point["sequence"] for point in epochs] == [0, 1, 2, 3]
    assert "RECALL" in edge("models", "query", order.id, "--state", site.state).out
    assert edge("models", "delete", order.id, "--state", site.state).out == f"model of {order.id} deleted\n"
    assert not Path(model["path"]).exists()
    assert edge("models", "delete", order.id, "--state", site.state).code == 3


def test_help_names_every_command() -> None:
    text = edge("--help").out
    for command in ("run", "workers", "status", "samples", "models"):
        assert command in text
    assert "--inbox" in script("run", "--help").stdout
    assert "--socket" in script("workers", "--help").stdout


def test_the_idle_runner_loads_nothing_big() -> None:
    big = ("torch", "numpy", "typer", "rich", "urllib3", "mlflow", "kfp")
    code = f"import sys, edge.runner; print([name for name in {big} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
