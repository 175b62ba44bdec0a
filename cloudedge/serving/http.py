"""The Open Inference Protocol v2 over HTTP, its model repository, and the figures for Prometheus.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cloudedge.errors import CloudedgeError, Conflict, InvalidInput, NotFound
from cloudedge.serving import asking
from cloudedge.serving.metrics import Metrics
from cloudedge.serving.models import Models
from cloudedge.serving.tensors import (
    DATATYPES,
    MOST_JSON_BYTES,
    MOST_REQUEST_BYTES,
    Array,
    described,
    from_bytes,
    from_numbers,
    to_bytes,
    to_json,
)
from cloudedge.serving.turns import MOST_SECONDS, Busy, Late, Turns, late
from cloudedge.texts import shown

HEADER_LENGTH = "Inference-Header-Content-Length"
"""Header that says how long the JSON is, before the bytes of tensors."""

_STATUSES: tuple[tuple[type[CloudedgeError], int], ...] = (
    (InvalidInput, 400),
    (asking.Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Busy, 503),
    (Late, 504),
    (CloudedgeError, 500),
)
"""The first that an error is one of."""


class _TooLarge(InvalidInput):
    """A body has more bytes than are taken."""


def application(models: Models, turns: Turns, metrics: Metrics) -> Starlette:
    """The protocol for some models.

    Args:
        models: The models.
        turns: Who may infer when.
        metrics: Where it is counted.
    """
    service = _Service(models, turns, metrics)
    routes = [
        Route("/v2", service.about),
        Route("/v2/health/live", service.live),
        Route("/v2/health/ready", service.ready),
        Route("/v2/repository/index", service.index, methods=["POST"]),
        Route("/v2/repository/models/{name}/load", service.load, methods=["POST"]),
        Route("/v2/repository/models/{name}/unload", service.unload, methods=["POST"]),
        Route("/metrics", service.figures),
    ]
    for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        routes += [
            Route(model, service.metadata),
            Route(f"{model}/ready", service.model_ready),
            Route(f"{model}/infer", service.infer, methods=["POST"]),
        ]
    return Starlette(routes=routes, exception_handlers={CloudedgeError: _failed, HTTPException: _refused})


class _Service:
    def __init__(self, models: Models, turns: Turns, metrics: Metrics) -> None:
        self._models = models
        self._turns = turns
        self._metrics = metrics

    async def about(self, request: Request) -> Response:
        return JSONResponse(asking.SERVER)

    async def live(self, request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        ready = self._models.ready()
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def metadata(self, request: Request) -> Response:
        return JSONResponse(asking.metadata(self._models, *_model(request)))

    async def model_ready(self, request: Request) -> Response:
        name, version = _model(request)
        ready = asking.is_ready(self._models, name, version)
        return JSONResponse({"name": name, "ready": ready}, 200 if ready else 503)

    async def index(self, request: Request) -> Response:
        asked = await _document(request)
        return JSONResponse(asking.index(self._models, asked.get("ready") is True))

    async def load(self, request: Request) -> Response:
        _require_here(request)
        parameters = _parameters(await _document(request), "The request")
        loading = asking.load(self._models, request.path_params["name"], parameters)
        await asyncio.gather(asyncio.wrap_future(loading), return_exceptions=True)
        asking.finished(loading)
        return JSONResponse({})

    async def unload(self, request: Request) -> Response:
        _require_here(request)
        await asyncio.to_thread(self._models.unload, request.path_params["name"])
        return JSONResponse({})

    async def figures(self, request: Request) -> Response:
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def infer(self, request: Request) -> Response:
        name, version = _model(request)
        length = request.headers.get(HEADER_LENGTH, "")
        with self._metrics.asked(name, "http"), self._turns.place():
            try:
                async with asyncio.timeout(MOST_SECONDS):
                    body = await _body(request, MOST_REQUEST_BYTES)
                    answering = self._turns.do(lambda: _answer(self._models, name, version, length, body))
                    return await asyncio.wrap_future(answering)
            except TimeoutError:
                raise late(MOST_SECONDS) from None


def _answer(models: Models, name: str, version: str, length: str, body: bytes) -> Response:
    """Answer a request for inference."""
    loaded = models.find(name, version)
    asked, binary = _parts(length, body)
    inputs = asked.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise InvalidInput("The request has no list 'inputs'. Give the model's inputs in it.")
    found, begin = [], 0
    for each in inputs:
        label, array, begin = _input(_object(each, "An input"), binary, begin)
        found.append((label, array))
    if begin != len(binary):
        raise InvalidInput(f"The request has {len(binary)} bytes after its JSON, and its inputs take {begin} of them.")
    parameters = _parameters(asked, "The request")
    wanted = _wanted(asked.get("outputs", []), parameters.get("binary_data_output") is True)
    outputs = asking.inferred(loaded, asking.distinct(found), list(wanted))
    told: dict[str, Any] = {"model_name": name, "model_version": loaded.version}
    if "id" in asked:
        told["id"] = asked["id"]
    as_bytes = wanted or dict.fromkeys(outputs, parameters.get("binary_data_output") is True)
    return _response(told, outputs, as_bytes)


def _response(told: Mapping[str, Any], outputs: Mapping[str, Array], as_bytes: Mapping[str, bool]) -> Response:
    pieces, binary = [], []
    for name, array in outputs.items():
        head: dict[str, Any] = {"name": name, "datatype": DATATYPES[array.dtype], "shape": list(array.shape)}
        if as_bytes[name]:
            binary.append(to_bytes(array))
            head["parameters"] = {"binary_data_size": len(binary[-1])}
            pieces.append(json.dumps(head).encode())
        else:
            pieces.append(json.dumps(head).encode()[:-1] + b', "data": ' + to_json(name, array) + b"}")
    text = json.dumps(told).encode()[:-1] + b', "outputs": [' + b", ".join(pieces) + b"]}"
    if not binary:
        return Response(text, media_type="application/json")
    return Response(b"".join([text, *binary]), headers={HEADER_LENGTH: str(len(text))}, media_type="application/octet-stream")


def _parts(length: str, body: bytes) -> tuple[dict[str, Any], memoryview]:
    """The JSON of a request and the bytes after it."""
    if length and not (length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= len(body)):
        raise InvalidInput(f"{HEADER_LENGTH} is {shown(length)}, and the body has {len(body)} bytes. Give the JSON's length.")
    end = int(length) if length else len(body)
    if end > MOST_JSON_BYTES:
        raise InvalidInput(
            f"The request has {end} bytes of JSON; at most {MOST_JSON_BYTES} are taken. Send tensors as binary data."
        )
    return _parsed(body[:end]), memoryview(body)[end:]


def _input(each: Mapping[str, Any], binary: memoryview, begin: int) -> tuple[str, Array, int]:
    """An input's name and array, and where the bytes of the next one begin."""
    name = each.get("name")
    datatype, shape = described(name, each.get("datatype"), each.get("shape"))
    parameters = _parameters(each, f"The input {shown(name)}")
    if "shared_memory_region" in parameters:
        raise InvalidInput(f"The input {shown(name)} is in shared memory, which is not read here. Send its bytes.")
    if "binary_data_size" not in parameters:
        return str(name), from_numbers(str(name), datatype, shape, each.get("data")), begin
    size = parameters["binary_data_size"]
    if type(size) is not int or size < 0 or begin + size > len(binary) or "data" in each:
        raise InvalidInput(
            f"The input {shown(name)} has the binary_data_size {shown(size)}, where {len(binary) - begin} bytes are left, "
            "or it has 'data', too. Give the length of its bytes, and only them."
        )
    return str(name), from_bytes(str(name), datatype, shape, binary[begin : begin + size]), begin + size


def _wanted(outputs: object, otherwise: bool) -> dict[str, bool]:
    """Names of the outputs that are asked for, and whether as bytes."""
    if not isinstance(outputs, list):
        raise InvalidInput(f"The 'outputs' of the request are {shown(outputs)}. Give a list, or leave it out.")
    found = {}
    for each in outputs:
        name = _object(each, "An output").get("name")
        if not isinstance(name, str):
            raise InvalidInput(f"An output that is asked for has the name {shown(name)}. Give it as a text.")
        parameters = _parameters(each, f"The output {shown(name)}")
        for feature in ("classification", "shared_memory_region"):
            if parameters.get(feature):
                raise InvalidInput(f"The output {shown(name)} is asked for with {feature!r}, which is not offered here.")
        found[name] = parameters.get("binary_data", otherwise) is True
    return found


def _model(request: Request) -> tuple[str, str]:
    return request.path_params["name"], request.path_params.get("version", "")


def _require_here(request: Request) -> None:
    """Also not from a page that a browser on this machine shows: it says of each request where it comes from."""
    asking.require_here("a web page" if "origin" in request.headers else request.client.host if request.client else "")


async def _document(request: Request) -> dict[str, Any]:
    """The JSON of a request, which may have none."""
    body = await _body(request, MOST_JSON_BYTES)
    return _parsed(body) if body.strip() else {}


async def _body(request: Request, most: int) -> bytes:
    """The body of a request.

    Raises:
        InvalidInput: it has more bytes than that, is compressed, or its sender is gone.
    """
    if request.headers.get("content-encoding", "identity") != "identity":
        raise InvalidInput("The request is compressed, which is not understood here. Send it as it is.")
    declared = request.headers.get("content-length", "0")
    found = bytearray()
    if declared.isdigit() and int(declared) <= most:
        try:
            async for piece in request.stream():
                found += piece
                if len(found) > most:
                    break
            else:
                return bytes(found)
        except ClientDisconnect:
            raise InvalidInput("Whoever asked is gone.") from None
    raise _TooLarge(f"The request has more than the {most} bytes that are taken. Send less at a time.")


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The request is not JSON: {error}.") from None
    return _object(found, "The request")


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is none of its numbers; send the tensor as binary data")


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"{what} is {shown(value)}. Give an object in braces.")
    return value


def _parameters(value: Mapping[str, Any], what: str) -> dict[str, Any]:
    return _object(value.get("parameters", {}), f"{what} has 'parameters', which")


async def _failed(request: Request, error: Exception) -> Response:
    status = next(status for kind, status in _STATUSES if isinstance(error, kind))
    return JSONResponse({"error": str(error)}, 413 if isinstance(error, _TooLarge) else status)


async def _refused(request: Request, error: Exception) -> Response:
    status, words = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    return JSONResponse({"error": f"{words}: {request.method} {request.url.path}"}, status)
