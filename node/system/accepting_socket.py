"""Accepts connections, also when the process has no descriptor left for one.

Stands under ``connection_limits.py`` and the local API. asyncio rests for a second then; but it
first tries again as often as its backlog is long, and logs a traceback each time.
"""

import asyncio
import errno
import logging
import resource
import socket
from collections.abc import Callable
from typing import Any, Final

from node.system import clock
from node.system.log_format import LogRateLimit

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
    """What a loop does with what it can raise to nobody.

    It says once that descriptors ran out, and passes over what asyncio does wrong by itself.
    """
    pace = LogRateLimit(1, SAID_SECONDS, clock.monotonic())

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        fault = context.get("exception")
        if _is_lost_twice(fault):
            log.debug("asyncio told a connection twice that it is lost")
        elif not (isinstance(fault, OSError) and fault.errno in STARVED and "socket" in context):
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


def _is_lost_twice(fault: BaseException | None) -> bool:
    """Whether asyncio took a transport apart that it had taken apart already.

    It does where TLS ends a connection that can be written to again (python/cpython#156512). The
    connection was closed before, and nothing is lost.
    """
    frame = fault.__traceback__ if isinstance(fault, AttributeError) else None
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and frame.tb_frame.f_code.co_name == "_call_connection_lost"
