"""Who may knock: what a caller may cost before he has said hello, and who must stay away.

Stands before ``listener.py``. A stranger is anybody who has a connection and no finished hello.
There is room for few of them, and for fewer from one place; each gets so many bytes and seconds in
all, for TLS, HTTP and the hello together, and is cut off at the socket, below anything that
parses. Places and keys that did what no honest node does stay out for a while, longer each time.
Source: protocol §10, §14.
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from crdt import limits
from crdt.bucket import Bucket
from crdt.errors import Reason
from machines.values import NodePubkey

log = logging.getLogger("gangline.door")

FAULTS: Final = frozenset(
    {Reason.MALFORMED_FRAME, Reason.MALFORMED_UPDATE, Reason.TOO_LARGE, Reason.BAD_SIGNATURE}
)
"""What no honest node does; who does it stays out for a while."""
PLACE_STRANGERS_MAX: Final = limits.LINKS_BEFORE_HELLO_MAX // 2
KNOCKS_BURST: Final = 64
KNOCKS_PER_SECOND: Final = 4.0
BAN_SECONDS_MIN: Final = 1.0
BAN_SECONDS_MAX: Final = 600.0
FORGIVEN_SECONDS: Final = 3600.0
REMEMBERED_MAX: Final = 4096
ACCEPT_TRIES: Final = 64

Address = tuple[Any, ...]


class Shut(NamedTuple):
    """Somebody who must stay away.

    Attributes:
        who: a key in hex, or a place.
        reason: what was done last, in one word.
        times: how often he did something of the kind.
        seconds: for how much longer.
    """

    who: str
    reason: str
    times: int
    seconds: float

    @property
    def of_place(self) -> bool:
        """Whether it is a place; no address is written as a key is."""
        return len(self.who) != 2 * limits.KEY_BYTES


@dataclass(slots=True)
class _Record:
    reason: str
    count: int
    until: float
    at: float


class Bans:
    """Who did what no honest node does; each time longer, and forgiven after an hour."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def fault(self, who: str, reason: str, mono: float) -> float:
        """Note a fault; gives for how many seconds he stays out."""
        known = self._records.pop(who, None)
        count = known.count + 1 if known and mono - known.at < FORGIVEN_SECONDS else 1
        pause = min(BAN_SECONDS_MIN * 2.0 ** min(count - 1, 32), BAN_SECONDS_MAX)
        self._records[who] = _Record(reason, count, mono + pause, mono)
        while len(self._records) > REMEMBERED_MAX:
            self._records.popitem(last=False)
        return pause

    def banned(self, who: str, mono: float) -> bool:
        """Whether somebody must stay away now."""
        known = self._records.get(who)
        return known is not None and mono < known.until

    def rows(self, mono: float) -> list[Shut]:
        """Everybody who must stay away now."""
        return [
            Shut(who, one.reason, one.count, one.until - mono)
            for who, one in self._records.items()
            if mono < one.until
        ]


def place_of(host: str) -> str:
    """What counts as one place: an IPv4 address, or the /64 that an IPv6 host has to itself."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Door:
    """The rules, without a socket.

    Args:
        mono: gives monotonic seconds.

    Attributes:
        bans: who must stay away, by place and by key.
        turned: how many callers were turned away, by reason.
        guests: the sockets of those who have not said hello yet.
    """

    def __init__(self, mono: Callable[[], float]) -> None:
        self.bans = Bans()
        self.turned: Counter[str] = Counter()
        self.guests: dict[Address, Guest] = {}
        self._mono = mono
        self._strangers: Counter[str] = Counter()
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def knock(self, host: str) -> str:
        """Let a caller in as a stranger, or give one word why not."""
        place, at = place_of(host), self._mono()
        why = self._why_not(place, at)
        if why:
            self.turned[why] += 1
        else:
            self._strangers[place] += 1
        return why

    def _why_not(self, place: str, at: float) -> str:
        if self.bans.banned(place, at):
            return "banned"
        if not self._bucket(place, at).take(at):
            return "too_often"
        if self._strangers[place] >= PLACE_STRANGERS_MAX:
            return "busy"
        if self._strangers.total() >= limits.LINKS_BEFORE_HELLO_MAX:
            return "busy"
        return ""

    def left(self, host: str) -> None:
        """A stranger is gone, or is one no longer."""
        place = place_of(host)
        self._strangers[place] -= 1
        if not self._strangers[place]:
            del self._strangers[place]

    def refuse(self, node: NodePubkey) -> bool:
        """Whether a key must stay away."""
        return self.bans.banned(node.hex(), self._mono())

    def fault_at(self, host: str, reason: str) -> float:
        """A stranger did what no honest node does."""
        return self._shut_out(place_of(host), place_of(host), reason)

    def fault_of(self, node: NodePubkey, reason: str) -> float:
        """A member did what no honest node does."""
        return self._shut_out(node.hex(), node.short, reason)

    def _shut_out(self, who: str, shown: str, reason: str) -> float:
        pause = self.bans.fault(who, reason, self._mono())
        log.warning("%s stays out for %.0f s: %s", shown, pause, reason)
        return pause

    def welcome(self, address: Address) -> None:
        """A caller has said hello."""
        guest = self.guests.get(address)
        if guest is not None:
            guest.welcome()

    def shut(self) -> list[Shut]:
        """Everybody who must stay away now."""
        return self.bans.rows(self._mono())

    def _bucket(self, place: str, at: float) -> Bucket:
        bucket = self._buckets.pop(place, None) or Bucket(KNOCKS_BURST, KNOCKS_PER_SECOND, at)
        self._buckets[place] = bucket
        while len(self._buckets) > REMEMBERED_MAX:
            self._buckets.popitem(last=False)
        return bucket


class Guest(socket.socket):
    """A stranger's socket: bounded in bytes and in seconds until he is welcome."""

    _door: Door | None = None
    _address: Address = ("",)
    _left: int = limits.HELLO_BYTES_MAX
    _deadline: asyncio.TimerHandle | None = None

    def limit(self, door: Door, address: Address) -> None:
        """From now on, and until ``welcome``, everything he sends is counted."""
        self._door, self._address = door, address
        door.guests[address] = self
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(limits.HELLO_SECONDS_MAX, self._cut_off)

    def welcome(self) -> None:
        """He is a stranger no longer."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._door is not None:
            self._door.left(self._address[0])
            self._door.guests.pop(self._address, None)
            self._door = None

    def _cut_off(self) -> None:
        if self._door is not None:
            self._door.turned["too_slow"] += 1
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
        if self._door is None:
            return
        self._left -= size
        if self._left < 0:
            self._door.turned["too_large"] += 1
            self._door.fault_at(self._address[0], "too_large")
            raise ConnectionAbortedError("more than a stranger may send")

    def close(self) -> None:
        """He is gone, welcome or not."""
        self.welcome()
        super().close()


class DoorSocket(socket.socket):
    """A listening socket that turns away at once whoever may not knock."""

    _door: Door

    @classmethod
    def listening(cls, door: Door, family: int, address: Address) -> Self:
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
            if self._door.knock(address[0]):
                caller.close()
                continue
            guest = Guest(fileno=caller.detach())
            guest.limit(self._door, address)
            return guest, address
        raise BlockingIOError
