"""What is refused before anything of a file runs."""

import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from cloudedge.deployable.checking import MOST_FIELDS, MOST_NODES, OPERATORS, check, described
from cloudedge.documents.deployable import Tensor
from cloudedge.errors import InvalidModel, NotFound
from tests.cloudedge.deployable.graphs import BRIGHTNESS, DOUBLING, brightness, doubling, graph, model, stored


def refused(contents: onnx.ModelProto | bytes, folder: Path) -> str:
    path = folder / "model.onnx"
    deployable = stored(contents, path, **DOUBLING)
    with pytest.raises(InvalidModel) as error:
        check(path, deployable)
    return str(error.value)


def changed(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    contents = doubling()
    change(contents)
    return contents


def key(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(number: int, content: bytes) -> bytes:
    return key(number, 2) + varint(len(content)) + content


def test_a_model_is_what_its_manifest_announces(tmp_path: Path) -> None:
    for contents, said in ((doubling(), DOUBLING), (brightness(), BRIGHTNESS)):
        path = tmp_path / "model.onnx"
        check(path, stored(contents, path, **said))
        assert described(path) == (said["inputs"], said["outputs"])


def test_another_digest_another_length_and_no_file_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    deployable = stored(doubling(), path, **DOUBLING)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InvalidModel, match="it was altered on its way"):
        check(path, deployable)
    path.write_bytes(content[:-1])
    with pytest.raises(InvalidModel, match=f"has {len(content) - 1} bytes, not {len(content)}"):
        check(path, deployable)
    path.unlink()
    with pytest.raises(NotFound):
        check(path, deployable)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("inputs", (Tensor(name="x", datatype="FP32", shape=(-1, 5)),)),
        ("inputs", (Tensor(name="x", datatype="FP64", shape=(-1, 4)),)),
        ("inputs", (Tensor(name="z", datatype="FP32", shape=(-1, 4)),)),
        ("outputs", (Tensor(name="y", datatype="FP32", shape=(-1,)),)),
        ("outputs", (*DOUBLING["outputs"], Tensor(name="z", datatype="FP32", shape=(-1,)))),
    ],
)
def test_other_inputs_or_outputs_than_announced_are_named(tmp_path: Path, name: str, value: tuple[Tensor, ...]) -> None:
    path = tmp_path / "model.onnx"
    deployable = stored(doubling(), path, **(DOUBLING | {name: value}))
    with pytest.raises(InvalidModel, match=f"its {name} are '[xy]' FP32 .*, and its manifest announces"):
        check(path, deployable)


def external(contents: onnx.ModelProto) -> None:
    tensor = contents.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_in_a_constant(contents: onnx.ModelProto) -> None:
    tensor = TensorProto(data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights")
    contents.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def nested(operator: str) -> Callable[[onnx.ModelProto], object]:
    def change(contents: onnx.ModelProto) -> None:
        inner = helper.make_graph([], "inner", [], [])
        contents.graph.node.append(helper.make_node(operator, ["x"], ["z"], then_branch=inner, else_branch=inner))

    return change


def with_function(contents: onnx.ModelProto) -> None:
    contents.functions.append(
        helper.make_function("", "Mul", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 18)])
    )


def too_few_numbers(contents: onnx.ModelProto) -> None:
    contents.graph.initializer[0].dims[0] = 10**9


def too_few_bytes(contents: onnx.ModelProto) -> None:
    contents.graph.initializer.append(TensorProto(name="t", data_type=1, dims=[10**6, 10**6], raw_data=b"1234"))


def with_texts(contents: onnx.ModelProto) -> None:
    contents.graph.initializer.append(TensorProto(name="t", data_type=TensorProto.STRING, dims=[1], string_data=[b"a"]))


def sparse(contents: onnx.ModelProto) -> None:
    values, indices = helper.make_tensor("v", 1, [1], [1.0]), helper.make_tensor("i", 7, [1], [1])
    contents.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**12]))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (external, "its tensors are in other files"),
        (external_in_a_constant, "its tensors are in other files"),
        (lambda m: m.graph.node.append(helper.make_node("Steal", ["x"], ["z"])), "it uses the operator 'Steal'"),
        (lambda m: m.graph.node.append(helper.make_node("RandomNormal", [], ["z"], shape=[1])), "operator 'RandomNormal'"),
        (lambda m: m.graph.node.append(helper.make_node("Loop", ["x"], ["z"])), "it uses the operator 'Loop'"),
        (
            lambda m: m.graph.node.append(helper.make_node("Add", ["x"], ["z"], domain="com.microsoft")),
            "it uses operators of 'com.microsoft'",
        ),
        (nested("If"), "it has a graph within a graph"),
        (nested("Add"), "it has a graph within a graph"),
        (with_function, "it has functions of its own"),
        (lambda m: m.training_info.add(), "it has parts for training"),
        (too_few_numbers, "its tensor 'two' has fewer or more numbers than its shape [1000000000] says"),
        (too_few_bytes, "its tensor 't' has fewer or more numbers"),
        (with_texts, "it has tensors of texts"),
        (sparse, "it has sparse tensors"),
        (lambda m: setattr(m.opset_import[0], "version", 99), "it uses the versions [99] of ONNX's operators"),
        (lambda m: m.opset_import.add(domain="", version=17), "it uses the versions [18, 17]"),
        (lambda m: m.ClearField("graph"), "it has no graph"),
        (lambda m: m.graph.output[0].type.sequence_type.elem_type.tensor_type.SetInParent(), "is no tensor"),
    ],
)
def test_what_a_model_may_not_have_is_refused_and_named(
    tmp_path: Path, change: Callable[[onnx.ModelProto], object], fault: str
) -> None:
    assert fault in refused(changed(change), tmp_path)


def test_a_second_graph_that_a_library_would_join_to_the_first_is_refused(tmp_path: Path) -> None:
    twice = doubling().SerializeToString() + message(7, b"")
    assert "it has 2 graphs" in refused(twice, tmp_path)


def test_small_files_that_would_take_much_memory_are_refused_at_once(tmp_path: Path) -> None:
    empty_nodes = doubling().SerializeToString() + message(7, message(1, b"") * (MOST_NODES + 1))
    dimensions = message(7, message(5, message(1, b"\x01" * 1000)))
    integers = message(7, message(1, message(4, b"Constant") + message(5, message(8, b"\x01" * (17 * 1024 * 1024)))))
    entries = message(14, b"") * (MOST_FIELDS + 1)
    started = time.monotonic()
    assert "operator ''" in refused(empty_nodes, tmp_path)
    assert "too many dimensions" in refused(dimensions, tmp_path)
    assert "packed integers" in refused(integers, tmp_path)
    assert f"more than {MOST_FIELDS} fields" in refused(entries, tmp_path)
    assert time.monotonic() - started < 60
    many = graph([], {}, {})
    many.node.extend([helper.make_node("Relu", [], [])] * (MOST_NODES + 1))
    assert f"more than {MOST_NODES} nodes" in refused(model(many), tmp_path)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_file_that_was_changed_anywhere_is_a_model_or_refused_and_nothing_else(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance = random.Random(seed)
    content = bytearray(brightness().SerializeToString())
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(content))
        kind = chance.randrange(3)
        if kind == 0:
            content[place] = chance.randrange(256)
        elif kind == 1:
            del content[place : place + chance.randrange(1, 9)]
        else:
            content[place:place] = chance.randbytes(chance.randrange(1, 9))
        content = content or bytearray(b"\0")
    path = tmp_path_factory.getbasetemp() / "changed.onnx"
    deployable = stored(bytes(content), path, **BRIGHTNESS)
    try:
        check(path, deployable)
    except InvalidModel as error:
        assert "\n" not in str(error)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    with pytest.raises(InvalidModel):
        check(path, stored(content or b"\0", path, **BRIGHTNESS))


def test_a_length_that_is_none_ends_the_reading(tmp_path: Path) -> None:
    negative = key(7, 2) + varint(2**64 - 5)
    assert "cut off" in refused(negative, tmp_path)


def test_every_operator_that_is_allowed_is_one_of_onnx() -> None:
    assert {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""} >= OPERATORS


def test_numbers_in_any_form_of_the_format_are_counted(tmp_path: Path) -> None:
    values = np.arange(4, dtype=np.float32)
    raw = numpy_helper.from_array(values, "raw")
    typed = helper.make_tensor("typed", TensorProto.FLOAT, [4], values)
    unpacked = message(5, b"".join(key(4, 5) + struct.pack("<f", value) for value in values) + b"\x08\x04\x10\x01")
    contents = changed(lambda m: m.graph.initializer.extend([raw, typed]))
    path = tmp_path / "model.onnx"
    check(path, stored(contents, path, **DOUBLING))
    with_unpacked = contents.SerializeToString()
    merged = onnx.ModelProto.FromString(with_unpacked)
    merged.graph.MergeFromString(unpacked)
    assert len(merged.graph.initializer) == 4
    check(path, stored(merged, path, **DOUBLING))
