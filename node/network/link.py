"""One websocket to one peer: bytes in, bytes out, a bounded queue, and why the link ended.

Reads messages and hands them to the driver one at a time; queues what the driver sends, so that the
driver never waits. A peer that lags is dropped and catches up. Source: protocol §10.
"""

import asyncio
import contextlib
import os
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from socket import gaierror
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.frames import Close, CloseCode

from crdt.primitives import limits
from crdt.primitives.errors import PeerFault
from machines.values import Instant, NodePubkey
from node.config import addresses
from node.network import tls
from node.network.disconnect_reasons import reason_from_peer
from node.network.handshake import AcceptMessage, HelloRefused, Identity, dial
from node.runtime.peer_link import DisconnectReason
from node.system import clock

OPTIONS: Final[dict[str, Any]] = {
    # With compression, a few bytes could grow large before any bound is checked.
    "compression": None,
    "max_size": limits.FRAME_BYTES_MAX,
    "max_queue": 4,
    "ping_interval": 15,
    "ping_timeout": 15,
    "close_timeout": 2,
}
CLOSE_POLICY: Final = 1008
CLOSES_IN_ORDER: Final = (1000, 1001)
CODES: Final[dict[int, DisconnectReason]] = {
    CloseCode.GOING_AWAY: DisconnectReason.STOPPING,
    CloseCode.PROTOCOL_ERROR: DisconnectReason.MALFORMED_FRAME,
    CloseCode.INVALID_DATA: DisconnectReason.MALFORMED_FRAME,
    CloseCode.MESSAGE_TOO_BIG: DisconnectReason.TOO_LARGE,
}
"""Why the websocket library closes a link by itself: the listener stops, or a frame is bad."""
PING_UNANSWERED: Final = "keepalive ping timeout"
"""The library's text, without a code of its own, if a ping was not answered."""
REASON_BYTES_MAX: Final = 120
END_SECONDS_MAX: Final = 5

Then = Callable[[], Awaitable[None]]


class Link:
    """An open link, after the hello.

    Attributes:
        peer: the node at the other end, proven.
        peer_clock: what its clock showed at the hello.
        dialled: whether this side dialled.
        reason: why this side closed it; empty while it is open, or if the peer closed it.
        peer_reason: why the peer closed it; empty if the peer gave no reason.
        since: when the link was opened (monotonic seconds).
    """

    def __init__(
        self,
        socket: ClientConnection | ServerConnection,
        peer: NodePubkey,
        peer_clock: Instant,
        *,
        dialled: bool,
        address: str,
    ) -> None:
        self.peer = peer
        self.peer_clock = peer_clock
        self.dialled = dialled
        self.address = address
        self.reason = self.peer_reason = ""
        self.since = clock.monotonic()
        self._end_reason: DisconnectReason | None = None
        self.frames_in = self.frames_out = self.bytes_in = self.bytes_out = 0
        self._socket = socket
        self._outbox: deque[tuple[bytes, Then | None]] = deque()
        self._outbox_bytes = 0
        self._filled, self._dropped = asyncio.Event(), asyncio.Event()

    @property
    def host(self) -> str:
        """The IP address at the other end."""
        return str(self._socket.remote_address[0])

    def send(self, data: bytes, then: Then | None = None) -> None:
        """Queue one message; if the peer has fallen too far behind, drop the link instead.

        Args:
            then: called once the peer has taken it.
        """
        if self.reason or self._end_reason:
            return
        self._outbox.append((data, then))
        self._outbox_bytes += len(data)
        full = len(self._outbox) > limits.OUTBOX_MESSAGES_MAX
        if full or self._outbox_bytes > limits.OUTBOX_BYTES_MAX:
            self.drop(DisconnectReason.LAGGING)
        self._filled.set()

    def drop(self, reason: DisconnectReason) -> None:
        """Close the link now; what is queued is not sent."""
        if not self.reason:
            self.reason = reason
            self._outbox.clear()
            self._outbox_bytes = 0
            self._dropped.set()

    def end(self, reason: DisconnectReason) -> None:
        """Close the link once what is queued is sent: records in it may show the peer why."""
        if not self.reason and not self._end_reason:
            self._end_reason = reason
            self._filled.set()
            asyncio.get_running_loop().call_later(END_SECONDS_MAX, self.drop, reason)

    async def run(self, received: Callable[["Link", bytes], Awaitable[None]]) -> str:
        """Carry messages both ways until the link closes; returns the reason."""
        reader = asyncio.create_task(self._read(received), name=f"read {self.peer.short}")
        writer = asyncio.create_task(self._write(), name=f"write {self.peer.short}")
        # The writer blocks on a peer that reads nothing, so the drop needs a task of its own.
        dropped = asyncio.create_task(self._dropped.wait())
        tasks = (reader, writer, dropped)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            reason = (self.reason or self._ended_by())[:REASON_BYTES_MAX]
            if reason == DisconnectReason.CLOSED:
                self.peer_reason = self._close_reason()
            with contextlib.suppress(ConnectionClosed, OSError):
                await self._socket.close(CLOSE_POLICY if self.reason else 1000, reason)
        return reason

    def _ended_by(self) -> str:
        """Why the link ended if it was not dropped: the peer, or the library, closed it."""
        protocol = self._socket.protocol
        if protocol.close_sent is None or protocol.close_rcvd_then_sent:
            return DisconnectReason.CLOSED
        return _reason_of_code(protocol.close_sent) or DisconnectReason.LOST

    def _close_reason(self) -> str:
        closed = self._socket.protocol.close_rcvd
        if closed is None:
            return ""
        in_order = closed.code in CLOSES_IN_ORDER
        ended = DisconnectReason.CLOSED if in_order else _reason_of_code(closed)
        return reason_from_peer(closed.reason) or ended

    async def _read(self, received: Callable[["Link", bytes], Awaitable[None]]) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for data in self._socket:
                if not isinstance(data, bytes):
                    self.drop(DisconnectReason.MALFORMED_FRAME)
                    return
                self.frames_in += 1
                self.bytes_in += len(data)
                await received(self, data)

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                while self._outbox:
                    data, then = self._outbox.popleft()
                    self._outbox_bytes -= len(data)
                    await self._socket.send(data)
                    self.frames_out += 1
                    self.bytes_out += len(data)
                    if then is not None:
                        await then()
                if self._end_reason and not self._outbox:
                    self.drop(self._end_reason)
                self._filled.clear()
                await self._filled.wait()


class _Connect(connect):
    """Connects to the given address only: a node never answers with a redirect."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Refuse every redirect."""
        return exc


def _reason_of_code(closed: Close) -> str:
    """Why the websocket library closed a link; empty if the code does not show it."""
    unanswered = closed.reason == PING_UNANSWERED
    return DisconnectReason.SILENT if unanswered else CODES.get(closed.code, "")


def _why(fault: OSError) -> str:
    """Why there is no connection, without the words that asyncio adds."""
    if isinstance(fault, TimeoutError):
        return "no answer in time"
    if isinstance(fault, gaierror) or fault.errno is None:
        return fault.strerror or str(fault)
    return os.strerror(fault.errno)


async def reach(
    address: str, peer: NodePubkey, me: Identity, now: Instant, *, ticket: str = "", name: str = ""
) -> tuple[Link, AcceptMessage]:
    """Dial a node and say hello.

    Raises:
        HelloRefused: it is another node, or it refused.
        OSError: nothing answers, or the address is invalid.
    """
    if wrong := addresses.fault(address):
        raise OSError(wrong)
    try:
        socket = await _Connect(
            f"wss://{address}",
            ssl=tls.client_context(),
            open_timeout=limits.HELLO_SECONDS_MAX,
            # A proxy that the environment names must not carry links.
            proxy=None,
            **OPTIONS,
        )
    except (WebSocketException, ssl.SSLError) as fault:
        raise OSError(f"{address} does not speak our protocol: {fault}") from fault
    except OSError as fault:
        raise OSError(f"no connection to {address}: {_why(fault)}") from fault
    try:
        async with asyncio.timeout(limits.HELLO_SECONDS_MAX):
            secure = socket.transport.get_extra_info("ssl_object")
            certificate = tls.check_server(secure.getpeercert(binary_form=True), peer)
            peer_clock, accepted = await dial(
                socket, me, peer, certificate, now, ticket=ticket, name=name
            )
    except PeerFault as fault:
        await socket.close(CLOSE_POLICY, DisconnectReason.WRONG_KEY)
        raise HelloRefused(DisconnectReason.WRONG_KEY) from fault
    except (ConnectionClosed, TimeoutError) as fault:
        await socket.close()
        raise OSError(f"{address} broke off the hello") from fault
    except HelloRefused:
        await socket.close()
        raise
    return Link(socket, peer, peer_clock, dialled=True, address=address), accepted
