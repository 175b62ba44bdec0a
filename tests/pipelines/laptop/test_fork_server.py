"""Tasks in the fork server, by themselves: each a process of its own, with kfp's own executor and its exit code."""

import json
import os
from pathlib import Path

import pytest

from pipelines.laptop import fork_server

SOURCE = """
import os, signal
from pathlib import Path

def note(file: str):
    Path(file).write_text(f"{os.getpid()} {os.environ['COLOUR']} {os.environ.get('_KFP_RUNTIME')}")

def fail(file: str):
    raise ValueError("as planned")

def die(file: str):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def run(function: str, folder: Path, **variables: str) -> int:
    executor_input = {
        "inputs": {"parameterValues": {"file": str(folder / "note")}},
        "outputs": {"outputFile": str(folder / "out.json")},
    }
    script = "python3 -m kfp.dsl.executor_main --component_module_path file"
    arguments = ["--executor_input", json.dumps(executor_input), "--function_to_execute", function]
    return fork_server.run(["sh", "-ec", script, SOURCE, *arguments], variables)


def test_each_task_is_a_process_of_its_own_with_its_own_variables(tmp_path: Path) -> None:
    processes = set()
    for colour in ("red", "green"):
        assert run("note", tmp_path, COLOUR=colour) == 0
        process, found, runtime = (tmp_path / "note").read_text().split()
        assert found == colour
        assert runtime == str(os.environ.get("_KFP_RUNTIME"))
        processes.add(process)
    assert len(processes) == 2
    assert str(os.getpid()) not in processes


def test_how_a_task_ended_is_known(tmp_path: Path) -> None:
    assert run("fail", tmp_path) == 1
    assert fork_server.deaths == []
    assert run("die", tmp_path) == -9
    assert fork_server.deaths == [9]
    assert run("note", tmp_path, COLOUR="blue") == 0


def test_what_is_no_lightweight_component_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"Only lightweight Python components .*\['echo', 'hello'"):
        fork_server.run(["echo", "hello", "you", "there"])
    with pytest.raises(RuntimeError, match="Only lightweight Python components"):
        fork_server.run(["echo"])
