"""Components are entrypoints: what Kubeflow runs of a body is its text alone, so it imports, calls once, and nothing else."""

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

import components

FOLDER = Path(str(components.__file__)).parent
PLACES = {path.parent.name: path.parent.relative_to(FOLDER) for path in FOLDER.rglob("component.py")}
NAMES = sorted(PLACES)


def component(name: str) -> Any:
    return getattr(importlib.import_module(".".join(["components", *PLACES[name].parts, "component"])), name)


def body(name: str) -> list[ast.stmt]:
    tree = ast.parse((FOLDER / PLACES[name] / "component.py").read_text())
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return function.body


def test_every_step_has_one() -> None:
    assert NAMES == [
        "begin",
        "collaborate",
        "dispatch",
        "evaluate",
        "fuse",
        "gate",
        "learn",
        "pretrain",
        "register",
        "release",
        "report",
        "wait",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_body_imports_and_calls_one_function(name: str) -> None:
    docstring, *statements = body(name)
    assert isinstance(docstring, ast.Expr)
    if ast.unparse(statements[0]) == "arguments = dict(locals())":
        statements = statements[1:]
    *imports, call = statements
    assert imports
    assert all(isinstance(statement, ast.ImportFrom) for statement in imports)
    assert isinstance(call, ast.Return | ast.Expr)
    assert isinstance(call.value, ast.Call)


@pytest.mark.parametrize("name", NAMES)
def test_a_body_uses_only_its_arguments_and_what_it_imports(name: str) -> None:
    statements = ast.Module(body(name), [])
    stored = {node.id for node in ast.walk(statements) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imported = {alias.name for node in ast.walk(statements) if isinstance(node, ast.ImportFrom) for alias in node.names}
    loaded = {node.id for node in ast.walk(statements) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    arguments = set(inspect.signature(component(name).python_func).parameters)

    assert loaded <= arguments | imported | stored | {"dict", "locals"}


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_and_artifact_is_described_for_the_ui(name: str) -> None:
    spec = component(name).component_spec
    assert spec.description
    for place, described in [*(spec.inputs or {}).items()]:
        assert described.description, f"{name}.{place}"
    docstring = inspect.getdoc(component(name).python_func) or ""
    for argument in inspect.signature(component(name).python_func).parameters:
        assert f"    {argument}: " in docstring


@pytest.mark.parametrize("name", NAMES)
def test_a_component_runs_in_the_cloud_image_and_installs_nothing(name: str) -> None:
    container = component(name).component_spec.implementation.container
    text = " ".join([*container.command, *container.args])

    assert container.image == "cloudedge/cloud:0.2.0"
    assert "pip install" not in text
