"""The flat form of the Kubeflow UI and the task are the same thing, and the form follows from the task's document."""

import json
import re
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from kfp.local import executor_input_utils, placeholder_utils
from kfp.pipeline_spec import pipeline_spec_pb2
from pydantic import Field, ValidationError

from cloud.entrypoints.form import Form, form_of
from cloudedge.documents import DataFormat, Fusion, Task, Training, TrainingTask
from cloudedge.errors import InvalidDocument, InvalidInput
from components.begin.component import begin
from components.collaborative_training.pretrain.component import pretrain
from components.dispatch.component import dispatch
from pipelines.fields import with_fields
from tests.digits import digits_task
from tests.strategies import documents

FORM = form_of(TrainingTask)
PRETRAIN = with_fields(pretrain, FORM)
SPEC = PRETRAIN.pipeline_spec.components["comp-pretrain"]


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


most_are_none = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
"""For tasks at random."""


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


@settings(most_are_none, max_examples=50)
@given(tasks())
def test_a_task_that_is_accepted_comes_back_from_its_form_as_the_same_bytes(task: TrainingTask) -> None:
    try:
        form = FORM.values_of(task)
    except InvalidDocument:
        reject()
    asked = FORM.task_of(form)

    assert asked == task
    assert FORM.task_of(through_kfp(FORM.values_of(asked))).to_json() == asked.to_json()


@settings(most_are_none, max_examples=30)
@given(tasks())
def test_a_task_that_is_accepted_comes_back_from_a_form_that_is_one_document_under_any_id(task: TrainingTask) -> None:
    try:
        document = FORM.document_of(task)
    except InvalidDocument:
        reject()

    assert "id" not in document
    for form in (document, {**document, "id": "pasted", "schema_version": 1}):
        assert FORM.task_of_document(floats(form), "another") == task.model_copy(update={"id": "another"})


def floats(value: Any) -> Any:
    """What kfp makes of whole numbers in lists and dictionaries."""
    if isinstance(value, dict):
        return {key: floats(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [floats(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def test_a_form_comes_back_as_the_same_bytes_however_often() -> None:
    task = digits_task(fusion={"rule": "fedadam", "parameters": {"learning_rate": 1.0}})
    once = FORM.task_of(FORM.values_of(task))

    assert FORM.task_of(FORM.values_of(once)).to_json() == once.to_json()


def test_a_form_has_a_field_for_each_leaf_of_a_task_under_the_names_that_people_know() -> None:
    assert {name: ".".join(field.path) for name, field in FORM.fields.items()} == {
        "task_name": "name",
        "task_id": "id",
        "model_file_name": "model_file_name",
        "model_architecture": "model.architecture",
        "model_parameters": "model.parameters",
        "data_format": "data",
        "random_seed": "seed",
        **{f"pretraining_{name}": f"pretraining.{name}" for name in Training.model_fields},
        "collaborate": "collaborate",
        **{
            name: f"collaboration.{name}"
            for name in ("edges", "rounds", "quorum", "round_deadline_seconds", "straggler_grace_seconds")
        },
        **{f"edge_{name}": f"collaboration.training.{name}" for name in Training.model_fields},
        "edge_recollections": "collaboration.recollection.most",
        "edge_recollection_wait_seconds": "collaboration.recollection.wait_seconds",
        **{f"fusion_{name}": f"collaboration.fusion.{name}" for name in Fusion.model_fields},
        "rounds_target_accuracy": "collaboration.target_accuracy",
    }


def test_kubeflow_is_told_of_each_field_its_type_and_what_it_is() -> None:
    told = {name: (spec.type, spec.description) for name, spec in PRETRAIN.component_spec.inputs.items()}

    assert told["rounds"] == ("Integer", "Largest number of rounds.")
    assert told["edge_learning_rate"] == ("Float", "Training at the edge, in each round. Step size of the optimizer.")
    assert told["collaborate"][0] == "Boolean"
    assert told["edges"][0] == "List"
    assert told["data_format"] == ("Dict", "Format of the samples, in the cloud and at the edge.")


class Odd(Task):
    kind: Literal["odd"] = "odd"
    perhaps: int | None = None


class Twice(Task):
    kind: Literal["twice"] = "twice"
    task_name: str = ""


class Mixed(Task):
    kind: Literal["mixed"] = "mixed"
    level: Literal["high", 3] = "high"


class Whole(Task):
    kind: Literal["whole"] = "whole"
    task: str = ""


class Nameless(Task):
    form_names: ClassVar = {"column": "file_column"}
    kind: Literal["nameless"] = "nameless"
    column: str = ""


class Braced(Task):
    kind: Literal["braced"] = "braced"
    column: str = Field(default="", description="As in {{column}}.")


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (Odd, "perhaps: Kubeflow has no type for int | None; make it a text, "),
        (Mixed, "level: Kubeflow has no type for typing.Literal['high', 3]; "),
        (Twice, "A form of Twice would have another field 'task_name': rename one, "),
        (Whole, "A form of Whole would have another field 'task': rename one, "),
        (Nameless, "A form of Nameless has no field 'task_id': keep those of Task.form_names"),
        (Braced, "column: found 'As in {{column}}.'; leave out '{{', which Kubeflow would replace"),
    ],
)
def test_a_document_that_no_form_can_have_is_found_by_its_author(document: type[Task], fault: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(fault)):
        Form(document)


class Systematic(Task):
    kind: Literal["systematic"] = "systematic"
    system: str = ""


def test_a_field_that_is_called_as_something_else_of_the_first_step_is_found_by_its_author() -> None:
    with pytest.raises(
        InvalidInput, match="Systematic has the field 'system', as the step begin has something else: rename it"
    ):
        with_fields(begin, Form(Systematic))


class Spoken(Task):
    kind: Literal["spoken"] = "spoken"
    level: Literal[1, 2] = Field(
        default=1, description='Say "loud", \'low\' or """:\n\n  Args:\n    x: {y}\n  Returns: \\n ü %s'
    )
    shape: dict[str, Any] = Field(default={"sides": [1, 2.5, {"long": True}]}, description="Sides.")


def test_words_of_any_kind_are_told_as_they_are() -> None:
    form = Form(Spoken)
    told = with_fields(begin, form).component_spec.inputs

    assert told["level"].description == 'Say "loud", \'low\' or """: Args: x: {y} Returns: \\n ü %s'
    assert (told["level"].type, told["shape"].type) == ("Integer", "Dict")
    task = Spoken(name="Speech", id="speech")
    assert form.task_of(floats(form.values_of(task))) == task


def test_a_component_that_is_given_no_task_is_none_that_a_pipeline_begins_with() -> None:
    with pytest.raises(TypeError, match="dispatch is no first step of a pipeline"):
        with_fields(dispatch, FORM)


def test_a_wrong_form_lists_all_its_faults() -> None:
    form = {**FORM.values_of(digits_task()), "pretraining_epochs": 0, "edge_optimizer": "lion", "edges": ["Edge 1"]}

    with pytest.raises(InvalidDocument) as refused:
        FORM.task_of(form)

    assert sorted(fault.split(":")[0] for fault in refused.value.faults) == [
        "collaboration.edges.0",
        "collaboration.training.optimizer",
        "pretraining.epochs",
    ]
