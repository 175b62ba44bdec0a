"""Whether a file is the ONNX model that its manifest announces, told without running anything of it.

The file is walked as it was written (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, in the encoding of
https://protobuf.dev/programming-guides/encoding/) and counted before any library unpacks it: a hostile one of some megabytes
can otherwise take gigabytes of memory. What is not on the lists below is refused: other operators than ONNX's own that compute
one tensor from others, control flow, functions, and tensors in other files.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cloudedge.documents.deployable import Datatype, Deployable, Tensor
from cloudedge.errors import InvalidModel, NotFound, StoreFailed
from cloudedge.texts import shown

MOST_FIELDS = 500_000
"""Of all messages in the file together. A large network has some thousands."""

MOST_NODES = 20_000
MOST_PACKED_BYTES = 16 * 1024 * 1024
"""Of integers that are written as numbers of varying length, and take up to eight times that in memory."""

OPSETS = range(11, 27)
"""Versions of ONNX's operators that are understood."""

_ALLOWED = (
    "Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BitShift BitwiseAnd "
    "BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu CenterCropPad Clip Col2Im Compress Concat Constant "
    "ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumSum DFT DeformConv DepthToSpace DequantizeLinear Det Div "
    "Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND "
    "Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid "
    "HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log "
    "LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg "
    "NonZero Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN Range Reciprocal "
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu "
    "Reshape Resize RotaryEmbedding Round ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice "
    "Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK Transpose "
    "Trilu Unsqueeze Where Xor"
)

OPERATORS = frozenset(_ALLOWED.split())
"""What a model may compute by: all of ONNX's operators from numbers to numbers, but for those that draw at random."""

_ELEMENTS: Mapping[int, tuple[Datatype, int]] = {
    1: ("FP32", 4),
    2: ("UINT8", 1),
    3: ("INT8", 1),
    4: ("UINT16", 2),
    5: ("INT16", 2),
    6: ("INT32", 4),
    7: ("INT64", 8),
    9: ("BOOL", 1),
    10: ("FP16", 2),
    11: ("FP64", 8),
    12: ("UINT32", 4),
    13: ("UINT64", 8),
}
"""ONNX's numbers of the types of elements; their names, and their lengths in bytes."""

_OWN_DOMAINS = frozenset({"", "ai.onnx"})

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check(path: Path, deployable: Deployable) -> None:
    """Make sure that a file is the model that its manifest announces, and one that may be loaded.

    Args:
        path: The ONNX file; it may hold anything.
        deployable: Its manifest.

    Raises:
        InvalidModel: it is not, or it is one that nobody should load; says why.
        NotFound: there is no such file.
        StoreFailed: it cannot be read.
    """
    content = _read(path, deployable)
    digest = hashlib.sha256(content).hexdigest()
    if digest != deployable.sha256:
        raise InvalidModel(
            f"{path.name} has the SHA-256 digest {digest}, not {deployable.sha256}: it was altered on its way; send it again."
        )
    try:
        graph = _Reader(content).model()
        _check_opset(graph.opsets)
        _compare("input", graph.inputs, deployable.inputs)
        _compare("output", graph.outputs, deployable.outputs)
    except _Fault as fault:
        raise InvalidModel(f"{path.name} is no model that may be deployed: {fault}.") from None


def described(path: Path) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Inputs and outputs of an ONNX file, as a manifest has them.

    Raises:
        InvalidModel: it is no such file, or one that may not be deployed.
        NotFound: there is no such file.
        StoreFailed: it cannot be read.
    """
    try:
        graph = _Reader(_bytes(path)).model()
        _check_opset(graph.opsets)
        return tuple(graph.inputs), tuple(graph.outputs)
    except _Fault as fault:
        raise InvalidModel(f"{path.name} is no model that may be deployed: {fault}.") from None


class _Fault(Exception):
    """What is wrong with a file."""


@dataclass
class _Graph:
    """What was found in a file."""

    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    opsets: list[int] = field(default_factory=list)
    nodes: int = 0


def _read(path: Path, deployable: Deployable) -> bytes:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise NotFound(f"There is no model file {path}.") from None
    except OSError as error:
        raise StoreFailed(f"Cannot read {path}: {error.strerror}. Check the path, its rights and the disk.") from error
    if size != deployable.size:
        raise InvalidModel(
            f"{path.name} has {size} bytes, not {deployable.size}: it is another file or was cut off; send it again."
        )
    return _bytes(path)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"There is no model file {path}.") from None
    except OSError as error:
        raise StoreFailed(f"Cannot read {path}: {error.strerror}. Check the path, its rights and the disk.") from error


def _check_opset(opsets: list[int]) -> None:
    if len(opsets) != 1 or opsets[0] not in OPSETS:
        raise _Fault(
            f"it uses the versions {shown(opsets)} of ONNX's operators; export it with one from {OPSETS[0]} to {OPSETS[-1]}"
        )


def _compare(what: str, found: list[Tensor], announced: tuple[Tensor, ...]) -> None:
    if tuple(found) != announced:
        raise _Fault(f"its {what}s are {_words(found)}, and its manifest announces {_words(announced)}")


def _words(tensors: list[Tensor] | tuple[Tensor, ...]) -> str:
    words = [f"{tensor.name!r} {tensor.datatype} {list(tensor.shape)}" for tensor in tensors[:5]]
    return ", ".join(words + (["..."] if len(tensors) > 5 else [])) or "none"


_Field = tuple[int, int, int, int, int]
"""Number, type on the wire, value of a varint, and first byte and byte after the last of what else there is."""


class _Reader:
    """Walks one file."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._fields = 0
        self._packed = 0
        self._graph = _Graph()

    def model(self) -> _Graph:
        """The file as it says what it is.

        Raises:
            _Fault: it is no ONNX model, or one that may not be deployed.
        """
        graphs = 0
        for number, wire, _, begin, end in self._messages(0, len(self._content)):
            if number == 7:  # graph
                graphs += 1
                self._read_graph(*self._within(wire, begin, end))
            elif number == 8:  # opset_import
                self._read_opset(*self._within(wire, begin, end))
            elif number == 20:
                raise _Fault("it has parts for training; export it for inference")
            elif number == 25:
                raise _Fault("it has functions of its own; export it with these expanded")
            elif number == 14:  # metadata_props
                self._read_entry(*self._within(wire, begin, end))
            elif number == 26:
                raise _Fault("it is for several devices; export it for one")
        if graphs != 1:
            raise _Fault(f"it has {graphs} graphs instead of one" if graphs else "it has no graph; it is no ONNX file")
        return self._graph

    def _read_graph(self, begin: int, end: int) -> None:
        initializers: set[str] = set()
        declared: list[Tensor] = []
        for number, wire, _, first, after in self._messages(begin, end):
            if number == 1:
                self._read_node(*self._within(wire, first, after))
            elif number == 5:
                initializers.add(self._read_tensor(*self._within(wire, first, after)))
            elif number in (11, 12):
                tensor = self._tensor(*self._read_value(*self._within(wire, first, after)))
                (declared if number == 11 else self._graph.outputs).append(tensor)
            elif number == 13:  # value_info, which says nothing that is needed
                self._read_value(*self._within(wire, first, after))
            elif number in (14, 15):
                raise _Fault("it has sparse tensors or annotations of quantization; export it without")
            elif number == 16:  # metadata_props
                self._read_entry(*self._within(wire, first, after))
        # Older files name all tensors among the inputs.
        self._graph.inputs = [tensor for tensor in declared if tensor.name not in initializers]

    def _read_node(self, begin: int, end: int) -> None:
        self._graph.nodes += 1
        if self._graph.nodes > MOST_NODES:
            raise _Fault(f"it has more than {MOST_NODES} nodes")
        operators, domains = [], [""]
        for number, wire, _, first, after in self._messages(begin, end):
            if number == 4:
                operators.append(self._text(*self._within(wire, first, after)))
            elif number == 7:
                domains.append(self._text(*self._within(wire, first, after)))
            elif number == 5:
                self._read_attribute(*self._within(wire, first, after))
            elif number == 9:  # metadata_props
                self._read_entry(*self._within(wire, first, after))
            elif number == 10:
                raise _Fault("it is for several devices; export it for one")
        if strange := [domain for domain in domains if domain not in _OWN_DOMAINS]:
            raise _Fault(f"it uses operators of {shown(strange[0])}; only ONNX's own are allowed")
        if len(operators) != 1 or operators[0] not in OPERATORS:
            raise _Fault(f"it uses the operator {shown(operators[0] if operators else '')}, which is not allowed")

    def _read_attribute(self, begin: int, end: int) -> None:
        for number, wire, _, first, after in self._messages(begin, end):
            if number in (5, 10):  # t, tensors
                self._read_tensor(*self._within(wire, first, after))
            elif number in (6, 11):
                raise _Fault("it has a graph within a graph, as control flow has it; export it without")
            elif number in (14, 15, 22, 23):
                raise _Fault("it has sparse tensors or types among its attributes; export it with dense ones")
            elif number == 8 and wire == _BYTES:
                self._expect_packed(after - first)

    def _read_tensor(self, begin: int, end: int) -> str:
        """Name of a tensor whose numbers are all in the file."""
        name, element, lengths, held, raw = "", 0, list[int](), 0, -1
        for number, wire, value, first, after in self._messages(begin, end):
            if number == 1:
                lengths += [value] if wire == _VARINT else self._varints(*self._within(wire, first, after))
            elif number == 2:
                element = value
            elif number in (4, 5, 7, 10, 11):  # numbers by their types; each takes at least a byte
                held += after - first
                if wire == _BYTES and number in (5, 7, 11):
                    self._expect_packed(after - first)
            elif number == 8:
                name = self._text(*self._within(wire, first, after))
            elif number == 9:
                raw = (after - first) if wire == _BYTES else -1
            elif number == 6:
                raise _Fault("it has tensors of texts")
            elif number == 13 or (number == 14 and value != 0):
                raise _Fault("its tensors are in other files; export it with all in one")
            elif number == 3:
                raise _Fault("its tensors are in pieces; export it with each as one")
            elif number == 16:  # metadata_props
                self._read_entry(*self._within(wire, first, after))
        if element not in _ELEMENTS:
            raise _Fault(f"its tensor {shown(name)} has elements of ONNX's type {element}, which is not supported")
        if len(lengths) > 8 or any(length < 0 or length > 2**40 for length in lengths):
            raise _Fault(f"its tensor {shown(name)} has the shape {shown(lengths)}")
        elements = math.prod(lengths)
        if (raw != elements * _ELEMENTS[element][1]) if raw >= 0 else (elements > held):
            raise _Fault(f"its tensor {shown(name)} has fewer or more numbers than its shape {shown(lengths)} says")
        return name

    def _read_value(self, begin: int, end: int) -> tuple[str, int, list[int] | None]:
        """Name, ONNX's type of elements, and shape, where it is known; lengths that have a name and no number are -1."""
        name, element, lengths = "", 0, None
        for number, wire, _, first, after in self._messages(begin, end):
            if number == 1:
                name = self._text(*self._within(wire, first, after))
            elif number == 2:
                for kind, kind_wire, _, kind_first, kind_after in self._messages(*self._within(wire, first, after)):
                    if kind == 6:
                        continue  # denotation
                    if kind != 1:
                        raise _Fault(f"its {shown(name)} is no tensor")
                    for part, part_wire, value, part_first, part_after in self._messages(
                        *self._within(kind_wire, kind_first, kind_after)
                    ):
                        if part == 1:
                            element = value
                        elif part == 2:
                            lengths = [*self._read_shape(*self._within(part_wire, part_first, part_after))]
            elif number == 4:  # metadata_props
                self._read_entry(*self._within(wire, first, after))
        return name, element, lengths

    def _tensor(self, name: str, element: int, lengths: list[int] | None) -> Tensor:
        if element not in _ELEMENTS or lengths is None:
            raise _Fault(f"its input or output {shown(name)} has no known type and shape")
        try:
            return Tensor(name=name, datatype=_ELEMENTS[element][0], shape=tuple(lengths))
        except ValueError:
            raise _Fault(f"its input or output {shown(name)} has an unusual name or the shape {shown(lengths)}") from None

    def _read_shape(self, begin: int, end: int) -> Iterator[int]:
        for number, wire, _, first, after in self._messages(begin, end):
            if number == 1:
                length = -1
                for part, part_wire, value, _, _ in self._messages(*self._within(wire, first, after)):
                    if part == 1 and part_wire == _VARINT:
                        length = value
                yield length

    def _read_opset(self, begin: int, end: int) -> None:
        domain, version = "", 0
        for number, wire, value, first, after in self._messages(begin, end):
            if number == 1:
                domain = self._text(*self._within(wire, first, after))
            elif number == 2:
                version = value
        # What a node uses is checked there; an exporter may announce more than it uses.
        if domain in _OWN_DOMAINS:
            self._graph.opsets.append(version)

    def _read_entry(self, begin: int, end: int) -> None:
        """Count what is in an entry of metadata, so that whoever unpacks it does not run out of memory."""
        for _ in self._messages(begin, end):
            pass

    def _messages(self, begin: int, end: int) -> Iterator[_Field]:
        """The fields of a message."""
        place = begin
        while place < end:
            self._fields += 1
            self._require_few()
            key, place = self._varint(place, end)
            number, wire = key >> 3, key & 7
            if not 0 < number < 2**29:  # Others read the lower 32 bits of a key, and would see another field there.
                raise _Fault("it is damaged, or no ONNX file")
            if wire == _VARINT:
                value, after = self._varint(place, end)
                yield number, wire, value, place, after
            elif wire in (_FIXED64, _FIXED32):
                after = place + (8 if wire == _FIXED64 else 4)
                yield number, wire, 0, place, after
            elif wire == _BYTES:
                length, place = self._varint(place, end)
                after = place + length if length >= 0 else end + 1
                if after <= end:
                    yield number, wire, 0, place, after
            else:
                raise _Fault("it is damaged, or no ONNX file")
            if after > end:
                raise _Fault("it is cut off, or no ONNX file")
            place = after

    def _varint(self, place: int, end: int) -> tuple[int, int]:
        """A number of varying length, as signed 64 bits, and where it ends."""
        value = 0
        for shift in range(0, 70, 7):
            if place >= end:
                raise _Fault("it is cut off, or no ONNX file")
            byte = self._content[place]
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                value &= 2**64 - 1
                return (value - 2**64 if value >= 2**63 else value), place
        raise _Fault("it is damaged, or no ONNX file")

    def _varints(self, begin: int, end: int) -> list[int]:
        if end - begin > 80:
            raise _Fault("it has a tensor of too many dimensions")
        numbers = []
        while begin < end:
            number, begin = self._varint(begin, end)
            numbers.append(number)
        return numbers

    def _text(self, begin: int, end: int) -> str:
        try:
            return self._content[begin:end][:1000].decode()
        except UnicodeDecodeError:
            raise _Fault("it has a name that is no text") from None

    def _within(self, wire: int, begin: int, end: int) -> tuple[int, int]:
        """Where a message or text begins and ends, if the field is one."""
        if wire != _BYTES:
            raise _Fault("it is damaged, or no ONNX file")
        return begin, end

    def _expect_packed(self, length: int) -> None:
        self._packed += length
        if self._packed > MOST_PACKED_BYTES:
            raise _Fault(f"it has more than {MOST_PACKED_BYTES} bytes of packed integers; export its tensors as raw bytes")

    def _require_few(self) -> None:
        if self._fields > MOST_FIELDS:
            raise _Fault(f"it has more than {MOST_FIELDS} fields")
