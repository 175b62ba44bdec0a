"""The flat form of the Kubeflow UI and the task are the same thing."""

import inspect
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import BaseModel

from cloudedge.documents import Task
from cloudedge.errors import InvalidDocument
from components.pretrain.component import pretrain
from components.pretrain.parameters import PLACES, parameters_of, task_of
from tests.digits import digits_task
from tests.strategies import documents


def as_kfp_gives_it(value: Any) -> Any:
    """What kfp makes of a value on its way: whole numbers in lists and dictionaries become floats."""
    if isinstance(value, dict):
        return {key: floats(inner) for key, inner in value.items()}
    return [floats(inner) for inner in value] if isinstance(value, list) else value


def floats(value: Any) -> Any:
    if isinstance(value, dict | list):
        return as_kfp_gives_it(value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@settings(max_examples=50)
@given(documents(Task))
def test_a_task_comes_back_from_its_form(task: Task) -> None:
    form = {name: as_kfp_gives_it(json.loads(json.dumps(value))) for name, value in parameters_of(task).items()}

    assert task_of(form) == task


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
    assert sorted(PLACES.values()) == sorted(leaf for leaf in leaves(Task) if leaf != ("schema_version",))


def test_the_component_asks_for_the_whole_form_in_its_order() -> None:
    arguments = list(inspect.signature(pretrain.python_func).parameters)

    assert arguments == ["pretrained", "metrics", *PLACES, "cloud_data", "test_data", "kubeflow_run_id", "most_rounds"]


def test_a_wrong_form_lists_all_its_faults() -> None:
    form = {**parameters_of(digits_task()), "pretraining_epochs": 0, "edge_optimizer": "lion", "edges": ["Edge 1"]}

    with pytest.raises(InvalidDocument) as refused:
        task_of(form)

    assert sorted(fault.split(":")[0] for fault in refused.value.faults) == [
        "collaboration.edges.0",
        "collaboration.training.optimizer",
        "pretraining.epochs",
    ]
