"""cloudedge validate and compile, and what is the same for all commands."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudedge import __version__
from tests.digits import EDGES
from tests.terminal import Cloudedge


def test_the_version_is_shown(cloudedge: Cloudedge) -> None:
    assert cloudedge("--version").out == f"{__version__}\n"


def test_the_help_names_all_commands(cloudedge: Cloudedge) -> None:
    shown = cloudedge("--help").out

    for command in (
        "demo",
        "run",
        "sweep",
        "validate",
        "compile",
        "fuse",
        "submit",
        "status",
        "logs",
        "tasks",
        "events",
        "report",
    ):
        assert f" {command} " in shown


@pytest.mark.parametrize("arguments", [("dance",), ("run",), ("validate", "--loud", "x"), ("tasks", "dance")])
def test_what_is_no_command_ends_with_2(cloudedge: Cloudedge, arguments: tuple[str, ...]) -> None:
    assert cloudedge(*arguments).code == 2


def test_a_valid_task_is_said_to_be_one(cloudedge: Cloudedge, task_file: Path) -> None:
    ended = cloudedge("validate", task_file)

    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"{task_file} is a valid task: Digits (mine), mlp, 2 rounds.\n"


def test_for_programs_the_task_is_shown_with_all_its_defaults(cloudedge: Cloudedge, task_file: Path) -> None:
    shown = cloudedge("validate", task_file, "--json").json

    assert shown["collaboration"]["fusion"] == {"rule": "samples", "parameters": {}, "base_weight": 0.0}


def test_all_faults_of_a_task_are_listed_at_once(cloudedge: Cloudedge, task_file: Path) -> None:
    task = json.loads(task_file.read_text())
    task["id"] = "My Task"
    task["pretraining"]["epochs"] = 0
    task["colaborate"] = True
    del task["data"]
    task_file.write_text(json.dumps(task))

    ended = cloudedge("validate", task_file)

    assert (ended.code, ended.out) == (2, "")
    assert sorted(ended.err.splitlines()[1:]) == [
        "  - colaborate: no such field; remove it or correct its name",
        "  - data: missing; add it",
        "  - id: found 'My Task'; use lower-case letters, digits and inner hyphens, at most 53 characters",
        "  - pretraining.epochs: found 0; give 1 or more",
    ]


@pytest.mark.parametrize("command", [("validate",), ("compile", "-o", "/dev/null")])
def test_a_wrong_rule_and_a_wrong_architecture_are_found_too(
    cloudedge: Cloudedge, task_file: Path, command: tuple[str, ...]
) -> None:
    task = json.loads(task_file.read_text())
    task["model"]["architecture"] = "transformer"
    task["collaboration"]["fusion"]["rule"] = "average"
    task_file.write_text(json.dumps(task))

    ended = cloudedge(command[0], task_file, *command[1:])

    assert ended.code == 2
    assert "There is no architecture 'transformer' here; there are convnet, mlp, vgg" in ended.err
    assert "There is no fusion rule 'average'. There are: accuracy, fedadam" in ended.err


@pytest.mark.parametrize(
    "command",
    [
        ("validate",),
        ("compile", "-o", "out.yaml"),
        ("run", "--home", "home", "--data", "."),
        ("submit", "--data", "store:digits"),
    ],
    ids=lambda command: command[0],
)
def test_what_kubeflow_would_replace_is_refused_by_every_command_before_anything_begins(
    cloudedge: Cloudedge, task_file: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    task = json.loads(task_file.read_text())
    task["data"]["classes"][3] = "{{$.inputs}}"
    task["model"]["parameters"]["width"] = "$(HOSTNAME)"
    task_file.write_text(json.dumps(task))
    (tmp_path / "cloud").mkdir()
    for edge in EDGES:
        (tmp_path / "edges" / edge).mkdir(parents=True)

    ended = cloudedge(command[0], task_file, *command[1:], folder=tmp_path)

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[:3] == [
        "The task cannot be carried by a pipeline's parameters:",
        "  - model.parameters.width: found '$(HOSTNAME)'; leave out '$(', which Kubeflow would replace",
        "  - data.classes.3: found '{{$.inputs}}'; leave out '{{', which Kubeflow would replace",
    ]
    assert not list(tmp_path.glob("home/store"))
    assert not (tmp_path / "out.yaml").exists()


@pytest.mark.parametrize("command", [("validate",), ("run",), ("compile", "-o", "out.yaml")])
@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (None, 3, "There is no file"),
        ("{", 2, "it is not JSON"),
        ("[]", 2, "found []"),
        ("\udcff", 2, "it is not JSON"),
        ('{"schema_version": 2}', 2, "schema_version: found 2; give 1"),
        ("[" * 100_000, 2, "it is not JSON"),
    ],
)
def test_a_file_that_is_no_task_is_refused_by_every_command(
    cloudedge: Cloudedge, tmp_path: Path, command: tuple[str, ...], content: str | None, code: int, message: str
) -> None:
    path = tmp_path / "task.json"
    if content is not None:
        path.write_text(content, errors="surrogateescape")

    ended = cloudedge(command[0], path, *command[1:])

    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err


def test_a_folder_is_no_task_file(cloudedge: Cloudedge, tmp_path: Path) -> None:
    ended = cloudedge("validate", tmp_path)

    assert (ended.code, ended.err) == (2, f"{tmp_path} is a folder: name the task's file in it.\n")


def test_a_package_goes_through_a_pipe_with_nothing_beside_it(task_file: Path) -> None:
    command = [sys.executable, "-m", "pipelines.cli", "compile", str(task_file), "-o", "/dev/stdout"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    package: Any = next(yaml.safe_load_all(printed))
    assert package["root"]["inputDefinitions"]["parameters"]["task_name"]["defaultValue"] == "Digits"
    assert "/dev/stdout" not in printed


def test_a_task_is_compiled_to_a_package(cloudedge: Cloudedge, task_file: Path, tmp_path: Path) -> None:
    ended = cloudedge("compile", task_file, "-o", tmp_path / "folder" / "mine.yaml")

    package: Any = next(yaml.safe_load_all((tmp_path / "folder" / "mine.yaml").read_text()))
    assert ended.out == f"{tmp_path / 'folder' / 'mine.yaml'}\n"
    form = package["root"]["inputDefinitions"]["parameters"]
    assert (form["task_name"]["defaultValue"], form["task_id"]["defaultValue"]) == ("Digits", "")
    assert "adamw" in form["edge_optimizer"]["literals"]


def test_a_package_may_ask_for_the_task_as_one_document(cloudedge: Cloudedge, task_file: Path, tmp_path: Path) -> None:
    assert cloudedge("compile", task_file, "-o", tmp_path / "mine.yaml", "--form", "task").code == 0

    package: Any = next(yaml.safe_load_all((tmp_path / "mine.yaml").read_text()))
    assert set(package["root"]["inputDefinitions"]["parameters"]) == {"cloud_data", "task", "task_id", "test_data"}


def compiled(task_file: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """What becomes of a task where the administrator has said something of the cluster."""
    command = [sys.executable, "-m", "pipelines.cli", "compile", str(task_file), "-o", str(task_file.with_suffix(".yaml"))]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)


def test_a_package_names_the_image_and_the_gpu_that_the_administrator_has(task_file: Path) -> None:
    compiled(task_file, CLOUDEDGE_IMAGE="registry.example:5000/ml/cloudedge/cloud:2.0-RC1", CLOUDEDGE_GPU="nvidia.com/gpu")

    package: Any = next(yaml.safe_load_all(task_file.with_suffix(".yaml").read_text()))
    containers = {name: each["container"] for name, each in package["deploymentSpec"]["executors"].items()}
    assert {each["image"] for each in containers.values()} == {"registry.example:5000/ml/cloudedge/cloud:2.0-RC1"}
    given = {name: each["resources"]["accelerator"] for name, each in containers.items() if "resources" in each}
    assert {name: (gpu["resourceType"], gpu["resourceCount"]) for name, gpu in given.items()} == {
        "exec-pretrain": ("nvidia.com/gpu", "1")
    }


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "CLOUDEDGE_IMAGE",
            "Registry/cloud",
            "'Registry/cloud' cannot be the image of pipeline steps, CLOUDEDGE_IMAGE: give a name such as ",
        ),
        (
            "CLOUDEDGE_GPU",
            "one",
            "'one' cannot be the GPU of pretraining, CLOUDEDGE_GPU: give the name that nodes offer it by, ",
        ),
    ],
)
def test_what_no_cluster_has_ends_with_2(task_file: Path, name: str, value: str, message: str) -> None:
    ended = compiled(task_file, **{name: value})

    assert ended.returncode == 2
    assert ended.stderr.startswith(message)


def test_a_package_that_cannot_be_written_ends_with_5(cloudedge: Cloudedge, task_file: Path) -> None:
    ended = cloudedge("compile", task_file, "-o", task_file / "mine.yaml")

    assert ended.code == 5
    assert ended.err.startswith(f"Cannot write {task_file / 'mine.yaml'}: ")
