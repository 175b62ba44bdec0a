"""Documents survive the way through JSON, and refuse what they must with all reasons at once."""

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudedge import __version__
from cloudedge.documents import DataFormat, Inbox, Order, Scores, TrainingTask, canonical_json, order_id, parse
from cloudedge.documents.base import Part
from cloudedge.errors import InvalidDocument
from cloudedge.schemas import DOCUMENTS
from tests.strategies import JSON_VALUES, documents

slow_to_make = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], max_examples=30)


def task(**changes: Any) -> dict[str, Any]:
    """A task as a user writes it, with changes."""
    return {
        "name": "Lamps",
        "id": "lamps-1",
        "data": {"storage": "csv", "fields": [{"name": "brightness"}], "classes": ["off", "on"]},
    } | changes


def faults_of(kind: type[Part], value: object) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        parse(kind, json.dumps(value), "lamps.json")
    assert str(caught.value).startswith(f"lamps.json is not a valid {kind.called or kind.__name__.lower()}:\n")
    return caught.value.faults


@pytest.mark.parametrize("name", DOCUMENTS)
@slow_to_make
@given(st.data())
def test_a_document_comes_back_from_json_as_it_was_and_gives_the_same_bytes_again(name: str, data: st.DataObject) -> None:
    document = data.draw(documents(DOCUMENTS[name]))
    content = document.model_dump_json()

    again = parse(type(document), content, "test")

    assert again == document
    assert again.model_dump_json() == content


@pytest.mark.parametrize("loss", [math.inf, -math.inf, math.nan])
def test_a_loss_that_is_no_number_any_more_can_be_reported(loss: float) -> None:
    scores = Scores(samples=1, loss=loss, accuracy=0, recall=0)

    again = parse(Scores, scores.model_dump_json(), "test")

    assert str(again.loss) == str(loss)


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=5), st.randoms())
def test_equal_values_have_one_canonical_form_whatever_their_order(value: dict[str, Any], random: Any) -> None:
    keys = list(value)
    random.shuffle(keys)

    assert canonical_json({key: value[key] for key in keys}) == canonical_json(value)
    assert json.loads(canonical_json(value)) == value


def test_the_smallest_task_names_itself_and_its_data_and_gets_defaults_for_the_rest() -> None:
    parsed = parse(TrainingTask, json.dumps(task()), "lamps.json")

    assert (parsed.collaborate, parsed.collaboration.rounds, parsed.collaboration.fusion.rule) == (True, 3, "samples")
    assert parsed.model_file_name == "model.safetensors"


def test_a_task_file_may_name_its_schema_for_editors() -> None:
    assert parse(TrainingTask, json.dumps({"$schema": "docs/schemas/task.schema.json", **task()}), "a") == TrainingTask(
        **task()
    )


def test_a_wrong_task_file_lists_all_its_faults_at_once_each_with_field_value_and_remedy() -> None:
    wrong = task(
        id="Lamps 1",
        schema_version=2,
        model_file_name="../model",
        pretraining={"epochs": 0, "learning_rat": 0.1, "optimizer": "lion"},
        collaboration={"edges": ["edge-1", "Edge 2", "edge-1"], "quorum": -1, "rounds": "many"},
        data={"storage": "csv", "fields": [{"name": "brightness", "shape": [0]}], "classes": ["off", "off"], "held_out": 1},
    )
    del wrong["name"]

    assert faults_of(TrainingTask, wrong) == [
        f"schema_version: found 2; give 1, or use a cloudedge that knows 2: this is {__version__}",
        "name: missing; add it",
        "id: found 'Lamps 1'; use lower-case letters, digits and inner hyphens, at most 53 characters",
        "model_file_name: found '../model'; use a file name without folders: letters, digits, dots, underscores and hyphens, "
        "at most 100 characters",
        "data.fields.0.shape.0: found 0; give 1 or more",
        "data.classes: found ['off', 'off']; 'off' stands there 2 times; name each once",
        "data.held_out: found 1; give less than 1.0",
        "pretraining.epochs: found 0; give 1 or more",
        "pretraining.optimizer: found 'lion'; give 'sgd', 'momentum', 'adam' or 'adamw'",
        "pretraining.learning_rat: no such field; remove it or correct its name",
        "collaboration.edges.1: found 'Edge 2'; use lower-case letters, digits and inner hyphens, at most 53 characters",
        "collaboration.rounds: found 'many'; input should be a valid integer, unable to parse string as an integer",
        "collaboration.quorum: found -1; give 0 or more",
    ]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"edges": ["a", "b", "a"]}, "collaboration.edges: found ['a', 'b', 'a']; 'a' stands there 2 times; name each once"),
        (
            {"edges": ["a"], "quorum": 2},
            "collaboration.quorum: found 2; name more edges, or give at most 1, their number",
        ),
    ],
)
def test_edges_are_named_once_and_a_quorum_can_be_met(change: dict[str, Any], fault: str) -> None:
    assert faults_of(TrainingTask, task(collaboration=change)) == [fault]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        (["a", "a"], "fields: found [{'name': 'a'}, {'name': 'a'}]; 'a' stands there 2 times; name each once"),
        (["a", "b"], "an image folder has one field, of shape (channels, height, width)"),
        (["a"], "an image folder has one field, of shape (channels, height, width)"),
    ],
)
def test_a_data_format_that_contradicts_itself_is_refused(fields: list[str], fault: str) -> None:
    value = {"storage": "image-folder", "fields": [{"name": name} for name in fields], "classes": ["off", "on"]}

    (found,) = faults_of(DataFormat, value)

    assert found.endswith(fault)


CSV = {"storage": "csv", "fields": [{"name": "a"}], "classes": ["off", "on"]}
IMAGES = {"storage": "image-folder", "fields": [{"name": "a", "shape": [3, 8, 8]}], "classes": ["off", "on"]}
FIELD = {"name": "a", "shape": [3, 8, 8]}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"label": "a"}, "label: found 'a'; a field has this name, so the model would be told the answer"),
        ({"label_column": "a"}, "label_column: found 'a'; a field reads 'a' too, so the model would be told the answer"),
        ({"fields": [{"name": "b", "column": "label"}]}, "label_column: found None; a field reads 'label' too"),
        (
            {"fields": [{"name": "a", "shape": [2]}, {"name": "a_0"}]},
            "the column 'a_0' is also one of those of the field 'a', a_0 t",
        ),
        ({"fields": [{"name": "a_1"}, {"name": "b", "column": "a", "shape": [2]}]}, "the column 'a_1' is also one of those of"),
        (
            {"fields": [{"name": "a", "shape": [3]}], "label": "a_2"},
            "label_column: found None; the column 'a_2' is also one of",
        ),
        ({"fields": [{"name": "a"}, {"name": "b", "column": "a"}]}, "'a' stands there 2 times; name each once"),
        (
            {"fields": [{"name": "a", "column": "é"}, {"name": "b", "column": "e\u0301 "}]},
            "stands there 2 times; name each once",
        ),
        ({"fields": [{"name": "a", "column": " "}]}, "fields.0.column: found ' '; ' ' is nothing but space; give it a name"),
        ({"fields": [{"name": "a", "scale": 0}]}, "fields.0.scale: found 0; every value would become the same; give 1e-30 or"),
        ({"fields": [{"name": "a", "scale": -1e-320}]}, "every value would become the same; give 1e-30 or more, or -1e-30 or"),
        ({"fields": [{"name": "a", "scale": math.nan}]}, "fields.0.scale: found nan"),
        ({"fields": [{"name": "a", "scale": math.inf}]}, "fields.0.scale: found inf"),
        ({"fields": [{"name": "a", "offset": math.nan}]}, "fields.0.offset: found nan"),
        ({"classes": ["on", "on "]}, "classes: found ['on', 'on ']; 'on' stands there 2 times"),
        ({"classes": ["a b", "a\u00a0 b"]}, "'a b' stands there 2 times"),
        ({"classes": ["é", "e\u0301"]}, "'é' stands there 2 times"),
        ({"classes": ["on", " "]}, "classes: found ['on', ' ']; ' ' is nothing but space"),
        ({"classes": ["on", "\ud800"]}, "classes.1: found '\\ud800'"),
        ({"fields": [{"name": "sepal length (cm)"}]}, 'what the files call it goes, as it stands there, into "column"'),
        ({"label": "温度"}, 'what the files call it goes, as it stands there, into "column" (of the label: "label_column")'),
    ],
)
def test_a_format_that_would_read_something_wrong_is_refused(change: dict[str, Any], fault: str) -> None:
    (found,) = faults_of(DataFormat, CSV | change)
    assert fault in found


@pytest.mark.parametrize("storage", ["json-lines", "npz"])
def test_what_only_csv_calls_the_same_is_two_things_elsewhere(storage: str) -> None:
    fields = [{"name": "a", "shape": [2]}, {"name": "a_0"}]
    parse(DataFormat, json.dumps(CSV | {"storage": storage, "fields": fields}), "a")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        *(({"classes": ["on", name]}, "cannot be the name of an image's folder") for name in (".", "..", "a/b", "a\0b", ".a")),
        *(({"classes": ["on", name]}, "cannot be the name of an image's folder") for name in ("é" * 128, "__MACOSX")),
        ({"fields": [FIELD | {"shape": [32, 32, 3]}]}, "is it height x width x channels? Then give [3, 32, 32]"),
        ({"fields": [FIELD | {"shape": [32, 24, 1]}]}, "is it height x width x channels? Then give [1, 32, 24]"),
        (
            {"fields": [FIELD | {"shape": [2, 8, 8]}]},
            "the first number counts channels, and images have 1 (grayscale), 3 (RGB) or",
        ),
        ({"fields": [FIELD | {"column": "b"}]}, "an image folder has no columns; leave 'column' out"),
        ({"label_column": "b"}, "label_column: found 'b'; an image folder has no columns; leave it out"),
    ],
)
def test_an_image_folder_that_no_disk_can_hold_is_refused(change: dict[str, Any], fault: str) -> None:
    (found,) = faults_of(DataFormat, IMAGES | change)
    assert fault in found


@pytest.mark.parametrize(
    "value",
    [
        CSV | {"label": "a"},
        CSV | {"fields": [{"name": "a", "scale": 0}]},
        CSV | {"fields": [{"name": "a", "shape": [2]}, {"name": "a_0"}]},
        CSV | {"classes": ["é", "e\u0301"]},
        IMAGES | {"classes": [".", "on"]},
        IMAGES | {"fields": [FIELD | {"shape": [2, 8, 8]}]},
    ],
)
def test_what_was_accepted_before_such_a_rule_was_made_is_still_read(value: dict[str, Any]) -> None:
    assert parse(TrainingTask, json.dumps(task(data=value)), "task.json", stored=True).data.storage == value["storage"]
    faults_of(TrainingTask, task(data=value))


def test_a_task_that_says_no_column_is_written_as_before_there_were_any() -> None:
    field = b'{"dtype":"float32","name":"a","offset":0.0,"scale":1.0,"shape":[]}'
    expected = b'{"classes":["off","on"],"fields":[' + field + b'],"held_out":0.2,"label":"label","storage":"csv"}'
    assert canonical_json(DataFormat.model_validate(CSV)) == expected
    named = DataFormat.model_validate(CSV | {"fields": [{"name": "a", "column": "温度"}], "label_column": "x y"})
    assert parse(DataFormat, named.model_dump_json(), "a") == named


@pytest.mark.parametrize(
    "content", ['{"id": "a", "id": "b"}', '{"data": {"label": "a", "held_out": 0.1, "label": "a"}}', '[{"x": 1, "x": 1}]']
)
def test_a_key_that_stands_twice_is_refused_wherever_it_is(content: str) -> None:
    with pytest.raises(InvalidDocument, match="stands 2 times in one object; keep one"):
        parse(TrainingTask, content, "lamps.json")


def test_a_sample_too_large_for_any_memory_is_refused_before_one_is_read() -> None:
    value = {"storage": "npz", "fields": [{"name": "scan", "shape": [10_000, 10_000]}], "classes": ["off", "on"]}

    (fault,) = faults_of(DataFormat, value)

    assert fault == "fields.0.shape: found [10000, 10000]; these are 100000000 numbers; at most 50000000 are allowed"


@pytest.mark.parametrize("name", ["edge-1\n", "edge/1", "..", "", "-edge", "edge-", "Edge", "e" * 54, "édge"])
def test_no_name_reaches_a_path_unchecked(name: str) -> None:
    (fault,) = faults_of(TrainingTask, task(id=name))
    assert fault.startswith(f"id: found {name!r}; ")
    (fault,) = faults_of(TrainingTask, task(collaboration={"edges": [name]}))
    assert fault.startswith(f"collaboration.edges.0: found {name!r}; ")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{", "it is not JSON: "),
        (b"\xff\xfe", "it is not JSON: "),
        (b"[" * 100_000, "it is not JSON: "),
        (b'{"seed": ' + b"9" * 5000 + b"}", "it is not JSON: "),
        (b"[]", "the document: found []; give an object in braces"),
        (b"null", "the document: found None; give an object in braces"),
        (b"", "it is not JSON: "),
    ],
)
def test_what_is_no_document_at_all_is_refused_with_the_reason(content: bytes, fault: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        parse(TrainingTask, content, "lamps.json")

    (found,) = caught.value.faults
    assert found.startswith(fault)


def test_a_document_over_its_size_is_refused_unread() -> None:
    with pytest.raises(InvalidDocument, match="it has 11 bytes; at most 10 are allowed"):
        parse(TrainingTask, b"not json...", "lamps.json", max_bytes=10)


@slow_to_make
@given(JSON_VALUES, st.sampled_from(list(DOCUMENTS.values())).flatmap(documents))
def test_any_json_is_a_document_or_a_list_of_faults_and_never_anything_else(value: Any, document: Part) -> None:
    mixed = document.model_dump(mode="json") | (value if isinstance(value, dict) else {"extra": value})
    for candidate in (value, mixed):
        with contextlib.suppress(InvalidDocument):
            parse(type(document), json.dumps(candidate), "test")


@slow_to_make
@given(documents(Order))
def test_an_order_has_the_id_of_its_work_and_of_no_other(order: Order) -> None:
    assert order.id == order_id(order.run, order.step, order.edge, order.attempt)
    changed = order.model_dump(mode="json") | {"attempt": order.attempt % 9999 + 1}

    (fault,) = faults_of(Order, changed)

    assert fault.endswith("is not run.step.edge.attempt of the other fields")


@slow_to_make
@given(documents(Inbox).filter(lambda inbox: inbox.orders))
def test_an_inbox_holds_each_order_once_and_only_its_own_edges(inbox: Inbox) -> None:
    value = inbox.model_dump(mode="json")

    (twice,) = faults_of(Inbox, value | {"orders": [value["orders"][0]] * 2})
    (foreign,) = faults_of(Inbox, value | {"edge": f"x{value['edge'][1:]}x"[:53]})

    assert twice.endswith("two orders have the same id")
    assert f"is for the edge {inbox.edge}, not " in foreign
