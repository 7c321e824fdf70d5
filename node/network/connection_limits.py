"""Limits what a connection may cost before its hello has authenticated it.

Few unauthenticated connections are allowed in all, and fewer from one source prefix (an IPv4
address or an IPv6 /64). Each has a budget of bytes and seconds for TLS, HTTP and the hello
together, enforced at the socket, before anything is parsed. If the limit is reached, the oldest
connection is closed for the new one, and members' addresses go first. A prefix is banned for a
fault of an unauthenticated connection, unless a member uses the prefix: then only that connection
is closed. Source: protocol §10, §14; docs/decisions/0004.
"""

import asyncio
import contextlib
import logging
import math
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

from crdt.primitives import limits
from crdt.primitives.errors import Reason
from crdt.primitives.token_bucket import TokenBucket
from machines.values import NodePubkey
from node.network.source_addresses import REMEMBERED_MAX, Ban, Bans, MemberAddresses, source_prefix
from node.system.accepting_socket import AcceptingSocket
from node.system.log_format import fields

log = logging.getLogger("gangline.door")

FAULTS: Final = frozenset(
    {Reason.MALFORMED_FRAME, Reason.MALFORMED_UPDATE, Reason.TOO_LARGE, Reason.BAD_SIGNATURE}
)
"""Faults that no honest node commits; each leads to a ban."""
PREFIX_CONNECTIONS_MAX: Final = limits.LINKS_BEFORE_HELLO_MAX // 2
GRACE_SECONDS: Final = 0.5
"""A connection may keep its slot this long: enough for a hello around the world."""
CROWD_LOG_SECONDS: Final = 60.0
ACCEPTS_BURST: Final = 64
ACCEPTS_PER_SECOND: Final = 4.0
ACCEPT_TRIES: Final = 64

Address = tuple[Any, ...]


class UnauthenticatedConnection:
    """A connection whose hello is not finished.

    Attributes:
        prefix: the source prefix that it comes from.
        since: monotonic seconds at which it was accepted.
        from_member: whether a member uses that prefix.
        cut_off: closes the connection.
        authenticated: lifts its limits.
    """

    __slots__ = ("authenticated", "cut_off", "from_member", "prefix", "since")

    def __init__(self, prefix: str, since: float, *, from_member: bool) -> None:
        self.prefix, self.since, self.from_member = prefix, since, from_member
        self.cut_off: Callable[[], None] = lambda: None
        self.authenticated: Callable[[], None] = lambda: None

    def gives_way_to(self, other: "UnauthenticatedConnection") -> bool:
        """Whether it is to be closed in favour of a later connection."""
        if other.from_member == self.from_member:
            return other.since - self.since >= GRACE_SECONDS
        return other.from_member


class ConnectionLimiter:
    """The limits, without a socket.

    Args:
        mono: returns monotonic seconds.

    Attributes:
        bans: bans of prefixes and keys.
        members: the prefixes that members use.
        refusals: how many connections were refused or closed, by reason.
        unauthenticated: connections whose hello is not finished, oldest first.
    """

    def __init__(self, mono: Callable[[], float]) -> None:
        self.bans = Bans()
        self.members = MemberAddresses()
        self.refusals: Counter[str] = Counter()
        self.unauthenticated: dict[Address, UnauthenticatedConnection] = {}
        self._mono = mono
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._crowd_logged = -math.inf

    def try_accept(self, address: Address) -> str:
        """Accept a connection; returns an empty string, or one word for the refusal."""
        prefix, at = source_prefix(address[0]), self._mono()
        caller = UnauthenticatedConnection(prefix, at, from_member=prefix in self.members)
        refusal = self._refusal(caller, at)
        if refusal:
            self.refusals[refusal] += 1
        else:
            self.unauthenticated[address] = caller
        return refusal

    def _refusal(self, caller: UnauthenticatedConnection, at: float) -> str:
        if self.bans.banned(caller.prefix, at) and not caller.from_member:
            return "banned"
        if not self._bucket(caller.prefix, at).take(at):
            return "too_often"
        near = [item for item in self.unauthenticated.items() if item[1].prefix == caller.prefix]
        if len(near) >= PREFIX_CONNECTIONS_MAX:
            return "" if self._make_room(near, caller) else "busy"
        if len(self.unauthenticated) >= limits.LINKS_BEFORE_HELLO_MAX:
            return "" if self._make_room([*self.unauthenticated.items()], caller) else "busy"
        return ""

    def _make_room(
        self,
        among: Sequence[tuple[Address, UnauthenticatedConnection]],
        caller: UnauthenticatedConnection,
    ) -> bool:
        """Close one connection for a new one: the oldest, and members' last."""
        if caller.since - self._crowd_logged >= CROWD_LOG_SECONDS:
            self._crowd_logged = caller.since
            log.warning(
                "more unauthenticated connections than allowed; members' addresses go first"
            )
        for address, one in sorted(among, key=lambda item: item[1].from_member):
            if one.gives_way_to(caller):
                self.refusals["gave_way"] += 1
                one.cut_off()
                self.closed(address, one)
                return True
        return False

    def closed(self, address: Address, connection: UnauthenticatedConnection) -> None:
        """Forget a connection that ended or authenticated, unless its address is another's now."""
        if self.unauthenticated.get(address) is connection:
            del self.unauthenticated[address]

    def is_banned(self, node: NodePubkey) -> bool:
        """Whether a key is banned."""
        return self.bans.banned(node.hex(), self._mono())

    def fault_from_address(self, host: str, reason: str) -> float:
        """Ban a prefix, if no member uses it; returns the ban's seconds, or 0."""
        prefix, at = source_prefix(host), self._mono()
        if prefix not in self.members:
            return self._ban(prefix, prefix, reason)
        # One line until a ban would end; otherwise a caller could fill the log.
        if not self.bans.banned(prefix, at):
            pause = self.bans.fault(prefix, reason, at)
            known = fields(who=prefix, seconds=round(pause), reason=reason)
            text = "a connection from %s was closed: %s; a member uses that address: not banned"
            log.warning(text, prefix, reason, extra=known)
        return 0.0

    def fault_of_node(self, node: NodePubkey, reason: str) -> float:
        """Ban a key; returns the ban's seconds."""
        return self._ban(node.hex(), node.short, reason)

    def _ban(self, who: str, shown: str, reason: str) -> float:
        pause = self.bans.fault(who, reason, self._mono())
        known = fields(who=who, seconds=round(pause), reason=reason)
        log.warning("%s is banned for %.0f s: %s", shown, pause, reason, extra=known)
        return pause

    def authenticated(self, address: Address, node: NodePubkey) -> None:
        """Lift the limits of a connection whose hello has authenticated it."""
        self.members.note(node, address[0])
        connection = self.unauthenticated.get(address)
        if connection is not None:
            connection.authenticated()

    def active_bans(self) -> list[Ban]:
        """The bans in force."""
        return [one for one in self.bans.rows(self._mono()) if one.who not in self.members]

    def _bucket(self, prefix: str, at: float) -> TokenBucket:
        bucket = self._buckets.pop(prefix, None) or TokenBucket(
            ACCEPTS_BURST, ACCEPTS_PER_SECOND, at
        )
        self._buckets[prefix] = bucket
        while len(self._buckets) > REMEMBERED_MAX:
            self._buckets.popitem(last=False)
        return bucket


class MeteredSocket(socket.socket):
    """A socket with limits on bytes and seconds until its connection is authenticated."""

    _limiter: ConnectionLimiter | None = None
    _connection: UnauthenticatedConnection
    _address: Address = ("",)
    _left: int = limits.HELLO_BYTES_MAX
    _deadline: asyncio.TimerHandle | None = None
    _over: bool = False

    def limit(self, limiter: ConnectionLimiter, address: Address) -> None:
        """Count every byte and second until ``authenticated`` is called."""
        self._limiter, self._address, self._connection = (
            limiter,
            address,
            limiter.unauthenticated[address],
        )
        self._connection.cut_off, self._connection.authenticated = self._cut_off, self.authenticated
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(limits.HELLO_SECONDS_MAX, self._too_slow)

    def authenticated(self) -> None:
        """Lift the limits."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._limiter is not None:
            self._limiter.closed(self._address, self._connection)
            self._limiter = None

    def _too_slow(self) -> None:
        if self._limiter is not None:
            self._limiter.refusals["too_slow"] += 1
            self._cut_off()

    def _cut_off(self) -> None:
        self._over = True
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive, and count the bytes."""
        data = super().recv(size, flags)
        self._count(len(data))
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:
        """Receive, and count the bytes."""
        size = super().recv_into(buffer, nbytes, flags)
        self._count(size)
        return size

    def _count(self, size: int) -> None:
        if self._over:
            # Bytes received before may still be buffered; a hello in them must not count.
            raise ConnectionAbortedError("cut off")
        if self._limiter is None:
            return
        self._left -= size
        if self._left < 0:
            self._limiter.refusals[Reason.TOO_LARGE] += 1
            self._limiter.fault_from_address(self._address[0], Reason.TOO_LARGE)
            raise ConnectionAbortedError("more bytes than an unauthenticated connection may send")

    def close(self) -> None:
        """Close the socket and forget the connection."""
        self.authenticated()
        super().close()


class MeteredListener(AcceptingSocket):
    """A listening socket that closes connections beyond the limits at once."""

    _limiter: ConnectionLimiter

    @classmethod
    def listening(cls, limiter: ConnectionLimiter, family: int, address: Address) -> Self:
        """Bind and listen.

        Raises:
            OSError: the address is in use, or not one of this host's.
        """
        self = cls(family, socket.SOCK_STREAM)
        try:
            self._limiter = limiter
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self.setblocking(False)
            self.bind(address)
            self.listen()
        except BaseException:
            self.close()
            raise
        return self

    def accept(self) -> tuple[socket.socket, Address]:
        """Accept the next connection within the limits; others are closed.

        Raises:
            BlockingIOError: there is none now.
        """
        for _ in range(ACCEPT_TRIES):
            caller, address = super().accept()
            if self._limiter.try_accept(address):
                caller.close()
                continue
            accepted = MeteredSocket(fileno=caller.detach())
            accepted.limit(self._limiter, address)
            return accepted, address
        raise BlockingIOError
