"""A task in Python: made, looked at, changed, and told what is wrong with it."""

import json
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudedge.errors import InvalidDocument, InvalidInput, NotFound
from pipelines import Laptop, Task
from tests.digits import digits_task

DIGITS = Task.of(digits_task())


def table(rows: int, **columns: Any) -> pandas.DataFrame:
    spread = 100 + 5 * numpy.random.default_rng(rows).permutation(numpy.linspace(-1.7, 1.7, rows))
    return pandas.DataFrame({"a": spread, "state": ["good", "worn"] * (rows // 2), **columns})


def test_a_task_from_a_file_is_that_of_the_command_line(tmp_path: Path) -> None:
    path = DIGITS.save(tmp_path / "digits.json")

    assert Task.from_file(path) == DIGITS
    assert hash(Task.from_file(str(path))) == hash(DIGITS)
    assert Task(json.loads(path.read_text())) == DIGITS


def test_a_changed_task_is_another_one_and_says_what_it_asks_for() -> None:
    changed = DIGITS.changed({"collaboration.fusion.rule": "median", "collaboration.rounds": 7}, id="other")

    assert (changed["collaboration.fusion.rule"], changed["collaboration.rounds"], changed.id) == ("median", 7, "other")
    assert DIGITS["collaboration.fusion.rule"] == "samples"
    assert "7 rounds" in repr(changed)
    assert "collaboration.fusion.rule" in changed._repr_html_()


def test_what_a_rule_or_an_architecture_takes_can_be_set_though_no_task_names_it() -> None:
    changed = DIGITS.changed({"collaboration.fusion.rule": "fedavgm", "collaboration.fusion.parameters.momentum": 0.3})

    assert changed["collaboration.fusion.parameters"] == {"momentum": 0.3}


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("roundz", "no field 'roundz': 'roundz' is unknown, there are: schema_version, name, id"),
        ("collaboration.fuson.rule", "no field 'collaboration.fuson.rule': 'fuson' is unknown, there are: edges, rounds"),
        ("collaboration.rounds.more", "no field 'collaboration.rounds.more': 'rounds' is unknown, there are: edges"),
    ],
)
def test_a_field_that_there_is_none_of_is_named_with_those_that_there_are(place: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        DIGITS.changed({place: 1})

    assert said in str(refused.value)


def test_values_that_make_no_task_are_refused_all_at_once() -> None:
    with pytest.raises(InvalidDocument) as refused:
        DIGITS.changed({"collaboration.rounds": 0, "pretraining.loss": "none"})

    assert sorted(fault.partition(":")[0] for fault in refused.value.faults) == ["collaboration.rounds", "pretraining.loss"]


def test_a_demos_task_has_the_edges_that_are_asked_for() -> None:
    assert len(Task.demo(edges=3)["collaboration.edges"]) == 3
    with pytest.raises(NotFound, match="no system 'nonsense'; there are: collaborative-training"):
        Task.demo("nonsense")


def test_the_data_format_follows_from_the_columns() -> None:
    data = {"cloud": table(10, count=range(10)), "edges": {"hall-1": table(4, count=range(4))}}

    task = Task.for_data(data, label="state", name="Machines", id="machines", collaboration={"rounds": 2})

    form = task["data"]
    assert form["classes"] == ["good", "worn"]
    assert form["label"] == "state"
    assert [field["name"] for field in form["fields"]] == ["a", "count"]
    assert form["fields"][0]["offset"] == pytest.approx(100, abs=5)
    assert form["fields"][0]["scale"] == pytest.approx(0.2, rel=0.5)
    assert task["collaboration.rounds"] == 2


def test_arrays_are_images_and_columns_may_have_any_name() -> None:
    pixels = numpy.zeros((4, 1, 8, 8), numpy.uint8)
    form = Task.for_data(
        {"cloud": {"pixels (raw)": pixels, "digit": numpy.array([0, 1, 10, 2])}}, label="digit", name="D", id="d"
    )

    (field,) = form["data.fields"]
    assert field == {
        "name": "x_pixels_raw_",
        "column": "pixels (raw)",
        "shape": [1, 8, 8],
        "dtype": "uint8",
        "scale": 1 / 255,
        "offset": 0.0,
    }
    assert form["data.classes"] == ["0", "1", "2", "10"]


@given(middle=st.floats(-1e6, 1e6), spread=st.floats(1e-3, 1e3))
def test_numbers_come_to_a_network_between_about_minus_1_and_1(middle: float, spread: float) -> None:
    values = middle + spread * numpy.random.default_rng(0).standard_normal(200)
    cloud = {"a": values, "state": numpy.arange(200) % 2}

    (field,) = Task.for_data({"cloud": cloud}, "state", id="d")["data.fields"]

    seen = (values - field["offset"]) * field["scale"]
    assert abs(seen.mean()) < 0.02
    assert abs(seen.std() - 1) < 0.01


def test_columns_of_other_letters_have_fields_of_their_own() -> None:
    cloud = {"Härte": [1.0, 2.0], "a b": [1.0, 2.0], "a/b": [1.0, 2.0], "state": ["good", "worn"]}

    fields = Task.for_data({"cloud": cloud}, "state", id="d")["data.fields"]

    assert [(field["name"], field["column"]) for field in fields] == [
        ("x_H_rte", "Härte"),
        ("x_a_b", "a b"),
        ("x_a_b_2", "a/b"),
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "no 'cloud', only: nothing"),
        ({"cloud": table(4), "edge": {}}, "edge, which is none of cloud, edges, test"),
        ({"cloud": table(4).drop(columns="state")}, "no 'state'; they have: a"),
        ({"cloud": table(4), "edges": {"hall-1": table(4).drop(columns="state")}}, "samples of edges/hall-1 have no 'state'"),
        ({"cloud": table(4, note="text")}, "'note' holds 'text', and a model reads numbers"),
        ({"cloud": table(4).assign(state="good")}, "'state' has 1 different values"),
        ({"cloud": {"a": [1, 2], "state": ["x"]}}, "columns of different lengths"),
        ({"cloud": table(4), "edges": {"../hall": table(4)}}, "'../hall' is not a name of an edge: use lower-case letters"),
        ({"cloud": table(4), "edges": table(4)}, "'edges' are one table: give a dictionary with a table for each edge"),
        ({"cloud": table(4), "test": {"../hall": table(4)}}, "'../hall' is not a name of an environment"),
        ({"cloud": table(4), "test": {".hall": table(4)}}, "'.hall' is not a name of an environment"),
        ("machines", "The data is 'str': give a dictionary"),
        ({"cloud": "machines.csv"}, "The samples of cloud are 'str': give a DataFrame"),
        ({"cloud": table(4).to_numpy()}, "The samples of cloud are 'ndarray': give a DataFrame"),
        ({"cloud": table(4), "edges": {"hall-1": table(4)[:0]}}, "The samples of edges/hall-1 are none: give some, or leave"),
        ({"cloud": table(4).assign(state=[0.0, 1.0, numpy.nan, 1.0])}, "A sample has no label"),
        ({"cloud": table(4).assign(state=["good", None, "worn", "good"])}, "A sample has no label"),
        ({"cloud": table(4).assign(state=[0.1, 0.2, 0.3, 0.4])}, "label is 0.1: give the class as text or as a whole number"),
        ({"cloud": pandas.concat([table(4), table(4)[["a"]]], axis=1)}, "the column 'a' more than once"),
    ],
)
def test_data_of_which_no_format_follows_is_refused_with_what_is_wrong(data: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said.replace("(", r"\(")):
        Task.for_data(data, label="state", name="Machines", id="machines")


@pytest.mark.parametrize(
    ("edges", "fields", "said"),
    [
        ({}, {}, "The data has no 'edges': give samples by edge, or set collaborate to false."),
        ({"hall-1": 4}, {"collaboration": {"edges": ["hall-1", "hall-2"]}}, "the edges hall-2, but the data has only: hall-1."),
    ],
)
def test_a_run_of_data_without_the_tasks_edges_is_refused_in_the_words_of_the_data(
    tmp_path: Path, edges: dict[str, int], fields: dict[str, Any], said: str
) -> None:
    data = {"cloud": table(4), "edges": {name: table(rows) for name, rows in edges.items()}}
    task = Task.for_data(data, label="state", id="machines", **fields)
    assert task.name == "machines"

    with pytest.raises(InvalidInput) as refused:
        Laptop(tmp_path / "home").run(task, data)

    assert said in str(refused.value)
    assert not (tmp_path / "home").exists()
