"""Servers of the Open Inference Protocol beside each other, each in a process of its own, asked by Triton's clients."""

import contextlib
import hashlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tritonclient.grpc
import tritonclient.http

from benchmarks.serving_models import SIDE, SMALL_WIDTH
from cloudedge.interpreter import environment, python

HERE = Path(__file__).parent
LOCK = HERE / "kserve.lock"
INPUTS: dict[str, tuple[str, np.ndarray[Any, Any]]] = {
    "small": ("x", np.ones((1, SMALL_WIDTH), np.float32)),
    "image": ("image", np.zeros((1, SIDE, SIDE, 3), np.uint8)),
}
"""Each model's input."""

_PATIENCE_SECONDS = 120


def kserve_python() -> Path:
    """A Python that has KServe as locked, which wants other versions of what we have; made when first asked for.

    Raises:
        FileNotFoundError: uv, which makes it, is not here.
    """
    folder = HERE.parent / "build" / f"kserve-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        own = sorted((HERE.parent / ".tools").glob("uv-*/bin/uv"))
        uv = str(own[-1]) if own else shutil.which("uv")
        if uv is None:
            raise FileNotFoundError("uv is not here: make setup without UV=, or put it on the PATH")
        part = folder.with_name(f".{folder.name}-{os.getpid()}")
        subprocess.run([uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, part], check=True)
        install: list[str | Path] = [
            "pip",
            "install",
            "--quiet",
            "--python",
            part,
            "--no-deps",
            "--require-hashes",
            "--requirement",
            LOCK,
        ]
        subprocess.run([uv, *install], check=True)
        with contextlib.suppress(OSError):  # Another process was quicker.
            part.rename(folder)
        shutil.rmtree(part, ignore_errors=True)
    return folder / "bin" / "python"


def compare(folder: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Ours and KServe's, asked in turns.

    Args:
        folder: Has `small.onnx`, `image.onnx`, and a manifest of each.
        repeats: Requests of each kind.
    """
    found: dict[str, dict[str, float]] = {}
    with contextlib.ExitStack() as stack:
        servers = {}
        for name, command in {
            "cloudedge": lambda http, grpc: python("benchmarks.serving_server", folder, http, grpc),
            "kserve": lambda http, grpc: [str(kserve_python()), str(HERE / "serving_kserve.py"), str(folder), http, grpc],
        }.items():
            servers[name] = stack.enter_context(_server(command))
            found[name] = {"s until ready": servers[name].seconds, "resident MiB when ready": servers[name].resident()}
        times: dict[tuple[str, str], list[float]] = {}
        for repeat in range(repeats + 20):
            for name, server in servers.items():
                for what, ask in server.questions.items():
                    began = time.perf_counter()
                    ask()
                    if repeat >= 20:  # The first ones open connections and fill caches.
                        times.setdefault((name, what), []).append(1e3 * (time.perf_counter() - began))
        for (name, what), values in times.items():
            found[name][f"{what}, p50 ms"] = statistics.median(values)
            found[name][f"{what}, p99 ms"] = float(np.percentile(values, 99))
        for name, server in servers.items():
            found[name]["resident MiB after that"] = server.resident()
    return found


class _Server:
    def __init__(self, process: int, http: str, grpc: str, seconds: float) -> None:
        self._process = psutil.Process(process)
        self.seconds = seconds
        self.clients = tritonclient.http.InferenceServerClient(http), tritonclient.grpc.InferenceServerClient(grpc)
        self.questions: dict[str, Callable[[], object]] = {}
        for protocol, module, client in zip(
            ("HTTP", "gRPC"), (tritonclient.http, tritonclient.grpc), self.clients, strict=True
        ):
            for model, (name, array) in INPUTS.items():
                datatype = {"float32": "FP32", "uint8": "UINT8"}[str(array.dtype)]
                given = module.InferInput(name, array.shape, datatype)
                given.set_data_from_numpy(array)
                self.questions[f"{model} by {protocol}"] = _asking(client, model, given)

    def resident(self) -> float:
        return self._process.memory_info().rss / 2**20


def _asking(client: Any, model: str, given: Any) -> Callable[[], object]:
    return lambda: client.infer(model, [given])


@contextmanager
def _server(command: Callable[[str, str], list[str]]) -> Iterator[_Server]:
    http, grpc = _free_port(), _free_port()
    began = time.monotonic()
    with subprocess.Popen(
        command(str(http), str(grpc)), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            while not _ready(http, grpc):
                if process.poll() is not None or time.monotonic() - began > _PATIENCE_SECONDS:
                    raise RuntimeError(f"the server {command('HTTP', 'GRPC')} did not begin")
                time.sleep(0.02)
            yield _Server(process.pid, f"127.0.0.1:{http}", f"127.0.0.1:{grpc}", time.monotonic() - began)
        finally:
            process.kill()


def _ready(http: int, grpc: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", grpc), 1), socket.create_connection(("127.0.0.1", http), 5) as asking:
            asking.sendall(b"GET /v2/models/image/ready HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            return asking.recv(12) == b"HTTP/1.1 200"
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port
