import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from cloudedge.documents import DataFormat, Field, Task
from cloudedge.documents.base import parse
from cloudedge.store import DirectoryStore
from components.shared.tracking import MetricPoint, Registration, TrackingLog, TrackingRecord, flat_params
from components.shared.tracking.records import Key
from tests.components.shared.tracking import told
from tests.components.shared.tracking.told import START

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEYS = st.from_regex(r"\A[A-Za-z0-9_-][A-Za-z0-9_. -]{0,20}(/[A-Za-z0-9_-][A-Za-z0-9_. -]{0,20}){0,3}\Z")


@given(value=st.floats(), step=st.integers(0, 2**63 - 1))
def test_a_point_survives_the_store_whatever_its_value(value: float, step: int) -> None:
    point = MetricPoint(key="loss", value=value, step=step, at=START)
    again = parse(MetricPoint, point.model_dump_json(), "a point")
    assert (again.step, again.at) == (step, START)
    assert again.value == value or (math.isnan(again.value) and math.isnan(value))


@pytest.mark.filterwarnings(*told.WARNINGS_OF_MLFLOW)
def test_every_key_that_a_record_takes_mlflow_takes_too(client: "MlflowClient") -> None:
    from mlflow.entities import Metric, Param, RunTag

    run = client.create_run("0").info.run_id

    @settings(max_examples=10, deadline=None)
    @given(keys=st.sets(KEYS, min_size=1, max_size=20))
    def takes(keys: set[str]) -> None:
        TypeAdapter(list[Key]).validate_python(sorted(keys))
        client.log_batch(
            run, [Metric(key, 1, 1, 1) for key in keys], [Param(key, "1") for key in keys], [RunTag(key, "1") for key in keys]
        )

    takes()


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".", "a\n", "a:b", "größe", "x" * 251])
def test_a_key_that_mlflow_would_refuse_is_refused_when_it_is_written(key: str) -> None:
    with pytest.raises(ValidationError):
        TrackingRecord(at=START, params={key: "1"})


@pytest.mark.parametrize("alias", ["v1", "V12", "latest", "Latest", "", "a b"])
def test_an_alias_that_mlflow_would_refuse_is_refused_when_it_is_written(alias: str) -> None:
    with pytest.raises(ValidationError):
        Registration(
            model_key="runs/digits/fused.safetensors",
            sha256="a" * 64,
            registered_model="digits",
            aliases=(alias,),
            input_shape=(64,),
            classes=("even", "odd"),
        )


def test_settings_become_parameters_that_can_be_compared_line_by_line() -> None:
    task = Task(
        name="Digits",
        id="digits",
        data=DataFormat(storage="csv", fields=(Field(name="pixel", shape=(64,)),), classes=("a", "b")),
    )
    params = flat_params(task)
    assert params["name"] == "Digits"
    assert params["collaboration.fusion.rule"] == "samples"
    assert params["pretraining.learning_rate"] == "0.05"
    assert params["collaborate"] == "true"
    assert params["data.classes"] == '["a","b"]'
    assert flat_params({"weights": {"größe!": 2}}) == {"weights.gr__e_": "2"}


def test_a_repeated_step_replaces_what_it_had_said(store: DirectoryStore) -> None:
    log = TrackingLog(store, "digits")
    log.append([TrackingRecord(at=START, tags={"try": "1"})], "wait-001-000001")
    before = dict(log.versions())
    log.append([TrackingRecord(at=START, tags={"try": "2"})], "wait-001-000001")
    after = dict(log.versions())
    assert list(before) == list(after) == ["wait-001-000001"]
    assert before != after
    assert [record.tags for record in log.read("wait-001-000001").records] == [{"try": "2"}]
