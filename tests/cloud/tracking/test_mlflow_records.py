import math
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cloud.tracking import MetricPoint, Registration, TrackingLog, TrackingRecord, flat_params
from cloud.tracking.names import mlflow_name
from cloudedge.documents import DataFormat, SampleField, TrainingTask
from cloudedge.documents.base import parse
from cloudedge.store import DirectoryStore
from tests.cloud.tracking import told
from tests.cloud.tracking.told import START

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAMES = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=60) | st.lists(
    st.text("aé环. /:*(_-\t\u0301", max_size=8), max_size=4
).map("/".join)


@given(value=st.floats(), step=st.integers(0, 2**63 - 1))
def test_a_point_survives_the_store_whatever_its_value(value: float, step: int) -> None:
    point = MetricPoint(key="loss", value=value, step=step, at=START)
    again = parse(MetricPoint, point.model_dump_json(), "a point")
    assert (again.step, again.at) == (step, START)
    assert again.value == value or (math.isnan(again.value) and math.isnan(value))


@pytest.mark.filterwarnings(*told.WARNINGS_OF_MLFLOW)
def test_whatever_things_are_called_mlflow_takes_their_names_and_no_two_become_one(client: "MlflowClient") -> None:
    from mlflow.entities import Metric, Param, RunTag

    run = client.create_run("0").info.run_id

    @settings(max_examples=20, deadline=None)
    @given(names=st.sets(NAMES, max_size=20))
    def takes(names: set[str]) -> None:
        keys = {mlflow_name(name) for name in names}
        assert len(keys) == len(names)
        client.log_batch(
            run, [Metric(key, 1, 1, 1) for key in keys], [Param(key, "1") for key in keys], [RunTag(key, "1") for key in keys]
        )

    takes()


@given(name=st.text(max_size=300))
def test_a_name_that_was_made_to_fit_is_changed_no_more(name: str) -> None:
    assert mlflow_name(mlflow_name(name)) == mlflow_name(name)


@pytest.mark.parametrize("name", ["accuracy", "test_accuracy/Süd", "test_accuracy/环境 2", "Hall-3.b", "-", "_/x"])
def test_a_name_that_mlflow_takes_stays_as_it_is(name: str) -> None:
    assert mlflow_name(name) == name


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("test_accuracy/(a)", r"test_accuracy/_a_-[0-9a-f]{8}"),
        ("test_accuracy/Su\u0308d", r"test_accuracy/Süd-[0-9a-f]{8}"),
        ("loss (in %)", r"loss _in __-[0-9a-f]{8}"),
        ("../a", r"_\.\./a-[0-9a-f]{8}"),
        ("a//b", r"a/_/b-[0-9a-f]{8}"),
        ("", r"_-[0-9a-f]{8}"),
        ("not UTF-8: \udcff", r"not UTF-8_ _-[0-9a-f]{8}"),
        ("x" * 251, r"x{241}-[0-9a-f]{8}"),
    ],
)
def test_another_name_is_told_by_one_that_reads_like_it(name: str, found: str) -> None:
    assert re.fullmatch(found, mlflow_name(name))


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
    task = TrainingTask(
        name="Digits",
        id="digits",
        data=DataFormat(storage="csv", fields=(SampleField(name="pixel", shape=(64,)),), classes=("a", "b")),
    )
    params = flat_params(task)
    assert params["name"] == "Digits"
    assert params["collaboration.fusion.rule"] == "samples"
    assert params["pretraining.learning_rate"] == "0.05"
    assert params["collaborate"] == "true"
    assert params["data.classes"] == '["a","b"]'
    assert flat_params({"weights": {"größe!": 2}}) == {"weights.größe!": "2"}


def test_a_repeated_step_replaces_what_it_had_said(store: DirectoryStore) -> None:
    log = TrackingLog(store, "digits")
    log.append([TrackingRecord(at=START, tags={"try": "1"})], "wait-001-000001")
    before = dict(log.versions())
    log.append([TrackingRecord(at=START, tags={"try": "2"})], "wait-001-000001")
    after = dict(log.versions())
    assert list(before) == list(after) == ["wait-001-000001"]
    assert before != after
    assert [record.tags for record in log.read("wait-001-000001").records] == [{"try": "2"}]
