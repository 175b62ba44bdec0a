"""The protocol over HTTP, by its letter: what is asked wrongly is told in its form, and disturbs nothing."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloudedge.errors import InvalidInput, StoreFailed
from cloudedge.serving.servers import serve
from cloudedge.serving.tensors import MOST_JSON_BYTES, MOST_REQUEST_BYTES
from tests.cloudedge.serving.served import HERE, PATIENCE, Served, asked
from tests.cloudedge.serving.small import WIDTH, echo, failing
from tests.waiting import until

INFER = "/v2/models/oats/infer"


def binary(document: dict[str, Any], *arrays: bytes) -> tuple[bytes, dict[str, str]]:
    """A body of JSON and bytes, and its headers."""
    head = json.dumps(document).encode()
    return b"".join([head, *arrays]), {"Inference-Header-Content-Length": str(len(head))}


def in_bytes(size: object, **changed: object) -> dict[str, Any]:
    return asked() | {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, WIDTH], "parameters": {"binary_data_size": size}} | changed]
    }


def test_a_server_tells_what_it_is_and_that_it_is_well(served: Served) -> None:
    status, about = served.ask("GET", "/v2")

    assert status == 200
    assert about["extensions"] == ["binary_tensor_data", "model_repository"]
    assert served.ask("GET", "/v2/health/live") == (200, {"live": True})
    assert served.ask("GET", "/v2/health/ready") == (200, {"ready": True})


def test_a_server_is_not_ready_where_what_was_in_use_could_not_be_loaded(served: Served) -> None:
    path = served.files / "failing.onnx"
    loading = served.models.load("oats", served.models.put(failing(path), path))
    loading.exception(PATIENCE)

    assert served.ask("GET", "/v2/health/ready") == (503, {"ready": False})
    assert served.ask("GET", "/v2/models/oats/ready") == (503, {"name": "oats", "ready": False})


def test_a_model_tells_its_versions_its_inputs_and_its_outputs(served: Served) -> None:
    first, second = served.use(1), served.use(2)

    status, told = served.ask("GET", "/v2/models/oats")

    assert status == 200
    assert told == {
        "name": "oats",
        "versions": [second.version, first.version],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, WIDTH]}],
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [-1, WIDTH]},
            {"name": "score", "datatype": "FP32", "shape": [-1]},
        ],
    }
    assert served.ask("GET", f"/v2/models/oats/versions/{first.version}")[1] == told
    assert served.ask("GET", f"/v2/models/oats/versions/{first.version}/ready")[0] == 200


def test_numbers_are_answered_by_numbers(served: Served) -> None:
    version = served.use(3).version

    status, answer = served.ask("POST", INFER, {"id": "seven", **asked([1, 2, 3, 4])})

    assert status == 200
    assert answer == {
        "model_name": "oats",
        "model_version": version,
        "id": "seven",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, WIDTH], "data": [3.0, 6.0, 9.0, 12.0]},
            {"name": "score", "datatype": "FP32", "shape": [1], "data": [30.0]},
        ],
    }


def test_a_version_that_is_warm_answers_for_itself(served: Served) -> None:
    first = served.use(1).version
    served.use(2)

    _, answer = served.ask("POST", f"/v2/models/oats/versions/{first}/infer", asked())

    assert answer["model_version"] == first
    assert answer["outputs"][1]["data"] == [4.0]


def test_only_the_outputs_that_are_asked_for_are_told(served: Served) -> None:
    served.use(1)

    _, answer = served.ask("POST", INFER, asked() | {"outputs": [{"name": "score"}]})

    assert [each["name"] for each in answer["outputs"]] == ["score"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "The request is []"),
        ({}, "no list 'inputs'"),
        ({"inputs": []}, "no list 'inputs'"),
        ({"inputs": [1]}, "An input is 1"),
        ({"inputs": [{}]}, "has no name"),
        (asked(name="z"), "has the inputs x, and got 'z'"),
        ({"inputs": asked()["inputs"] * 2}, "twice among 'x', 'x'"),
        (asked(datatype="FP64"), "is FP32 of shape [-1, 4], and got float64"),
        (asked(datatype="BYTES"), "BYTES, which no model here takes"),
        (asked(shape=[WIDTH]), "is FP32 of shape [-1, 4]"),
        (asked(shape=[2, 2]), "is FP32 of shape [-1, 4]"),
        (asked([], shape=[0, WIDTH]), "batch"),
        (asked(shape=[2**40, 2**40]), "more numbers than"),
        (asked([1, 2, 3]), "its data has 3"),
        (asked(parameters=[]), "The input 'x' has 'parameters', which is []"),
        (asked(parameters={"shared_memory_region": "a"}), "shared memory"),
        (asked() | {"outputs": {}}, "The 'outputs' of the request are {}"),
        (asked() | {"outputs": [{"name": "z"}]}, "has no output 'z'; it has y, score"),
        (asked() | {"outputs": [{"name": 1}]}, "has the name 1"),
        (asked() | {"outputs": [{"name": "y", "parameters": {"classification": 2}}]}, "'classification', which is not offered"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [NaN]}]}', "NaN is none of its numbers"),
        (b" " * (MOST_JSON_BYTES + 1), "Send tensors as binary data"),
    ],
)
def test_what_is_asked_wrongly_is_named(served: Served, document: object, said: str) -> None:
    served.use(1)

    status, answer = served.ask("POST", INFER, document)

    assert status == 400
    assert said in answer["error"]
    assert served.ask("POST", INFER, asked())[0] == 200


@pytest.mark.parametrize(
    ("document", "content", "said"),
    [
        (in_bytes(16), b"\0" * 15, "binary_data_size 16, where 15 bytes are left"),
        (in_bytes(12), b"\0" * 12, "which are 16 bytes, and came with 12"),
        (in_bytes(16), b"\0" * 17, "17 bytes after its JSON, and its inputs take 16"),
        (in_bytes(-1), b"", "binary_data_size -1"),
        (in_bytes("16"), b"\0" * 16, "binary_data_size '16'"),
        (in_bytes(True), b"\0", "binary_data_size True"),
        (in_bytes(16, data=[1, 2, 3, 4]), b"\0" * 16, "or it has 'data', too"),
        (in_bytes(2**60, shape=[2**58, 1]), b"\0" * 16, "more numbers than"),
        (asked(), b"\0", "1 bytes after its JSON, and its inputs take 0"),
    ],
)
def test_bytes_that_are_not_the_tensors_are_refused(
    served: Served, document: dict[str, Any], content: bytes, said: str
) -> None:
    served.use(1)

    status, answer = served.ask("POST", INFER, *binary(document, content))

    assert status == 400
    assert said in answer["error"]


@pytest.mark.parametrize("length", ["-1", "x", "999999", "9" * 5000, "1.0"])
def test_a_length_of_the_json_that_is_none_is_refused(served: Served, length: str) -> None:
    served.use(1)

    status, answer = served.ask("POST", INFER, asked(), {"Inference-Header-Content-Length": length})

    assert (status, "Give the JSON's length" in answer["error"]) == (400, True)


def test_what_json_has_not_is_told_in_bytes(served: Served) -> None:
    path = served.files / "echo.onnx"
    served.models.load("echo", served.models.put(echo(path, "FP32"), path)).result(PATIENCE)
    given = np.array([[np.nan, np.inf]], np.float32)
    document = {"inputs": [{"name": "given", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}]}

    status, answer = served.ask("POST", "/v2/models/echo/infer", *binary(document, given.tobytes()))

    assert (status, "Ask for it as binary data" in answer["error"]) == (400, True)


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/v2/models/rye", 404, "No model 'rye' is loaded; loaded are: oats"),
        ("GET", "/v2/models/oats/versions/12", 404, "The version '12' of the model 'oats' is not loaded"),
        ("GET", "/v2/models/rye/ready", 404, "No model 'rye'"),
        ("POST", "/v2/models/rye/infer", 404, "No model 'rye'"),
        ("POST", "/v2/models/..%2foats/infer", 404, ""),
        ("POST", "/v2/repository/models/rye/load", 404, "There is no model 'rye' here; there are: oats"),
        ("POST", "/v2/repository/models/rye/unload", 404, "There is no model 'rye'"),
        ("GET", "/v2/models/oats/infer", 405, "Method Not Allowed"),
        ("GET", "/v1/models", 404, "Not Found"),
    ],
)
def test_what_is_not_there_is_said_in_the_protocols_form(
    served: Served, method: str, path: str, status: int, said: str
) -> None:
    served.use(1)

    found, answer = served.ask(method, path, asked() if method == "POST" and "infer" in path else None)

    assert found == status
    assert said in answer["error"]


def test_a_request_that_is_too_long_or_compressed_is_refused(served: Served) -> None:
    served.use(1)

    with socket.create_connection(("127.0.0.1", served.servers.http_port or 0), PATIENCE) as connection:
        head = f"POST {INFER} HTTP/1.1\r\nHost: here\r\nContent-Length: {MOST_REQUEST_BYTES + 1}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 413"
    status, answer = served.ask("POST", INFER, b"", {"Content-Encoding": "gzip"})
    assert (status, answer["error"]) == (400, "The request is compressed, which is not understood here. Send it as it is.")


def test_a_request_without_an_announced_end_is_bounded_too(served: Served) -> None:
    served.use(1)
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    with socket.create_connection(("127.0.0.1", served.servers.http_port or 0), PATIENCE) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        answer = b""
        try:
            for _ in range(MOST_REQUEST_BYTES // 0x10000 + 2):
                connection.sendall(piece)
            answer = connection.recv(12)
        except ConnectionError:  # It answered and hung up before all was sent.
            answer = connection.recv(12)
    assert answer == b"HTTP/1.1 413"


def test_models_are_loaded_and_unloaded_by_name_among_those_on_disk(served: Served) -> None:
    first = served.use(1).version
    second = served.put(2)

    assert served.ask("POST", "/v2/repository/index")[1] == [
        {"name": "oats", "version": first, "state": "READY", "reason": ""},
        {"name": "oats", "version": second, "state": "UNAVAILABLE", "reason": ""},
    ]
    assert len(served.ask("POST", "/v2/repository/index", {"ready": True})[1]) == 1
    assert served.ask("POST", "/v2/repository/models/oats/load") == (200, {})
    assert served.ask("GET", "/v2/models/oats")[1]["versions"] == [second, first]
    assert served.ask("POST", "/v2/repository/models/oats/load", {"parameters": {"version": first}}) == (200, {})
    assert served.ask("GET", "/v2/models/oats")[1]["versions"] == [first, second]
    assert served.ask("POST", "/v2/repository/models/oats/unload", {"parameters": {"unload_dependents": False}}) == (200, {})
    assert served.ask("GET", "/v2/models/oats")[0] == 404
    assert served.ask("GET", "/v2/models/oats/ready") == (503, {"name": "oats", "ready": False})


@pytest.mark.parametrize(
    ("parameters", "status", "said"),
    [
        ({"config": "{}"}, 400, "The parameter 'config' is not taken"),
        ({"file:1/model.onnx": "AAAA"}, 400, "is not taken"),
        ({"version": 1}, 400, "The parameter 'version' is 1"),
        ({"version": "../../etc"}, 404, "There is no version '../../etc'"),
    ],
)
def test_nobody_brings_a_model_by_loading_it(served: Served, parameters: dict[str, object], status: int, said: str) -> None:
    served.use(1)

    found, answer = served.ask("POST", "/v2/repository/models/oats/load", {"parameters": parameters})

    assert found == status
    assert said in answer["error"]


def test_a_load_that_fails_says_why_and_the_old_version_answers(served: Served) -> None:
    served.use(1)
    path = served.files / "failing.onnx"
    served.models.put(failing(path), path)

    status, answer = served.ask("POST", "/v2/repository/models/oats/load")

    assert status == 500
    assert "failed" in answer["error"]
    assert served.ask("POST", INFER, asked())[0] == 200


@pytest.mark.parametrize("origin", [{"Origin": "http://example.org"}, {"X-Forwarded-For": "10.0.0.7"}])
def test_who_is_elsewhere_neither_loads_nor_unloads(served: Served, origin: dict[str, str]) -> None:
    served.use(1)

    for what in ("load", "unload"):
        status, answer = served.ask("POST", f"/v2/repository/models/oats/{what}", None, origin)
        assert status == 403
        assert "from the machine itself" in answer["error"]
    assert served.ask("POST", INFER, asked(), origin)[0] == 200


class Held:
    """A model in use whose runs wait until they are let go."""

    def __init__(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        loaded = served.use(1)
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        infer = loaded.session.infer

        def held(inputs: Any) -> Any:
            self.begun.release()
            assert self.go.wait(PATIENCE)
            return infer(inputs)

        monkeypatch.setattr(loaded.session, "infer", held)


def test_what_comes_when_all_places_are_taken_is_told_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(tmp_path, at_once=1, waiting=1)
    held, statuses = Held(served, monkeypatch), list[int]()
    threads = [threading.Thread(target=lambda: statuses.append(served.ask("POST", INFER, asked())[0])) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        assert held.begun.acquire(timeout=PATIENCE)
        until(
            lambda: (
                served.servers.metrics.registry.get_sample_value(
                    "cloudedge_infer_requests_total", {"model": "oats", "protocol": "http"}
                )
                == 2
            )
        )

        status, answer = served.ask("POST", INFER, asked())

        assert status == 503
        assert "Ask again in a moment" in answer["error"]
        assert served.ask("GET", "/v2/health/live")[0] == 200
    finally:
        held.go.set()
        for thread in threads:
            thread.join()
        served.close()
    assert statuses == [200, 200]


def test_what_takes_too_long_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(served, monkeypatch)
    monkeypatch.setattr("cloudedge.serving.http.MOST_SECONDS", 0.2)

    status, answer = served.ask("POST", INFER, asked())
    held.go.set()

    assert status == 504
    assert "no answer after 0.2 s" in answer["error"]


def test_an_answer_under_way_is_given_though_its_model_is_unloaded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    held, answers = Held(served, monkeypatch), list[Any]()
    thread = threading.Thread(target=lambda: answers.append(served.ask("POST", INFER, asked())))
    thread.start()
    assert held.begun.acquire(timeout=PATIENCE)

    assert served.ask("POST", "/v2/repository/models/oats/unload")[0] == 200
    held.go.set()
    thread.join()

    assert answers[0][0] == 200
    assert served.ask("POST", INFER, asked())[0] == 404


def test_figures_tell_what_was_asked_and_what_is_in_use(served: Served) -> None:
    served.use(1)
    version = served.use(2).version
    path = served.files / "failing.onnx"
    served.models.load("oats", served.models.put(failing(path), path)).exception(PATIENCE)
    served.ask("POST", INFER, asked())
    served.ask("POST", INFER, asked([1]))
    served.ask("POST", "/v2/models/any-name-at-all/infer", asked())
    labels = 'model="oats",protocol="http"'

    assert served.figure(f"cloudedge_infer_requests_total{{{labels}}}") == 2
    assert served.figure(f'cloudedge_infer_errors_total{{error="InvalidInput",{labels}}}') == 1
    assert served.figure(f"cloudedge_infer_seconds_count{{{labels}}}") == 2
    assert served.figure('cloudedge_infer_errors_total{error="NotFound",model="",protocol="http"}') == 1
    assert served.figure('cloudedge_model_loads_total{model="oats"}') == 2
    assert served.figure('cloudedge_model_failed_loads_total{model="oats"}') == 1
    assert served.figure('cloudedge_model_swaps_total{model="oats"}') == 1
    in_use = served.models.find("oats").deployable.sha256
    assert served.figure(f'cloudedge_model_in_use{{model="oats",sha256="{in_use}",version="{version}"}}') == 1
    assert served.figure("cloudedge_resident_bytes") > 1e6


@pytest.mark.parametrize("address", ["", "8080", "here:8080", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:-1", "::1"])
def test_an_address_that_is_none_is_named(served: Served, address: str) -> None:
    for addresses in ((address, None), (None, address)):
        with pytest.raises(InvalidInput, match="is no address to listen at"):
            serve(served.models, *addresses)


def test_an_address_that_is_taken_is_named_and_nothing_is_left_behind(served: Served) -> None:
    before = threading.active_count()

    for addresses in ((served.http, None), (HERE, served.grpc)):
        with pytest.raises(StoreFailed, match="Cannot listen at"):
            serve(served.models, *addresses)

    until(lambda: threading.active_count() <= before, what="the end of their threads")


def test_servers_are_where_an_address_is_given(served: Served) -> None:
    with serve(served.models, "[::1]:0", None) as only_http:
        assert only_http.grpc_port is None
        assert only_http.http_port
    with serve(served.models, None, HERE) as only_grpc:
        assert only_grpc.http_port is None
        assert only_grpc.grpc_port
