"""Models in a folder, with the servers that answer for them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3

from cloudedge.serving.models import Loaded, Models
from cloudedge.serving.servers import Servers, serve
from tests.cloudedge.serving.small import WIDTH, times

PATIENCE = 60
HERE = "127.0.0.1:0"


class Served:
    """One server of each protocol."""

    def __init__(self, folder: Path, at_once: int = 1, waiting: int = 15) -> None:
        self.files = folder / "files"
        self.files.mkdir()
        self.models = Models(folder / "models")
        self.servers: Servers = serve(self.models, HERE, HERE, at_once, waiting)
        self._pool = urllib3.PoolManager(retries=False, timeout=PATIENCE)

    @property
    def http(self) -> str:
        return f"127.0.0.1:{self.servers.http_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.servers.grpc_port}"

    def put(self, factor: float, brand: str = "oats") -> str:
        path = self.files / f"{brand}-{factor}.onnx"
        return self.models.put(times(path, factor, brand), path)

    def use(self, factor: float, brand: str = "oats") -> Loaded:
        return self.models.load(brand, self.put(factor, brand)).result(PATIENCE)

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """Status, and what the JSON of the answer says."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        answer = self._pool.request(method, f"http://{self.http}{path}", body=content, headers=headers)
        return answer.status, json.loads(answer.data)

    def figure(self, line: str) -> float:
        """A figure of those for Prometheus; 0: there is none."""
        text = self._pool.request("GET", f"http://{self.http}/metrics").data.decode()
        return next((float(each.rpartition(" ")[2]) for each in text.splitlines() if each.startswith(f"{line} ")), 0.0)

    def close(self) -> None:
        self._pool.clear()
        self.servers.close()
        self.models.close()


def asked(data: object = None, **changed: object) -> dict[str, Any]:
    """A request of one row."""
    rows = [1.0] * WIDTH if data is None else data
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, WIDTH], "data": rows, **changed}]}
