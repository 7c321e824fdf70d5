"""Takes links from other nodes: bounds first, then the hello, then a session.

Stands at the start of the line, behind ``connection_limits.py``, which bounds what a stranger may
cost. The hello takes one signature check, and only where nothing cheaper refuses him. Source:
protocol §10, §14.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from collections import OrderedDict
from pathlib import Path

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from crdt.primitives import limits
from crdt.primitives.identity import SigningKey
from node.network import tls
from node.network.connection_limits import FAULTS, Address, MeteredListener
from node.network.disconnect_reasons import message_for_us, word_of
from node.network.handshake import HelloRefused, Identity, PeerAuthorizer, listen
from node.network.link import OPTIONS, Link
from node.network.link_supervisor import LinkSupervisor
from node.runtime.driver import Driver
from node.system import clock
from node.system.errors import OperatorError
from node.system.log_format import fields

log = logging.getLogger("gangline.listener")

TOLD_MAX = 256
WAYS = {
    errno.EADDRINUSE: "stop what has it, or set another listen in the config",
    errno.EADDRNOTAVAIL: (
        "this host has no such address; set listen in the config to one that it has, or to "
        "0.0.0.0:PORT, and advertise to what others dial"
    ),
    errno.EACCES: "this user may not listen on that port; set another listen in the config",
}


class Listener:
    """The listening side.

    Args:
        folder: one that only the owner can read, for the certificate's moment on disk.
    """

    def __init__(
        self,
        driver: Driver,
        me: Identity,
        keeper: PeerAuthorizer,
        folder: Path,
        holder: LinkSupervisor,
    ) -> None:
        self._driver = driver
        self._me = me
        self._keeper = keeper
        key: SigningKey = me.key
        self._context, self._certificate = tls.server_context(key, folder)
        self._holder = holder
        self._door = holder.door
        self._server: Server | None = None
        self._told: OrderedDict[str, str] = OrderedDict()

    async def start(self, address: str) -> str:
        """Listen; gives the address with its real port.

        Raises:
            Trouble: the address is no address, or taken.
        """
        host, _, port = address.rpartition(":")
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host.strip("[]") or None,
                int(port),
                type=socket.SOCK_STREAM,
                flags=socket.AI_PASSIVE,
            )
            family, _, _, _, place = found[0]
            listening = MeteredListener.listening(self._door, family, place)
        except ValueError as fault:
            raise OperatorError(
                f"{address} is no host:port to listen on; set listen in the config"
            ) from fault
        except OSError as fault:
            raise OperatorError(f"cannot listen on {address}: {_way(fault)}") from fault
        self._server = await serve(
            self._handle,
            sock=listening,
            ssl=self._context,
            # One deadline, of the socket itself, holds for TLS, HTTP and the hello together.
            open_timeout=None,
            ssl_handshake_timeout=2 * limits.HELLO_SECONDS_MAX,
            logger=logging.getLogger("gangline.websocket"),
            **OPTIONS,
        )
        return f"{host}:{listening.getsockname()[1]}"

    async def stop(self) -> None:
        """Listen no longer, and end the links that came in."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _handle(self, socket_: ServerConnection) -> None:
        address = socket_.remote_address
        try:
            peer, clock_there, joined = await listen(
                socket_,
                self._me,
                self._keeper,
                self._certificate,
                clock.wall(),
                self._door.is_banned,
            )
        except HelloRefused as refusal:
            if refusal.reason in FAULTS:
                self._door.fault_at(address[0], refusal.reason)
            who = "hung up on us" if refusal.told else "was refused"
            self._say(address[0], f"{who}: {message_for_us(refusal.reason, refusal.version)}")
            return
        except ConnectionClosed as closed:
            word = word_of(closed.rcvd.reason) if closed.rcvd is not None else ""
            if word:
                self._say(address[0], f"hung up on us: {message_for_us(word)}")
            return
        self._door.authenticated(address, peer)
        self._told.pop(address[0], None)
        if joined or len(self._driver.links) >= limits.LINKS_MAX:
            with contextlib.suppress(ConnectionClosed):
                await socket_.close(1000, "joined" if joined else "full")
            return
        link = Link(socket_, peer, clock_there, dialled=False, address=_text(address))
        await self._holder.hold(link)

    def _say(self, host: str, sentence: str) -> None:
        """Tell of a caller once, not each time that he tries the same again."""
        news = self._told.pop(host, "") != sentence
        self._told[host] = sentence
        while len(self._told) > TOLD_MAX:
            self._told.popitem(last=False)
        level = logging.INFO if news else logging.DEBUG
        log.log(level, "a caller from %s %s", host, sentence, extra=fields(address=host))


def _way(fault: OSError) -> str:
    """What keeps an address from being listened on, and what to do about it."""
    if isinstance(fault, socket.gaierror):
        return "no host of that name is known here; set another listen in the config"
    return WAYS.get(fault.errno or 0, f"{fault.strerror}; set another listen in the config")


def _text(address: Address) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
