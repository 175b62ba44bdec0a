"""The exported JSON Schemas are up to date and agree with the documents on what is valid."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cloudedge.documents import TrainingTask
from cloudedge.schemas import DOCUMENTS, main, schema_files
from tests.cloudedge.test_documents import slow_to_make, task
from tests.strategies import documents

ROOT = Path(__file__).parents[2]
SCHEMAS = {name: json.loads(schema_files()[f"{name}.schema.json"]) for name in DOCUMENTS}
TASK = Draft202012Validator(SCHEMAS["task"])


def test_the_schemas_in_docs_are_those_of_the_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    assert main(["--check"]) == 0


def test_a_stale_missing_or_left_over_schema_is_named_and_writing_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    assert main(["--check"]) == 0
    folder = tmp_path / "docs" / "schemas"
    (folder / "task.schema.json").write_text("{}")
    (folder / "order.schema.json").unlink()
    (folder / "wish.schema.json").write_text("{}")

    assert main(["--check"]) == 1
    named = capsys.readouterr().err
    assert named == "Out of date in docs/schemas: order.schema.json, task.schema.json, wish.schema.json. Run `make schemas`.\n"

    assert main([]) == 0
    assert main(["--check"]) == 0


@pytest.mark.parametrize("name", DOCUMENTS)
@slow_to_make
@given(st.data())
def test_every_document_is_valid_by_its_schema(name: str, data: st.DataObject) -> None:
    document = data.draw(documents(DOCUMENTS[name]))

    Draft202012Validator(SCHEMAS[name]).validate(json.loads(document.model_dump_json()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "Lamps 1"},
        {"schema_version": 2},
        {"pretraining": {"epochs": 0}},
        {"pretraining": {"optimizer": "lion"}},
        {"epocs": 3},
        {"collaboration": {"edges": ["Edge 2"]}},
    ],
)
def test_an_editor_underlines_what_the_task_refuses(wrong: dict[str, Any]) -> None:
    assert TASK.is_valid(task())
    assert TASK.is_valid({"$schema": "docs/schemas/task.schema.json"} | task())
    assert not TASK.is_valid(task(**wrong))


def test_each_field_of_each_document_says_what_it_means() -> None:
    for name, schema in SCHEMAS.items():
        for part in [schema, *schema.get("$defs", {}).values()]:
            for field, properties in part.get("properties", {}).items():
                # A field described in its part's own words points to the part.
                assert properties.keys() & {"description", "$ref"}, f"{name}: {part['title']}.{field}"
            assert part["description"], f"{name}: {part['title']}"


def test_an_editor_sees_a_tasks_bounds_and_defaults() -> None:
    epochs = SCHEMAS["task"]["$defs"]["Training"]["properties"]["epochs"]

    assert (epochs["minimum"], epochs["maximum"], epochs["default"]) == (1, 100_000, TrainingTask(**task()).pretraining.epochs)
