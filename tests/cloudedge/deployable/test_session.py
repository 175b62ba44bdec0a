"""A model at work."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from cloudedge.deployable.session import Session, judge
from cloudedge.errors import InvalidInput, InvalidModel, InvalidSamples, WorkFailed
from tests.cloudedge.deployable.graphs import BRIGHTNESS, DOUBLING, SIZE, brightness, doubling, graph, model, stored
from tests.cloudedge.deployable.test_checking import changed


def opened(folder: Path, contents: Any = None, **said: Any) -> Session:
    path = folder / "model.onnx"
    return Session(path, stored(contents or brightness(), path, **(said or BRIGHTNESS)))


def image(red: int, green: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = red, green
    return pixels


def test_a_model_computes_what_it_says(tmp_path: Path) -> None:
    session = opened(tmp_path, doubling(), **DOUBLING)
    session.warm_up()
    found = session.infer({"x": np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)})
    assert found["y"].tolist() == [[2, 4, 6, 8], [10, 12, 14, 16]]


@pytest.mark.parametrize(
    ("inputs", "fault"),
    [
        ({}, "has the inputs x, and got none"),
        ({"z": np.zeros((1, 4), np.float32)}, "has the inputs x, and got 'z'"),
        ({"x": np.zeros((1, 4))}, "is FP32 of shape [-1, 4], and got float64 of shape [1, 4]"),
        ({"x": np.zeros((1, 5), np.float32)}, "got float32 of shape [1, 5]"),
        ({"x": np.zeros(4, np.float32)}, "got float32 of shape [4]"),
        ({"x": np.zeros((0, 4), np.float32)}, "have batches of 0"),
        ({"x": np.zeros((5000, 4), np.float32)}, "have batches of 5000"),
    ],
)
def test_inputs_that_are_not_the_models_are_named(tmp_path: Path, inputs: dict[str, Any], fault: str) -> None:
    session = opened(tmp_path, doubling(), **DOUBLING)
    with pytest.raises(InvalidInput) as error:
        session.infer(inputs)
    assert fault in str(error.value)


def test_a_part_is_rejected_above_the_threshold_and_its_defect_named(tmp_path: Path) -> None:
    session = opened(tmp_path)
    at, above = judge(session, image(100)), judge(session, image(101, 200))
    assert (at.score, at.reject, at.defect) == (100, False, "")
    assert (above.score, above.reject, above.defect) == (101, True, "green")
    assert above.map is not None
    assert above.map.shape == (SIZE, SIZE)
    assert set(above.map.flat) == {101}


def test_a_model_without_a_threshold_rejects_nothing_and_names_the_class(tmp_path: Path) -> None:
    said = {name: value for name, value in BRIGHTNESS.items() if name != "threshold"}
    found = judge(opened(tmp_path, **said), image(250))
    assert (found.reject, found.defect) == (False, "red")


def test_an_image_of_another_size_is_resized(tmp_path: Path) -> None:
    large = np.full((SIZE * 3, SIZE * 2, 3), 120, np.uint8)
    assert judge(opened(tmp_path), large).score == 120


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    session = opened(tmp_path)
    no_images: tuple[Any, ...] = (
        np.zeros((8, 8, 3)),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    )
    for values in no_images:
        with pytest.raises(InvalidSamples, match="An image is uint8 of shape"):
            judge(session, values)


def test_a_model_of_no_images_judges_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="judges no images"):
        judge(opened(tmp_path, doubling(), **DOUBLING), image(1))


def test_a_file_that_is_well_formed_and_no_model_is_refused_as_it_is_loaded(tmp_path: Path) -> None:
    contents = changed(lambda m: m.graph.node.append(helper.make_node("Conv", ["x"], ["z"])))
    with pytest.raises(InvalidModel, match="cannot be loaded"):
        opened(tmp_path, contents, **DOUBLING)


def bomb(numbers: int) -> Any:
    """A small file that asks for memory for so many numbers."""
    size = helper.make_tensor("size", TensorProto.INT64, [1], [numbers])
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["much"]),
        helper.make_node("ReduceSum", ["much"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    shape: dict[str, tuple[int, list[Any]]] = {"x": (TensorProto.FLOAT, ["batch", 4])}
    return model(graph(nodes, shape, {"y": shape["x"]}, [size]))


def test_a_model_that_wants_more_memory_than_there_may_be_fails_alone(tmp_path: Path) -> None:
    session = opened(tmp_path, bomb(10**13), **DOUBLING)
    with pytest.raises(WorkFailed, match="Available memory of"):
        session.warm_up()
    other = tmp_path / "other"
    other.mkdir()
    opened(other, doubling(), **DOUBLING).warm_up()


def test_an_output_that_is_not_as_announced_fails_the_warm_up(tmp_path: Path) -> None:
    contents = changed(lambda m: m.graph.node[0].CopyFrom(helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)))
    with pytest.raises((WorkFailed, InvalidModel), match=r"instead of FP32|cannot be loaded"):
        opened(tmp_path, contents, **DOUBLING).warm_up()


def test_a_score_that_is_no_number_is_no_judgement(tmp_path: Path) -> None:
    contents = brightness()
    contents.graph.node[3].output[0] = "mean"
    contents.graph.node.append(helper.make_node("Log", ["negative"], ["score"]))
    contents.graph.node.append(helper.make_node("Sub", ["mean", "all"], ["negative"]))
    contents.graph.initializer.append(helper.make_tensor("all", TensorProto.FLOAT, [1], [256.0]))
    nodes = list(contents.graph.node)
    nodes[-1], nodes[-2] = nodes[-2], nodes[-1]
    del contents.graph.node[:]
    contents.graph.node.extend(nodes)
    with pytest.raises(WorkFailed, match="gave the score nan"):
        judge(opened(tmp_path, contents), image(10))
