"""A listening socket for a process that may run out of file descriptors.

Used by ``connection_limits.py`` and the local API. When ``accept`` fails for lack of a descriptor,
asyncio retries once for each place in its backlog, logging a traceback each time, before it pauses
for a second. Here the second attempt reports that no caller is waiting, so asyncio pauses at once.
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

OUT_OF_RESOURCES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
LOG_EVERY_SECONDS: Final = 600.0


class AcceptingSocket(socket.socket):
    """A listening socket that fails once if descriptors run out, then reports no waiting caller."""

    _failed = False

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept the next connection.

        Raises:
            BlockingIOError: no caller is waiting, or the last call ran out of descriptors.
            OSError: as ``socket.accept``.
        """
        if self._failed:
            self._failed = False
            raise BlockingIOError
        try:
            return super().accept()
        except OSError as fault:
            self._failed = fault.errno in OUT_OF_RESOURCES
            raise


def handler() -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """The event loop's handler of exceptions that nobody can catch.

    Logs at most once in ten minutes that descriptors ran out, and ignores a known bug of asyncio.
    """
    rate_limit = LogRateLimit(1, LOG_EVERY_SECONDS, clock.monotonic())

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        fault = context.get("exception")
        if _is_double_close(fault):
            log.debug("asyncio reported a lost connection twice")
        elif not (
            isinstance(fault, OSError) and fault.errno in OUT_OF_RESOURCES and "socket" in context
        ):
            loop.default_exception_handler(context)
        elif rate_limit.allow(clock.monotonic()):
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            log.error(
                "cannot take a connection: %s (this process may open %d files; raise that with "
                "ulimit -n, or LimitNOFILE in its unit); tried again every second",
                fault.strerror,
                soft,
            )

    return handle


def _is_double_close(fault: BaseException | None) -> bool:
    """Whether asyncio closed a transport that was closed already.

    This happens if TLS ends a connection that has just become writable (python/cpython#156512).
    Nothing is lost.
    """
    frame = fault.__traceback__ if isinstance(fault, AttributeError) else None
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and frame.tb_frame.f_code.co_name == "_call_connection_lost"
