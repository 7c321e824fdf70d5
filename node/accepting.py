"""Accepts connections, also when the process has no descriptor left for one.

Stands under ``door.py`` and the local API. asyncio rests for a second then; but it first tries
again as often as its backlog is long, and logs a traceback each time.
"""

import asyncio
import errno
import logging
import resource
import socket
from collections.abc import Callable
from typing import Any, Final

from node import clock
from node.logs import Pace

log = logging.getLogger("gangline")

STARVED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
SAID_SECONDS: Final = 600.0


class AcceptingSocket(socket.socket):
    """A listening socket that fails once for want of a descriptor, and then has nobody waiting."""

    _starved = False

    def accept(self) -> tuple[socket.socket, Any]:
        """The next caller.

        Raises:
            BlockingIOError: there is none, or no descriptor a moment ago.
        """
        if self._starved:
            self._starved = False
            raise BlockingIOError
        try:
            return super().accept()
        except OSError as fault:
            self._starved = fault.errno in STARVED
            raise


def handler() -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """What a loop does with what it can raise to nobody: says once that descriptors ran out."""
    pace = Pace(1, SAID_SECONDS, clock.monotonic())

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        fault = context.get("exception")
        if not (isinstance(fault, OSError) and fault.errno in STARVED and "socket" in context):
            loop.default_exception_handler(context)
        elif pace.lets(clock.monotonic()):
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            log.error(
                "cannot take a connection: %s (this process may open %d files; raise that with "
                "ulimit -n, or LimitNOFILE in its unit); tried again every second",
                fault.strerror,
                soft,
            )

    return handle
