"""The flat form of the Kubeflow UI and the task are the same thing."""

import inspect
import json
from collections.abc import Iterator
from typing import Any

import pytest
from components.collaborative_training.pretrain.parameters import PLACES, document_of, parameters_of, task_of, task_of_document
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from kfp.local import executor_input_utils, placeholder_utils
from kfp.pipeline_spec import pipeline_spec_pb2
from pydantic import BaseModel, ValidationError

from cloudedge.documents import DataFormat, TrainingTask
from cloudedge.errors import InvalidDocument
from components.collaborative_training.pretrain.component import pretrain
from tests.digits import digits_task
from tests.strategies import documents

SPEC = pretrain.pipeline_spec.components["comp-pretrain"]


def through_kfp(form: dict[str, Any]) -> dict[str, Any]:
    """What a step is given of a form by kfp's own local engine: as messages, and with the placeholders in them replaced."""
    data = {"cloud_data": "", "test_data": "", "kubeflow_run_id": "", "most_rounds": 1}
    message = executor_input_utils.construct_executor_input(SPEC, {**form, **data}, "/tmp", block_input_artifact=True)
    given = executor_input_utils.executor_input_to_dict(message, SPEC)
    (text,) = placeholder_utils.replace_placeholders(["{{$}}"], given, "pipeline", "task", "/root", "1")
    found: dict[str, Any] = json.loads(text)["inputs"]["parameterValues"]
    return {name: _typed(value, SPEC.input_definitions.parameters[name].parameter_type) for name, value in found.items()}


def _typed(value: Any, kind: int) -> Any:
    """As kfp's executor gives it to a function; numbers inside lists and dictionaries stay the floats that they became."""
    return int(value) if kind == pipeline_spec_pb2.ParameterType.NUMBER_INTEGER else value


TEXTS = st.lists(
    st.sampled_from(["{", "}}", "$", "(", ")", "[[", "]]", ".", "{{$}}", "kfp-workspace", "RunUUID", "\\u007b", '"'])
    | st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF, exclude_characters="\x7f"), max_size=3),
    max_size=3,
).map("".join)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
SETTINGS = st.dictionaries(
    TEXTS,
    st.recursive(TEXTS | NUMBERS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2)),
    max_size=3,
)


@st.composite
def tasks(draw: st.DrawFn) -> TrainingTask:
    """Tasks whose open places hold texts that are near what is replaced on the way, now and then too near."""
    task = draw(documents(TrainingTask))
    classes = draw(st.lists(TEXTS.filter(bool), min_size=2, max_size=3, unique=True))
    try:
        data = DataFormat.model_validate({**task.data.model_dump(), "classes": classes})
    except ValidationError:  # Such as a name that no folder of images can have.
        reject()
    fusion = task.collaboration.fusion.model_copy(update={"parameters": draw(SETTINGS)})
    return task.model_copy(
        update={
            "name": draw(TEXTS.filter(bool)),
            "data": data,
            "model": task.model.model_copy(update={"parameters": draw(SETTINGS)}),
            "collaboration": task.collaboration.model_copy(update={"fusion": fusion}),
        }
    )


@settings(max_examples=50, suppress_health_check=[HealthCheck.filter_too_much])  # Most tasks at random are none.
@given(tasks())
def test_a_task_that_is_accepted_comes_back_from_its_form_as_the_same_bytes(task: TrainingTask) -> None:
    try:
        form = parameters_of(task)
    except InvalidDocument:
        reject()
    asked = task_of(form)

    assert asked == task
    assert task_of(through_kfp(parameters_of(asked))).to_json() == asked.to_json()


@settings(max_examples=30)
@given(tasks())
def test_a_task_that_is_accepted_comes_back_from_a_form_that_is_one_document_under_any_id(task: TrainingTask) -> None:
    try:
        document = document_of(task)
    except InvalidDocument:
        reject()

    assert "id" not in document
    for form in (document, {**document, "id": "pasted", "schema_version": 1}):
        assert task_of_document(floats(form), "another") == task.model_copy(update={"id": "another"})


def floats(value: Any) -> Any:
    """What kfp makes of whole numbers in lists and dictionaries."""
    if isinstance(value, dict):
        return {key: floats(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [floats(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def test_a_form_comes_back_as_the_same_bytes_however_often() -> None:
    task = digits_task(fusion={"rule": "fedadam", "parameters": {"learning_rate": 1.0}})
    once = task_of(parameters_of(task))

    assert task_of(parameters_of(once)).to_json() == once.to_json()


def leaves(kind: type[BaseModel], place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and (*place, name) not in PLACES.values():
            yield from leaves(inner, (*place, name))
        else:
            yield (*place, name)


def test_every_leaf_of_a_task_has_its_place_in_the_form() -> None:
    assert sorted(PLACES.values()) == sorted(leaf for leaf in leaves(TrainingTask) if leaf != ("schema_version",))


def test_the_component_asks_for_the_whole_form_in_its_order() -> None:
    arguments = list(inspect.signature(pretrain.python_func).parameters)

    assert arguments == [
        "pretrained",
        "pretraining_metrics",
        *PLACES,
        "cloud_data",
        "test_data",
        "kubeflow_run_id",
        "most_rounds",
    ]


def test_a_wrong_form_lists_all_its_faults() -> None:
    form = {**parameters_of(digits_task()), "pretraining_epochs": 0, "edge_optimizer": "lion", "edges": ["Edge 1"]}

    with pytest.raises(InvalidDocument) as refused:
        task_of(form)

    assert sorted(fault.split(":")[0] for fault in refused.value.faults) == [
        "collaboration.edges.0",
        "collaboration.training.optimizer",
        "pretraining.epochs",
    ]
