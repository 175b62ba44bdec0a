"""A web application that answers beside what a process does otherwise."""

import socket
import threading

import uvicorn
from starlette.types import ASGIApp


class WebServer:
    """Answers from the moment that it is made until it is closed, in a thread of its own."""

    def __init__(
        self,
        application: ASGIApp,
        listener: socket.socket,
        name: str,
        *,
        most_connections: int,
        grace_seconds: int,
        idle_seconds: int = 5,
    ) -> None:
        """Answer.

        Args:
            application: Who answers.
            listener: Where; it is closed in the end.
            name: Of the thread.
            most_connections: Of more at a time, each is told to come again.
            grace_seconds: How long answers may go on once it is closed.
            idle_seconds: How long a connection stays that asks nothing more.
        """
        config = uvicorn.Config(
            application,
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=most_connections,
            timeout_keep_alive=idle_seconds,
            timeout_graceful_shutdown=grace_seconds,
        )
        self._listener = listener
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()
