"""Triton's own clients, as they are published, work with the servers."""

from collections.abc import Iterator
from typing import Any, get_args

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from cloudedge.deployable.session import NUMPY_TYPES
from cloudedge.documents.deployable import Datatype
from cloudedge.serving.tensors import MOST_NUMBERS
from tests.cloudedge.serving.served import PATIENCE, Served
from tests.cloudedge.serving.small import WIDTH, echo, failing
from tests.cloudedge.serving.test_http import Held

KINDS = {"http": tritonclient.http, "grpc": tritonclient.grpc}
DATATYPES: tuple[Datatype, ...] = get_args(Datatype)


class Triton:
    """A client of one protocol."""

    def __init__(self, kind: str, served: Served) -> None:
        self.module: Any = KINDS[kind]
        self.kind = kind
        self.client = self.module.InferenceServerClient(getattr(served, kind))

    def input(self, name: str, array: np.ndarray[Any, Any], **options: Any) -> Any:
        given = self.module.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        given.set_data_from_numpy(array, **options)
        return given


@pytest.fixture(params=sorted(KINDS))
def triton(request: pytest.FixtureRequest, served: Served) -> Iterator[Triton]:
    triton = Triton(request.param, served)
    yield triton
    triton.client.close()


def row(*numbers: float) -> np.ndarray[Any, Any]:
    return np.array([numbers], np.float32)


def test_triton_sees_the_server_and_its_models(triton: Triton, served: Served) -> None:
    version = served.use(1).version
    client, json = triton.client, {} if triton.kind == "http" else {"as_json": True}

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("oats")
    assert client.is_model_ready("oats", version)
    assert client.get_server_metadata(**json)["extensions"] == ["binary_tensor_data", "model_repository"]
    metadata = client.get_model_metadata("oats", **json)
    assert metadata["versions"] == [version]
    assert [each["name"] for each in metadata["outputs"]] == ["y", "score"]
    index = client.get_model_repository_index(**json)
    models = index if triton.kind == "http" else index["models"]
    assert [(each["name"], each["version"], each["state"]) for each in models] == [("oats", version, "READY")]


def test_triton_infers(triton: Triton, served: Served) -> None:
    version = served.use(3).version
    wanted = [triton.module.InferRequestedOutput(name) for name in ("score", "y")]

    answer = triton.client.infer("oats", [triton.input("x", row(1, 2, 3, 4))], request_id="seven", outputs=wanted)

    assert answer.as_numpy("y").tolist() == [[3, 6, 9, 12]]
    assert answer.as_numpy("score").tolist() == [30]
    told = answer.get_response() if triton.kind == "http" else answer.get_response(as_json=True)
    assert (told["id"], told["model_name"], told["model_version"]) == ("seven", "oats", version)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_triton_gets_back_what_it_sends_in_every_type(triton: Triton, served: Served, datatype: Datatype) -> None:
    path = served.files / "echo.onnx"
    served.models.load("echo", served.models.put(echo(path, datatype), path)).result(PATIENCE)
    array = np.random.default_rng(0).integers(0, 2**15, (3, 5)).astype(NUMPY_TYPES[datatype])

    back = triton.client.infer("echo", [triton.input("given", array)]).as_numpy("back")

    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize("in_bytes", [True, False])
@pytest.mark.parametrize("out_bytes", [True, False])
def test_triton_chooses_between_numbers_and_bytes_over_http(served: Served, in_bytes: bool, out_bytes: bool) -> None:
    served.use(2)
    triton = Triton("http", served)
    wanted = tritonclient.http.InferRequestedOutput("y", binary_data=out_bytes)

    answer = triton.client.infer("oats", [triton.input("x", row(1, 2, 3, 4), binary_data=in_bytes)], outputs=[wanted])

    assert answer.as_numpy("y").tolist() == [[2, 4, 6, 8]]
    assert ("data" in answer.get_output("y")) is not out_bytes
    triton.client.close()


def test_triton_loads_and_unloads(triton: Triton, served: Served) -> None:
    served.use(1)
    second = served.put(2)

    triton.client.load_model("oats")
    answer = triton.client.infer("oats", [triton.input("x", row(1, 1, 1, 1))])
    assert answer.as_numpy("score").tolist() == [8]
    assert served.models.find("oats").version == second

    triton.client.unload_model("oats")
    assert not triton.client.is_model_ready("oats")
    triton.client.load_model("oats")
    assert triton.client.is_model_ready("oats")


def test_triton_is_told_what_is_wrong(triton: Triton, served: Served) -> None:
    served.use(1)
    client = triton.client

    with pytest.raises(InferenceServerException, match="No model 'rye' is loaded"):
        client.infer("rye", [triton.input("x", row(1, 2, 3, 4))])
    with pytest.raises(InferenceServerException, match="The version '9' of the model 'oats' is not loaded"):
        client.infer("oats", [triton.input("x", row(1, 2, 3, 4))], model_version="9")
    with pytest.raises(InferenceServerException, match="is FP32 of shape"):
        client.infer("oats", [triton.input("x", row(1, 2, 3))])
    with pytest.raises(InferenceServerException, match="got float64"):
        client.infer("oats", [triton.input("x", row(1, 2, 3, 4).astype(np.float64))])
    with pytest.raises(InferenceServerException, match="BYTES, which no model here takes"):
        client.infer("oats", [triton.input("x", np.array([[b"text"]], np.object_))])
    with pytest.raises(InferenceServerException, match="'classification', which is not offered"):
        client.infer(
            "oats",
            [triton.input("x", row(1, 2, 3, 4))],
            outputs=[triton.module.InferRequestedOutput("y", class_count=2)],
        )
    with pytest.raises(InferenceServerException, match="'config' is not taken"):
        client.load_model("oats", config="{}")
    with pytest.raises(InferenceServerException, match="There is no model 'rye'"):
        client.load_model("rye")
    with pytest.raises(InferenceServerException, match="There is no model 'rye'"):
        client.unload_model("rye")


def test_a_load_that_fails_is_told_and_the_old_version_answers(triton: Triton, served: Served) -> None:
    served.use(1)
    path = served.files / "failing.onnx"
    served.models.put(failing(path), path)

    with pytest.raises(InferenceServerException, match="failed"):
        triton.client.load_model("oats")

    assert triton.client.infer("oats", [triton.input("x", row(1, 1, 1, 1))]).as_numpy("score").tolist() == [4]


class Bare:
    """gRPC without a client's library: what is sent is what stands in the test."""

    def __init__(self, served: Served) -> None:
        self.channel = grpc.insecure_channel(served.grpc, options=[("grpc.max_send_message_length", -1)])

    def ask(self, method: str, request: Any, response: Any, timeout: float = PATIENCE) -> Any:
        call = self.channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return call(request, timeout=timeout)

    def infer(self, timeout: float = PATIENCE, **fields: Any) -> service_pb2.ModelInferResponse:
        answer: service_pb2.ModelInferResponse = self.ask(
            "ModelInfer", service_pb2.ModelInferRequest(**fields), service_pb2.ModelInferResponse, timeout
        )
        return answer


@pytest.fixture
def bare(served: Served) -> Iterator[Bare]:
    bare = Bare(served)
    yield bare
    bare.channel.close()


def tensor(**changed: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [1, WIDTH]} | changed


FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


@pytest.mark.parametrize(("datatype", "field"), FIELDS.items())
def test_numbers_in_a_message_are_answered_by_numbers(served: Served, bare: Bare, datatype: Datatype, field: str) -> None:
    path = served.files / "echo.onnx"
    served.models.load("echo", served.models.put(echo(path, datatype), path)).result(PATIENCE)

    given = {"name": "given", "datatype": datatype, "shape": [1, 2], "contents": {field: [0, 1]}}
    (output,) = bare.infer(model_name="echo", inputs=[given]).outputs

    assert (output.datatype, list(output.shape), list(getattr(output.contents, field))) == (datatype, [1, 2], [0, 1])


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"inputs": []}, "INVALID_ARGUMENT", "has the inputs x, and got none"),
        ({"inputs": [tensor()]}, "INVALID_ARGUMENT", "4 numbers, and has 0 in its fp32_contents"),
        ({"inputs": [tensor(contents={"fp64_contents": [0] * WIDTH})]}, "INVALID_ARGUMENT", "has 0 in its fp32_contents"),
        ({"inputs": [tensor(datatype="FP16")]}, "INVALID_ARGUMENT", "in raw_input_contents only"),
        (
            {"inputs": [tensor(datatype="UINT8", contents={"uint_contents": [256] * WIDTH})]},
            "INVALID_ARGUMENT",
            "range of UINT8",
        ),
        ({"inputs": [tensor()], "raw_input_contents": [b"\0" * 15]}, "INVALID_ARGUMENT", "16 bytes, and came with 15"),
        ({"inputs": [tensor()], "raw_input_contents": [b"", b""]}, "INVALID_ARGUMENT", "1 inputs and raw_input_contents for 2"),
        ({"inputs": [tensor()] * 2, "raw_input_contents": [b"\0" * 16] * 2}, "INVALID_ARGUMENT", "twice"),
        ({"inputs": [tensor(shape=[-1, WIDTH])]}, "INVALID_ARGUMENT", "the shape [-1, 4]"),
        ({"inputs": [tensor(shape=[2**40, 2**40])]}, "INVALID_ARGUMENT", "more numbers than"),
        (
            {"inputs": [tensor(shape=[1, MOST_NUMBERS + 1], contents={"fp32_contents": [0] * (MOST_NUMBERS + 1)})]},
            "INVALID_ARGUMENT",
            "Send it as binary data",
        ),
        (
            {"inputs": [tensor(parameters={"shared_memory_region": {"string_param": "a"}})]},
            "INVALID_ARGUMENT",
            "shared memory",
        ),
        ({"model_version": "9", "inputs": []}, "NOT_FOUND", "The version '9'"),
        ({"model_name": "", "inputs": []}, "NOT_FOUND", "No model ''"),
    ],
)
def test_what_is_asked_wrongly_by_grpc_is_named(
    served: Served, bare: Bare, fields: dict[str, Any], code: str, said: str
) -> None:
    served.use(1)

    with pytest.raises(grpc.RpcError) as refused:
        bare.infer(**{"model_name": "oats", **fields})

    assert refused.value.code().name == code
    assert said in str(refused.value.details())


def test_a_message_that_is_too_long_or_none_is_refused(served: Served, bare: Bare) -> None:
    served.use(1)
    with pytest.raises(grpc.RpcError) as refused:
        bare.infer(model_name="oats", inputs=[tensor()], raw_input_contents=[b"\0" * (33 << 20)])
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    call: Any = bare.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError):
        call(b"\xff\xff\xff", timeout=PATIENCE)
    with pytest.raises(grpc.RpcError) as unknown:
        bare.ask("ModelConfig", service_pb2.ModelConfigRequest(name="oats"), service_pb2.ModelConfigResponse)
    assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert bare.infer(model_name="oats", inputs=[tensor()], raw_input_contents=[b"\0" * 16]).outputs


def test_a_deadline_is_kept_though_the_model_is_slow(served: Served, bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(served, monkeypatch)

    with pytest.raises(grpc.RpcError) as late:
        bare.infer(0.3, model_name="oats", inputs=[tensor()], raw_input_contents=[b"\0" * 16])
    held.go.set()

    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_version_is_loaded_by_its_name_also_as_kserve_numbers_the_fields(served: Served, bare: Bare) -> None:
    first, second = served.use(1).version, served.use(2).version
    request = service_pb2.RepositoryModelLoadRequest(model_name="oats")
    request.parameters["version"].string_param = first
    bare.ask("RepositoryModelLoad", request, service_pb2.RepositoryModelLoadResponse)
    assert served.models.find("oats").version == first
    assert second in served.models.versions("oats")

    unload = service_pb2.RepositoryModelUnloadRequest(repository_name="oats")  # KServe's model_name has this one's number.
    bare.ask("RepositoryModelUnload", unload, service_pb2.RepositoryModelUnloadResponse)
    assert served.models.current("oats") is None
