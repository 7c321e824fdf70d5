"""Serves the local API: a bounded number of callers, each of whom says soon what is asked.

Stands between ``daemon.py`` and ``app.py``. A connection costs a descriptor, of which a process
has few, and links and the store need theirs.
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
"""One in so many of the process's descriptors may be a local caller's."""
BACKLOG: Final = 128
ASK_SECONDS: Final = 10.0
CROWD_MAX: Final = 16
CROWD_SECONDS: Final = 1.0
"""So many more are let say what they ask, for so long, to be answered that there is no room."""
SAID_SECONDS: Final = 60.0


def callers_max() -> int:
    """How many callers may be connected at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft // CALLERS_SHARE
    return CALLERS_MAX if soft == resource.RLIM_INFINITY else max(1, min(CALLERS_MAX, few))


class Callers:
    """The bound, and what to answer whoever comes when it is reached."""

    def __init__(self) -> None:
        self.most = callers_max()
        self._said = (
            f"{self.most} local callers are connected already; ask again once one has ended"
        )
        # Made once: when it is needed there may be no descriptor left to read a file.
        body = msgspec.json.encode(rows.Problem("crowded", 503, self._said))
        headers = [
            *version.headers(),
            ("content-type", "application/problem+json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self._answer = f"HTTP/1.1 503 Service Unavailable\r\n{head}\r\n".encode() + body
        self._pace = LogRateLimit(1, SAID_SECONDS, clock.monotonic())

    def full(self) -> bytes:
        """The answer; logs the crowd, but not for each caller."""
        if self._pace.allow(clock.monotonic()):
            log.warning("%s", self._said)
        return self._answer


class ApiCaller(H11Protocol):
    """One connection of a local caller."""

    callers: Callers
    _late: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a caller, or answer that there are too many."""
        super().connection_made(transport)
        crowd = len(self.connections) - self.callers.most
        self._refused = crowd > 0
        if crowd > CROWD_MAX:
            self._refuse()
        else:
            self._hurry(CROWD_SECONDS if self._refused else ASK_SECONDS)

    def _refuse(self) -> None:
        self.transport.write(self.callers.full())
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Take a part of what is asked."""
        if self._refused:  # only now: who is hung up on while asking reads no answer
            self._refuse()
            return
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._hurry(ASK_SECONDS)
        else:
            self._take_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended."""
        self._take_time()
        super().connection_lost(exc)

    def _hurry(self, seconds: float) -> None:
        """From the first byte of a question to its last there is one deadline."""
        if self._late is None:
            self._late = self.loop.call_later(seconds, self.transport.close)

    def _take_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def build(desk: NodeService) -> uvicorn.Server:
    """The server around one daemon."""
    protocol: type[Any] = type("OfOneDaemon", (ApiCaller,), {"callers": Callers()})
    settings = uvicorn.Config(
        app.build(desk),
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
    """Serve until cancelled, and then let the loop forget the socket.

    The next one may well get the same number, and a loop that still watches it would never tell.
    """
    try:
        await server.serve(sockets=[listening])
    except asyncio.CancelledError:
        # Whoever still waits for an answer gets one.
        await server.shutdown(sockets=[listening])
        raise
    finally:
        for one in server.servers:
            one.close()
