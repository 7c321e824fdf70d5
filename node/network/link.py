"""One websocket to one peer: bytes in, bytes out, a bounded queue, and why it ended.

Stands at the start of the line: reads messages and hands them to the driver one at a time, and
writes what the driver hands it without ever making it wait. A peer that lags is dropped and
catches up. Source: protocol §10.
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
from node.network.disconnect_reasons import word_of
from node.network.handshake import AcceptMessage, HelloRefused, Identity, dial
from node.system import clock

OPTIONS: Final[dict[str, Any]] = {
    # Compression would let a few bytes become many before any bound is looked at.
    "compression": None,
    "max_size": limits.FRAME_BYTES_MAX,
    "max_queue": 4,
    "ping_interval": 15,
    "ping_timeout": 15,
    "close_timeout": 2,
}
CLOSE_POLICY: Final = 1008
CLOSES_IN_ORDER: Final = (1000, 1001)
CODES: Final[dict[int, str]] = {
    CloseCode.GOING_AWAY: "stopping",
    CloseCode.PROTOCOL_ERROR: "malformed_frame",
    CloseCode.INVALID_DATA: "malformed_frame",
    CloseCode.MESSAGE_TOO_BIG: "too_large",
}
"""What the websocket closes for by itself: a listener that stops, or a frame."""
PING_UNANSWERED: Final = "keepalive ping timeout"
"""What it says, and does not code, if a ping was not answered."""
REASON_BYTES_MAX: Final = 120
LAST_WORD_SECONDS_MAX: Final = 5

Then = Callable[[], Awaitable[None]]


class Link:
    """An open link, after the hello.

    Attributes:
        peer: the node at the other end, proven.
        peer_clock: what its clock said at the hello.
        dialled: this side dialled.
        reason: why it was closed from here; empty while it is open, or when the peer ended it.
        told: why the peer closed it, in its word; empty where it said none.
        since: when it came about (monotonic seconds).
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
        self.reason = self.told = ""
        self.since = clock.monotonic()
        self._last_word = ""
        self.frames_in = self.frames_out = self.bytes_in = self.bytes_out = 0
        self._socket = socket
        self._outbox: deque[tuple[bytes, Then | None]] = deque()
        self._outbox_bytes = 0
        self._filled, self._dropped = asyncio.Event(), asyncio.Event()

    @property
    def host(self) -> str:
        """The address at the other end, never a name."""
        return str(self._socket.remote_address[0])

    def send(self, data: bytes, then: Then | None = None) -> None:
        """Queue one message; where the peer has fallen too far behind, drop the link instead.

        Args:
            then: called once the peer has taken it.
        """
        if self.reason or self._last_word:
            return
        self._outbox.append((data, then))
        self._outbox_bytes += len(data)
        full = len(self._outbox) > limits.OUTBOX_MESSAGES_MAX
        if full or self._outbox_bytes > limits.OUTBOX_BYTES_MAX:
            self.drop("lagging")
        self._filled.set()

    def drop(self, reason: str) -> None:
        """End the link, and say why; what waits is sent no more."""
        if not self.reason:
            self.reason = reason
            self._outbox.clear()
            self._outbox_bytes = 0
            self._dropped.set()

    def end(self, reason: str) -> None:
        """End the link once what is queued is sent, so that the peer learns why from records."""
        if not self.reason and not self._last_word:
            self._last_word = reason
            self._filled.set()
            asyncio.get_running_loop().call_later(LAST_WORD_SECONDS_MAX, self.drop, reason)

    async def run(self, received: Callable[["Link", bytes], Awaitable[None]]) -> str:
        """Carry messages both ways until the link ends; gives one word why it did."""
        reader = asyncio.create_task(self._read(received), name=f"read {self.peer.short}")
        writer = asyncio.create_task(self._write(), name=f"write {self.peer.short}")
        # A peer that takes nothing holds up the writer: it must not be heard until it does.
        dropped = asyncio.create_task(self._dropped.wait())
        tasks = (reader, writer, dropped)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            reason = (self.reason or self._how_it_ended())[:REASON_BYTES_MAX]
            self.told = "" if reason != "closed" else self._word_at_the_end()
            with contextlib.suppress(ConnectionClosed, OSError):
                await self._socket.close(CLOSE_POLICY if self.reason else 1000, reason)
        return reason

    def _how_it_ended(self) -> str:
        """By whom, if nobody dropped it: the websocket closes itself too, and says why."""
        protocol = self._socket.protocol
        if protocol.close_sent is None or protocol.close_rcvd_then_sent:
            return "closed"
        return _word_of_code(protocol.close_sent) or "lost"

    def _word_at_the_end(self) -> str:
        closed = self._socket.protocol.close_rcvd
        if closed is None:
            return ""
        ended = "closed" if closed.code in CLOSES_IN_ORDER else _word_of_code(closed)
        return word_of(closed.reason) or ended

    async def _read(self, received: Callable[["Link", bytes], Awaitable[None]]) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for data in self._socket:
                if not isinstance(data, bytes):
                    self.drop("malformed_frame")
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
                if self._last_word and not self._outbox:
                    self.drop(self._last_word)
                self._filled.clear()
                await self._filled.wait()


class _Connect(connect):
    """Ends where it was sent: who answers by a redirect is no node."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow no redirect, so that nobody is dialled but who was meant."""
        return exc


def _word_of_code(closed: Close) -> str:
    """Why a websocket closed itself; empty if it does not say."""
    return "silent" if closed.reason == PING_UNANSWERED else CODES.get(closed.code, "")


def _why(fault: OSError) -> str:
    """Why there is no connection, without what asyncio puts around it."""
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
        HelloRefused: it is another node, or refuses.
        OSError: nobody answers, or the address is none.
    """
    if wrong := addresses.fault(address):
        raise OSError(wrong)
    try:
        socket = await _Connect(
            f"wss://{address}",
            ssl=tls.client_context(),
            open_timeout=limits.HELLO_SECONDS_MAX,
            # A proxy named in the environment must never take the links.
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
        await socket.close(CLOSE_POLICY, "wrong_key")
        raise HelloRefused("wrong_key") from fault
    except (ConnectionClosed, TimeoutError) as fault:
        await socket.close()
        raise OSError(f"{address} broke off the hello") from fault
    except HelloRefused:
        await socket.close()
        raise
    return Link(socket, peer, peer_clock, dialled=True, address=address), accepted
