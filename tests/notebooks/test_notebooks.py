"""Notebooks are experiments to read: no outputs, no logic of their own, parameters in one place.

`make test` executes them; the cluster's by tests/cluster/test_notebook.py.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat
import pytest

OURS = {"cloud", "cloudedge", "components", "edge", "pipelines"}
NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def cells(path: Path) -> list[Any]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]  # type: ignore[no-untyped-call]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> list[Any]:
    return cells(request.param)


def test_there_are_notebooks_for_each_of_the_three_ways() -> None:
    assert [path.name for path in NOTEBOOKS] == ["compare_fusion_rules.ipynb", "on_the_cluster.ipynb", "own_data.ipynb"]


def test_it_imports_nothing_of_ours_but_the_public_names(notebook: list[Any]) -> None:
    modules = {
        node.module
        for cell in notebook
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.ImportFrom) and node.module
    }

    assert {name for name in modules if name.partition(".")[0] in OURS} == {"pipelines"}


def test_it_is_kept_without_outputs(notebook: list[Any]) -> None:
    assert all(cell.outputs == [] and cell.execution_count is None for cell in notebook)


def test_it_has_one_cell_of_parameters_and_that_comes_first(notebook: list[Any]) -> None:
    assert [index for index, cell in enumerate(notebook) if "parameters" in cell.metadata.get("tags", [])] == [0]
    assert all(isinstance(statement, ast.Assign) for statement in ast.parse(notebook[0].source).body)


def test_it_has_no_logic_of_its_own(notebook: list[Any]) -> None:
    logic = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.While, ast.Try)
    for cell in notebook:
        assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, logic)]


def test_what_it_imports_is_there(notebook: list[Any]) -> None:
    missing = [
        f"{node.module}.{alias.name}"
        for cell in notebook
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if not is_there(node.module, alias.name)
    ]
    assert missing == []


def is_there(module: str, name: str) -> bool:
    """Whether `from module import name` gives something."""
    try:
        found = import_module(module)
        if not hasattr(found, name):
            import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True
