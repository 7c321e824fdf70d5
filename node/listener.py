"""Takes links from other nodes: bounds first, then the hello, then a session.

Stands at the start of the line. A stranger costs at most a small message, five seconds and one
signature check before he is known. Source: protocol §10, §14.
"""

import asyncio
import contextlib
import errno
import logging
from pathlib import Path

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from crdt import limits
from crdt.identity import SigningKey
from node import tls
from node.driver import Driver, now
from node.errors import Trouble
from node.handshake import Gatekeeper, HelloRefused, Identity, listen
from node.link import OPTIONS, Link

log = logging.getLogger("gangline.listener")


class Listener:
    """The listening side.

    Args:
        folder: one that only the owner can read, for the certificate's moment on disk.
    """

    def __init__(self, driver: Driver, me: Identity, keeper: Gatekeeper, folder: Path) -> None:
        self._driver = driver
        self._me = me
        self._keeper = keeper
        key: SigningKey = me.key
        self._context, self._certificate = tls.server_context(key, folder)
        self._strangers = 0
        self._server: Server | None = None

    async def start(self, address: str) -> str:
        """Listen; gives the address with its real port.

        Raises:
            Trouble: the address is no address, or taken.
        """
        host, _, port = address.rpartition(":")
        try:
            self._server = await serve(
                self._handle,
                host.strip("[]"),
                int(port),
                ssl=self._context,
                open_timeout=limits.HELLO_SECONDS_MAX,
                logger=logging.getLogger("gangline.websocket"),
                **OPTIONS,
            )
        except ValueError as fault:
            raise Trouble(
                f"{address} is no host:port to listen on; set listen in the config"
            ) from fault
        except OSError as fault:
            taken = fault.errno == errno.EADDRINUSE
            way = "stop what has it, or set another listen in the config" if taken else str(fault)
            raise Trouble(f"cannot listen on {address}: {way}") from fault
        name = next(iter(self._server.sockets)).getsockname()
        return f"{host}:{name[1]}"

    async def stop(self) -> None:
        """Listen no longer, and end the links that came in."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _handle(self, socket: ServerConnection) -> None:
        if self._strangers >= limits.LINKS_BEFORE_HELLO_MAX:
            await socket.close(1013, "busy")
            return
        self._strangers += 1
        try:
            async with asyncio.timeout(limits.HELLO_SECONDS_MAX):
                peer, clock, joined = await listen(
                    socket, self._me, self._keeper, self._certificate, now().wall
                )
        except HelloRefused as refusal:
            log.info("refused a caller: %s", refusal.reason)
            return
        except (ConnectionClosed, TimeoutError):
            return
        finally:
            self._strangers -= 1
        if joined or len(self._driver.links) >= limits.LINKS_MAX:
            with contextlib.suppress(ConnectionClosed):
                await socket.close(1000, "joined" if joined else "full")
            return
        host, port, *_ = socket.remote_address
        address = f"{host}:{port}"
        link = Link(socket, peer, clock, dialled=False, address=address)
        reason = await self._driver.attach(link)
        log.info("link from %s ended: %s", peer.short, reason)
