"""Serves the local API to a bounded number of callers, each with a deadline for its request.

A connection costs a file descriptor; links and the store need theirs.
"""

import asyncio
import logging
import resource
import socket
from typing import Any, Final

import h11
import msgspec
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from node.api import app, version
from node.api.service import NodeService
from node.reporting import rows
from node.system import clock
from node.system.log_format import LogRateLimit

log = logging.getLogger("gangline.api")

CALLERS_MAX: Final = 256
CALLERS_SHARE: Final = 4
"""Local callers may use one in so many of the process's file descriptors."""
BACKLOG: Final = 128
REQUEST_SECONDS: Final = 10.0
CROWD_MAX: Final = 16
CROWD_SECONDS: Final = 1.0
"""So many callers more may send a request, within this time, to be answered with 503."""
LOG_SECONDS: Final = 60.0


def callers_max() -> int:
    """The number of callers that may be connected at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    share = soft // CALLERS_SHARE
    return CALLERS_MAX if soft == resource.RLIM_INFINITY else max(1, min(CALLERS_MAX, share))


class Callers:
    """The bound on callers, and the answer when it is reached."""

    def __init__(self) -> None:
        self.most = callers_max()
        self._message = f"{self.most} local callers are connected already; try again later"
        # Made once: later there may be no file descriptor left to read the release.
        body = msgspec.json.encode(rows.Problem("crowded", 503, self._message))
        headers = [
            *version.headers(),
            ("content-type", "application/problem+json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self._answer = f"HTTP/1.1 503 Service Unavailable\r\n{head}\r\n".encode() + body
        self._pace = LogRateLimit(1, LOG_SECONDS, clock.monotonic())

    def full(self) -> bytes:
        """Return the answer for a caller beyond the bound; logs that at most once a minute."""
        if self._pace.allow(clock.monotonic()):
            log.warning("%s", self._message)
        return self._answer


class ApiCaller(H11Protocol):
    """The connection of one local caller."""

    callers: Callers
    _late: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a caller, or refuse it if there are too many."""
        super().connection_made(transport)
        crowd = len(self.connections) - self.callers.most
        self._refused = crowd > 0
        if crowd > CROWD_MAX:
            self._refuse()
        else:
            self._set_deadline(CROWD_SECONDS if self._refused else REQUEST_SECONDS)

    def _refuse(self) -> None:
        self.transport.write(self.callers.full())
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request."""
        if self._refused:  # only now: a caller that is still sending would not read the answer
            self._refuse()
            return
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._set_deadline(REQUEST_SECONDS)
        else:
            self._clear_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up after the connection ended."""
        self._clear_deadline()
        super().connection_lost(exc)

    def _set_deadline(self, seconds: float) -> None:
        """Set the deadline of a whole request, from its first byte to its last."""
        if self._late is None:
            self._late = self.loop.call_later(seconds, self.transport.close)

    def _clear_deadline(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def build(service: NodeService) -> uvicorn.Server:
    """Build the server of one daemon."""
    protocol: type[Any] = type("OfOneDaemon", (ApiCaller,), {"callers": Callers()})
    settings = uvicorn.Config(
        app.build(service),
        http=protocol,
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        server_header=False,
        headers=version.headers(),
    )
    server = uvicorn.Server(settings)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    return server


async def serve(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until cancelled, then remove the socket from the event loop.

    The next socket may get the same file descriptor, and a loop that still watched the old one
    would not report connections on it.
    """
    try:
        await server.serve(sockets=[listening])
    except asyncio.CancelledError:
        # Requests that are in progress are answered first.
        await server.shutdown(sockets=[listening])
        raise
    finally:
        for one in server.servers:
            one.close()
