"""Who may knock: what a caller may cost before he has said hello, and who goes before whom.

Stands before ``listener.py``, on ``source_addresses.py``. A stranger is anybody who has a
connection and no finished hello. There is room for few of them, and for fewer from one place; each
gets so many bytes and seconds in all, for TLS, HTTP and the hello together, and is cut off at the
socket, below anything that parses. Where the room is full, whoever came first gives way, and
members' places go before all others. A place is shut for what a stranger did there, unless a
member is at home in it: then he alone is cut off. Source: protocol §10, §14; docs/decisions/0004.
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
"""What no honest node does; who does it stays out for a while."""
PLACE_STRANGERS_MAX: Final = limits.LINKS_BEFORE_HELLO_MAX // 2
GRACE_SECONDS: Final = 0.5
"""How long a stranger keeps his room though others want it: a hello around the world."""
CROWD_TOLD_SECONDS: Final = 60.0
KNOCKS_BURST: Final = 64
KNOCKS_PER_SECOND: Final = 4.0
ACCEPT_TRIES: Final = 64

Address = tuple[Any, ...]


class UnauthenticatedConnection:
    """A caller who has not said hello yet.

    Attributes:
        at_home: he calls from where a member is at home.
        cut_off: ends his connection.
        welcome: bounds it no longer.
    """

    __slots__ = ("at_home", "authenticated", "cut_off", "place", "since")

    def __init__(self, place: str, since: float, *, at_home: bool) -> None:
        self.place, self.since, self.at_home = place, since, at_home
        self.cut_off: Callable[[], None] = lambda: None
        self.authenticated: Callable[[], None] = lambda: None

    def gives_way_to(self, other: "UnauthenticatedConnection") -> bool:
        """Whether he must leave his room to a later one."""
        if other.at_home == self.at_home:
            return other.since - self.since >= GRACE_SECONDS
        return other.at_home


class ConnectionLimiter:
    """The rules, without a socket.

    Args:
        mono: gives monotonic seconds.

    Attributes:
        bans: who must stay away, by place and by key.
        homes: from where members come.
        turned: how many callers were turned away or cut off, by reason.
        strangers: who has not said hello yet, the first to come first.
    """

    def __init__(self, mono: Callable[[], float]) -> None:
        self.bans = Bans()
        self.homes = MemberAddresses()
        self.turned: Counter[str] = Counter()
        self.strangers: dict[Address, UnauthenticatedConnection] = {}
        self._mono = mono
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._crowd_told = -math.inf

    def try_accept(self, address: Address) -> str:
        """Let a caller in as a stranger, or give one word why not."""
        place, at = source_prefix(address[0]), self._mono()
        caller = UnauthenticatedConnection(place, at, at_home=place in self.homes)
        why = self._why_not(caller, at)
        if why:
            self.turned[why] += 1
        else:
            self.strangers[address] = caller
        return why

    def _why_not(self, caller: UnauthenticatedConnection, at: float) -> str:
        if self.bans.banned(caller.place, at) and not caller.at_home:
            return "banned"
        if not self._bucket(caller.place, at).take(at):
            return "too_often"
        near = [item for item in self.strangers.items() if item[1].place == caller.place]
        if len(near) >= PLACE_STRANGERS_MAX:
            return "" if self._make_room(near, caller) else "busy"
        if len(self.strangers) >= limits.LINKS_BEFORE_HELLO_MAX:
            return "" if self._make_room([*self.strangers.items()], caller) else "busy"
        return ""

    def _make_room(
        self,
        among: Sequence[tuple[Address, UnauthenticatedConnection]],
        caller: UnauthenticatedConnection,
    ) -> bool:
        """Cut one off for another's sake: who came first, and no member before anybody else."""
        if caller.since - self._crowd_told >= CROWD_TOLD_SECONDS:
            self._crowd_told = caller.since
            log.warning("more callers than there is room for; members' addresses go first")
        for address, one in sorted(among, key=lambda item: item[1].at_home):
            if one.gives_way_to(caller):
                self.turned["gave_way"] += 1
                one.cut_off()
                self.closed(address, one)
                return True
        return False

    def closed(self, address: Address, stranger: UnauthenticatedConnection) -> None:
        """A stranger is gone, or is one no longer. Another may have his address by now."""
        if self.strangers.get(address) is stranger:
            del self.strangers[address]

    def is_banned(self, node: NodePubkey) -> bool:
        """Whether a key must stay away."""
        return self.bans.banned(node.hex(), self._mono())

    def fault_at(self, host: str, reason: str) -> float:
        """A stranger did what no honest node does."""
        place, at = source_prefix(host), self._mono()
        if place not in self.homes:
            return self._shut_out(place, place, reason)
        # One line until the ban would be over, or a stranger could fill the log.
        if not self.bans.banned(place, at):
            pause = self.bans.fault(place, reason, at)
            known = fields(who=place, seconds=round(pause), reason=reason)
            told = "a caller from %s was cut off: %s; a member is at home there, so others may come"
            log.warning(told, place, reason, extra=known)
        return 0.0

    def fault_of(self, node: NodePubkey, reason: str) -> float:
        """A member did what no honest node does."""
        return self._shut_out(node.hex(), node.short, reason)

    def _shut_out(self, who: str, shown: str, reason: str) -> float:
        pause = self.bans.fault(who, reason, self._mono())
        known = fields(who=who, seconds=round(pause), reason=reason)
        log.warning("%s stays out for %.0f s: %s", shown, pause, reason, extra=known)
        return pause

    def authenticated(self, address: Address, node: NodePubkey) -> None:
        """A caller has said hello."""
        self.homes.note(node, address[0])
        stranger = self.strangers.get(address)
        if stranger is not None:
            stranger.authenticated()

    def active_bans(self) -> list[Ban]:
        """Everybody who must stay away now."""
        return [one for one in self.bans.rows(self._mono()) if one.who not in self.homes]

    def _bucket(self, place: str, at: float) -> TokenBucket:
        bucket = self._buckets.pop(place, None) or TokenBucket(KNOCKS_BURST, KNOCKS_PER_SECOND, at)
        self._buckets[place] = bucket
        while len(self._buckets) > REMEMBERED_MAX:
            self._buckets.popitem(last=False)
        return bucket


class MeteredSocket(socket.socket):
    """A stranger's socket: bounded in bytes and in seconds until he is welcome."""

    _door: ConnectionLimiter | None = None
    _stranger: UnauthenticatedConnection
    _address: Address = ("",)
    _left: int = limits.HELLO_BYTES_MAX
    _deadline: asyncio.TimerHandle | None = None
    _over: bool = False

    def limit(self, door: ConnectionLimiter, address: Address) -> None:
        """From now on, and until ``welcome``, everything he sends is counted."""
        self._door, self._address, self._stranger = door, address, door.strangers[address]
        self._stranger.cut_off, self._stranger.authenticated = self._cut_off, self.authenticated
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(limits.HELLO_SECONDS_MAX, self._too_slow)

    def authenticated(self) -> None:
        """He is a stranger no longer."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._door is not None:
            self._door.closed(self._address, self._stranger)
            self._door = None

    def _too_slow(self) -> None:
        if self._door is not None:
            self._door.turned["too_slow"] += 1
            self._cut_off()

    def _cut_off(self) -> None:
        self._over = True
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """As of any socket, but counted."""
        data = super().recv(size, flags)
        self._count(len(data))
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:
        """As of any socket, but counted."""
        size = super().recv_into(buffer, nbytes, flags)
        self._count(size)
        return size

    def _count(self, size: int) -> None:
        if self._over:
            # What he sent before may still lie here: a hello that gave way is none.
            raise ConnectionAbortedError("cut off")
        if self._door is None:
            return
        self._left -= size
        if self._left < 0:
            self._door.turned["too_large"] += 1
            self._door.fault_at(self._address[0], "too_large")
            raise ConnectionAbortedError("more than a stranger may send")

    def close(self) -> None:
        """He is gone, welcome or not."""
        self.authenticated()
        super().close()


class MeteredListener(AcceptingSocket):
    """A listening socket that turns away at once whoever may not knock."""

    _door: ConnectionLimiter

    @classmethod
    def listening(cls, door: ConnectionLimiter, family: int, address: Address) -> Self:
        """Bind and listen.

        Raises:
            OSError: the address is taken, or none of this host's.
        """
        self = cls(family, socket.SOCK_STREAM)
        try:
            self._door = door
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
        """The next caller who may come in; the others are closed.

        Raises:
            BlockingIOError: there is none now.
        """
        for _ in range(ACCEPT_TRIES):
            caller, address = super().accept()
            if self._door.try_accept(address):
                caller.close()
                continue
            guest = MeteredSocket(fileno=caller.detach())
            guest.limit(self._door, address)
            return guest, address
        raise BlockingIOError
