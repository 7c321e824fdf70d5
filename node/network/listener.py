"""Accepts links from other nodes: limits first, then the hello, then the session.

``connection_limits.py`` limits what a connection may cost before its hello. The hello checks one
signature, after every cheaper check has passed. Source: protocol §10, §14.
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
from node.network.disconnect_reasons import message_for_us, reason_from_peer
from node.network.handshake import HelloRefused, Identity, PeerAuthorizer, listen
from node.network.link import OPTIONS, Link
from node.network.link_supervisor import LinkSupervisor
from node.runtime.driver import Driver
from node.runtime.peer_link import DisconnectReason
from node.system import clock
from node.system.errors import OperatorError
from node.system.log_format import fields

log = logging.getLogger("gangline.listener")

LOGGED_MAX = 256
HINTS = {
    errno.EADDRINUSE: "stop the process that uses it, or set another listen in the config",
    errno.EADDRNOTAVAIL: (
        "this host does not have that address; set listen in the config to an address that it has, "
        "or to 0.0.0.0:PORT, and advertise to the address that others dial"
    ),
    errno.EACCES: "this user may not listen on that port; set another listen in the config",
}


class Listener:
    """Listens for other nodes.

    Args:
        folder: a folder that only the owner can read; the key may be there for a moment.
    """

    def __init__(
        self,
        driver: Driver,
        me: Identity,
        authorizer: PeerAuthorizer,
        folder: Path,
        supervisor: LinkSupervisor,
    ) -> None:
        self._driver = driver
        self._me = me
        self._authorizer = authorizer
        key: SigningKey = me.key
        self._context, self._certificate = tls.server_context(key, folder)
        self._supervisor = supervisor
        self._limiter = supervisor.limiter
        self._server: Server | None = None
        self._logged: OrderedDict[str, str] = OrderedDict()

    async def start(self, address: str) -> str:
        """Listen; returns the address with its actual port.

        Raises:
            OperatorError: the address is invalid or in use.
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
            listening = MeteredListener.listening(self._limiter, family, place)
        except ValueError as fault:
            raise OperatorError(f"{address} is not HOST:PORT; set listen in the config") from fault
        except OSError as fault:
            raise OperatorError(f"cannot listen on {address}: {_hint(fault)}") from fault
        self._server = await serve(
            self._handle,
            sock=listening,
            ssl=self._context,
            # The socket has one deadline for TLS, HTTP and the hello together.
            open_timeout=None,
            ssl_handshake_timeout=2 * limits.HELLO_SECONDS_MAX,
            logger=logging.getLogger("gangline.websocket"),
            **OPTIONS,
        )
        return f"{host}:{listening.getsockname()[1]}"

    async def stop(self) -> None:
        """Stop listening, and end the links that were accepted."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _handle(self, socket_: ServerConnection) -> None:
        address = socket_.remote_address
        try:
            peer, clock_there, joined = await listen(
                socket_,
                self._me,
                self._authorizer,
                self._certificate,
                clock.wall(),
                self._limiter.is_banned,
            )
        except HelloRefused as refusal:
            if refusal.reason in FAULTS:
                self._limiter.fault_from_address(address[0], refusal.reason)
            end = "hung up on us" if refusal.from_peer else "was refused"
            self._log(address[0], f"{end}: {message_for_us(refusal.reason, refusal.version)}")
            return
        except ConnectionClosed as closed:
            word = reason_from_peer(closed.rcvd.reason) if closed.rcvd is not None else ""
            if word:
                self._log(address[0], f"hung up on us: {message_for_us(word)}")
            return
        self._limiter.authenticated(address, peer)
        self._logged.pop(address[0], None)
        if joined or len(self._driver.links) >= limits.LINKS_MAX:
            with contextlib.suppress(ConnectionClosed):
                await socket_.close(1000, "joined" if joined else DisconnectReason.FULL)
            return
        link = Link(socket_, peer, clock_there, dialled=False, address=_text(address))
        await self._supervisor.hold(link)

    def _log(self, host: str, sentence: str) -> None:
        """Log a caller's failure at INFO once, and at DEBUG if it repeats."""
        is_new = self._logged.pop(host, "") != sentence
        self._logged[host] = sentence
        while len(self._logged) > LOGGED_MAX:
            self._logged.popitem(last=False)
        level = logging.INFO if is_new else logging.DEBUG
        log.log(level, "a caller from %s %s", host, sentence, extra=fields(address=host))


def _hint(fault: OSError) -> str:
    """Why an address cannot be listened on, and what to do about it."""
    if isinstance(fault, socket.gaierror):
        return "the host name cannot be resolved; set another listen in the config"
    return HINTS.get(fault.errno or 0, f"{fault.strerror}; set another listen in the config")


def _text(address: Address) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
