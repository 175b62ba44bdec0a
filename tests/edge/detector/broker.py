"""A real MQTT broker, in a process of its own.

python -m tests.edge.detector.broker PORT [PASSWORDS] [CERTIFICATE]
"""

import asyncio
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloudedge.interpreter import python
from tests.waiting import until

ROOT = Path(__file__).parents[3]


@contextmanager
def broker(port: int, passwords: Path | None = None, certificate: Path | None = None) -> Iterator[None]:
    """Have a broker at a port of this machine.

    Args:
        port: The port.
        passwords: Users with their hashed passwords; none: anybody may.
        certificate: Its certificate and key, for TLS.
    """
    command = python("tests.edge.detector.broker", port, passwords or "", certificate or "")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _listens(port), what="the broker")
            yield
        finally:
            process.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


async def _serve(port: int, passwords: str, certificate: str) -> None:
    from amqtt.broker import Broker  # type: ignore[import-untyped]

    who = (
        {"amqtt.plugins.authentication.FileAuthPlugin": {"password_file": passwords}}
        if passwords
        else {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    )
    listener = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
    if certificate:
        listener |= {"ssl": True, "certfile": certificate, "keyfile": certificate}  # type: ignore[dict-item]
    await Broker({"listeners": {"default": listener}, "plugins": who}).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
