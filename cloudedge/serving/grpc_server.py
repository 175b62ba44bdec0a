"""The Open Inference Protocol v2 over gRPC, and its model repository; see `proto/inference.proto`."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from cloudedge.errors import CloudedgeError, Conflict, InvalidInput, NotFound
from cloudedge.serving import asking
from cloudedge.serving.metrics import Metrics
from cloudedge.serving.models import Models
from cloudedge.serving.proto import inference_pb2 as messages
from cloudedge.serving.tensors import DATATYPES, MOST_NUMBERS, Array, described, from_bytes, of_type, to_bytes
from cloudedge.serving.turns import MOST_SECONDS, Busy, Late, Turns, late
from cloudedge.texts import shown

SERVICE = "inference.GRPCInferenceService"

_CODES: tuple[tuple[type[CloudedgeError], grpc.StatusCode], ...] = (
    (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (asking.Forbidden, grpc.StatusCode.PERMISSION_DENIED),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Conflict, grpc.StatusCode.FAILED_PRECONDITION),
    (Busy, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Late, grpc.StatusCode.DEADLINE_EXCEEDED),
    (CloudedgeError, grpc.StatusCode.INTERNAL),
)
"""The first that an error is one of."""

_FIELDS = {
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
"""Where numbers of a type stand; FP16 has no field and is sent as bytes."""


def handlers(models: Models, turns: Turns, metrics: Metrics) -> grpc.GenericRpcHandler:
    """The protocol for some models.

    Args:
        models: The models.
        turns: Who may infer when.
        metrics: Where it is counted.
    """
    service = _Service(models, turns, metrics)
    methods: dict[str, tuple[Callable[[Any, grpc.ServicerContext], Any], Any]] = {
        "ServerLive": (service.live, messages.ServerLiveRequest),
        "ServerReady": (service.ready, messages.ServerReadyRequest),
        "ModelReady": (service.model_ready, messages.ModelReadyRequest),
        "ServerMetadata": (service.about, messages.ServerMetadataRequest),
        "ModelMetadata": (service.metadata, messages.ModelMetadataRequest),
        "ModelInfer": (service.infer, messages.ModelInferRequest),
        "RepositoryIndex": (service.index, messages.RepositoryIndexRequest),
        "RepositoryModelLoad": (service.load, messages.RepositoryModelLoadRequest),
        "RepositoryModelUnload": (service.unload, messages.RepositoryModelUnloadRequest),
    }
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            name: grpc.unary_unary_rpc_method_handler(
                _telling(method), request_deserializer=request.FromString, response_serializer=_serialized
            )
            for name, (method, request) in methods.items()
        },
    )


class _Service:
    def __init__(self, models: Models, turns: Turns, metrics: Metrics) -> None:
        self._models = models
        self._turns = turns
        self._metrics = metrics

    def about(self, request: messages.ServerMetadataRequest, context: grpc.ServicerContext) -> messages.ServerMetadataResponse:
        return messages.ServerMetadataResponse(**asking.SERVER)

    def live(self, request: messages.ServerLiveRequest, context: grpc.ServicerContext) -> messages.ServerLiveResponse:
        return messages.ServerLiveResponse(live=True)

    def ready(self, request: messages.ServerReadyRequest, context: grpc.ServicerContext) -> messages.ServerReadyResponse:
        return messages.ServerReadyResponse(ready=self._models.ready())

    def metadata(self, request: messages.ModelMetadataRequest, context: grpc.ServicerContext) -> messages.ModelMetadataResponse:
        return messages.ModelMetadataResponse(**asking.metadata(self._models, request.name, request.version))

    def model_ready(self, request: messages.ModelReadyRequest, context: grpc.ServicerContext) -> messages.ModelReadyResponse:
        return messages.ModelReadyResponse(ready=asking.is_ready(self._models, request.name, request.version))

    def index(
        self, request: messages.RepositoryIndexRequest, context: grpc.ServicerContext
    ) -> messages.RepositoryIndexResponse:
        return messages.RepositoryIndexResponse(models=asking.index(self._models, request.ready))

    def load(
        self, request: messages.RepositoryModelLoadRequest, context: grpc.ServicerContext
    ) -> messages.RepositoryModelLoadResponse:
        asking.require_here(_address(context))
        loading = asking.load(self._models, request.model_name or request.repository_name, _parameters(request.parameters))
        loading.exception()
        asking.finished(loading)
        return messages.RepositoryModelLoadResponse()

    def unload(
        self, request: messages.RepositoryModelUnloadRequest, context: grpc.ServicerContext
    ) -> messages.RepositoryModelUnloadResponse:
        asking.require_here(_address(context))
        self._models.unload(request.model_name or request.repository_name)
        return messages.RepositoryModelUnloadResponse()

    def infer(self, request: messages.ModelInferRequest, context: grpc.ServicerContext) -> messages.ModelInferResponse:
        left: float | None = context.time_remaining()
        seconds = MOST_SECONDS if left is None else min(left, MOST_SECONDS)
        with self._metrics.asked(request.model_name, "grpc"), self._turns.place():
            answering = self._turns.do(lambda: _answer(self._models, request))
            try:
                return answering.result(seconds)
            except TimeoutError:
                answering.cancel()
                raise late(seconds) from None


def _answer(models: Models, request: messages.ModelInferRequest) -> messages.ModelInferResponse:
    loaded = models.find(request.model_name, request.model_version)
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidInput(f"The request has {len(request.inputs)} inputs and raw_input_contents for {len(raw)}.")
    found = []
    for number, each in enumerate(request.inputs):
        datatype, shape = described(each.name, each.datatype, list(each.shape))
        if "shared_memory_region" in each.parameters:
            raise InvalidInput(f"The input {shown(each.name)} is in shared memory, which is not read here. Send its bytes.")
        if raw:
            found.append((each.name, from_bytes(each.name, datatype, shape, raw[number])))
        else:
            found.append((each.name, _of_contents(each, datatype, shape)))
    for asked in request.outputs:
        for feature in ("classification", "shared_memory_region"):
            if feature in asked.parameters:
                raise InvalidInput(f"The output {shown(asked.name)} is asked for with {feature!r}, which is not offered here.")
    outputs = asking.inferred(loaded, asking.distinct(found), list(dict.fromkeys(each.name for each in request.outputs)))
    return _response(request, loaded.version, outputs)


def _of_contents(each: messages.ModelInferRequest.InferInputTensor, datatype: Any, shape: tuple[int, ...]) -> Array:
    """An array of the numbers of a request."""
    if datatype not in _FIELDS:
        raise InvalidInput(f"The input {shown(each.name)} is {datatype}, which is sent in raw_input_contents only.")
    numbers = getattr(each.contents, _FIELDS[datatype])
    wanted = math.prod(shape)
    if len(numbers) != wanted:
        raise InvalidInput(
            f"The input {shown(each.name)} is {datatype} of shape {list(shape)}, which are {wanted} numbers, and has "
            f"{len(numbers)} in its {_FIELDS[datatype]}. Give all of them there, or their bytes in raw_input_contents."
        )
    return of_type(each.name, datatype, numbers).reshape(shape)


def _response(request: messages.ModelInferRequest, version: str, outputs: Mapping[str, Array]) -> messages.ModelInferResponse:
    """Numbers to whoever sent numbers, and bytes to whoever sent bytes or asks for what has no other form."""
    response = messages.ModelInferResponse(model_name=request.model_name, model_version=version, id=request.id)
    raw = bool(request.raw_input_contents) or any(
        array.size > MOST_NUMBERS or DATATYPES[array.dtype] not in _FIELDS for array in outputs.values()
    )
    for name, array in outputs.items():
        output = response.outputs.add(name=name, datatype=DATATYPES[array.dtype], shape=array.shape)
        if raw:
            response.raw_output_contents.append(to_bytes(array))
        else:
            getattr(output.contents, _FIELDS[output.datatype]).extend(array.reshape(-1).tolist())
    return response


def _parameters(given: Mapping[str, messages.ModelRepositoryParameter]) -> dict[str, object]:
    return {name: getattr(value, value.WhichOneof("parameter_choice") or "string_param") for name, value in given.items()}


def _address(context: grpc.ServicerContext) -> str:
    """IP address of who asks, out of ipv4:127.0.0.1:1234 and ipv6:%5B::1%5D:1234."""
    kind, _, place = context.peer().partition(":")
    address = place.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
    return address if kind in ("ipv4", "ipv6") else context.peer()


def _telling(method: Callable[[Any, grpc.ServicerContext], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
    """A method whose errors are told in gRPC's way."""

    def told(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(request, context)
        except CloudedgeError as error:
            context.abort(next(code for kind, code in _CODES if isinstance(error, kind)), str(error))
            raise

    return told


def _serialized(response: Any) -> bytes:
    content: bytes = response.SerializeToString()
    return content
