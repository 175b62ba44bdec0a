"""A real MLflow server, to be killed and started again."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.cluster.processes import free_port
from tests.waiting import until


class MlflowServer:
    """A server process on a free port, with its database and artifacts in given places."""

    def __init__(self, backend_uri: str, folder: Path, address: str = "127.0.0.1") -> None:
        self._backend_uri = backend_uri
        self._address = address
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port(address)
        self.uri = f"http://{address}:{self._port}"

    def start(self) -> None:
        """Start it and return once it answers."""
        places = ["--backend-store-uri", self._backend_uri, "--artifacts-destination", str(self.folder / "artifacts")]
        listening = ["--host", self._address, "--port", str(self._port), "--workers", "1"]
        listening += ["--allowed-hosts", self.uri.removeprefix("http://")]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *places, *listening],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        until(self._answers, timeout=120, what="an answer of the MLflow server")

    def kill(self) -> None:
        """End it and its workers as a power cut would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "server.log").read_text()
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
