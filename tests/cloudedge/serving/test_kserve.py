"""KServe's own clients, as they are published, work with the servers."""

import json
import subprocess
from pathlib import Path

from cloudedge.interpreter import environment
from tests.cloudedge.serving.served import Served


def test_kserves_clients_work_unchanged(served: Served, kserve_python: Path) -> None:
    served.use(2)
    script = Path(__file__).with_name("kserve_client.py")
    directly = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}  # What it asks by does not understand ours, [::1].
    command = [str(kserve_python), str(script), served.http, served.grpc, "oats"]

    done = subprocess.run(command, env=environment() | directly, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert "No model 'rye' is loaded" in found.pop("HTTP, no such model")
    for protocol in ("HTTP", "gRPC"):
        for what in ("live", "ready", "model ready"):
            assert found.pop(f"{protocol}, {what}") is True
    assert found == {
        f"{protocol}, in bytes: {in_bytes}": [[2, 4, 6, 8]] for protocol in ("HTTP", "gRPC") for in_bytes in (False, True)
    }
