"""A web application that answers beside what a process does otherwise, whoever else is on the network."""

import asyncio
import socket
import threading

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

_STALLED_SECONDS = 30.0
"""What an answer waits for a reader who takes nothing of it."""


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
            most_connections: At a time. For one more, the one that has asked nothing for longest goes; only where all are being
                answered, each further one is told to come again.
            grace_seconds: How long answers may go on once it is closed.
            idle_seconds: How long a connection stays that asks nothing.
        """
        config = uvicorn.Config(
            application,
            http=_Connection,
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=most_connections + 1,  # Of so many, uvicorn answers one less.
            timeout_keep_alive=idle_seconds,
            timeout_graceful_shutdown=grace_seconds,
        )
        self._listener = listener
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # Who has not taken all of an answer by now, or came in as the listener was closed.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # Transports let go of their sockets in the loop's next turn.


class _Connection(H11Protocol):
    """A connection that holds its place only as long as it asks, and takes its answer."""

    idle_since = 0.0
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_request()
        idle = [each for each in self.connections if isinstance(each, _Connection) and each is not self and each.is_idle]
        if len(self.connections) >= (self.limit_concurrency or 0) and idle:
            longest = min(idle, key=lambda each: each.idle_since)
            self.connections.discard(longest)
            longest.transport.abort()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.idle_since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._resumed()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(_STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._resumed()

    @property
    def is_idle(self) -> bool:
        """Whether it has asked nothing, not all of a request, or had its answer."""
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # Before the first request.

    def _wait_for_request(self) -> None:
        self.idle_since = self.loop.time()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _resumed(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
