"""Source prefixes of connections, bans on them, and the prefixes that members use.

A source prefix is as much of an address as a host cannot change at will. Memory is bounded, and a
member cannot displace the prefixes of another one. Source: protocol §10.
"""

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

from crdt.primitives import limits
from machines.values import NodePubkey

BAN_SECONDS_MIN: Final = 1.0
BAN_SECONDS_MAX: Final = 600.0
FORGIVEN_SECONDS: Final = 3600.0
REMEMBERED_MAX: Final = 4096
PREFIXES_MAX: Final = 4


def source_prefix(host: str) -> str:
    """The source prefix of an address: an IPv4 address, or an IPv6 host's /64."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Ban(NamedTuple):
    """A ban on a key or a source prefix.

    Attributes:
        who: the key in hex, or the prefix.
        reason: the last fault, in one word.
        times: the number of faults.
        seconds: the time left.
    """

    who: str
    reason: str
    times: int
    seconds: float

    @property
    def of_prefix(self) -> bool:
        """Whether it is on a prefix, which is never as long as a key."""
        return len(self.who) != 2 * limits.KEY_BYTES


@dataclass(slots=True)
class _Record:
    reason: str
    count: int
    until: float
    at: float


class Bans:
    """Bans for faults: each twice as long as the last; an hour without fault clears the count."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def fault(self, who: str, reason: str, mono: float) -> float:
        """Record a fault; returns the ban's seconds."""
        known = self._records.pop(who, None)
        count = known.count + 1 if known and mono - known.at < FORGIVEN_SECONDS else 1
        pause = min(BAN_SECONDS_MIN * 2.0 ** min(count - 1, 32), BAN_SECONDS_MAX)
        self._records[who] = _Record(reason, count, mono + pause, mono)
        while len(self._records) > REMEMBERED_MAX:
            self._records.popitem(last=False)
        return pause

    def banned(self, who: str, mono: float) -> bool:
        """Whether a key or prefix is banned now."""
        known = self._records.get(who)
        return known is not None and mono < known.until

    def rows(self, mono: float) -> list[Ban]:
        """The bans in force."""
        return [
            Ban(who, one.reason, one.count, one.until - mono)
            for who, one in self._records.items()
            if mono < one.until
        ]


class MemberAddresses:
    """The last few source prefixes of each member, from its presence or its hellos."""

    def __init__(self) -> None:
        self._of: OrderedDict[NodePubkey, tuple[str, ...]] = OrderedDict()
        self._members: Counter[str] = Counter()

    def note(self, node: NodePubkey, host: str) -> None:
        """Note that a member uses an address; its oldest prefix beyond the bound is dropped."""
        prefix = source_prefix(host)
        before = self._of.pop(node, ())
        self._set(node, before, (*(one for one in before if one != prefix), prefix)[-PREFIXES_MAX:])
        while len(self._of) > REMEMBERED_MAX:
            oldest, prefixes = self._of.popitem(last=False)
            self._set(oldest, prefixes, ())

    def _set(self, node: NodePubkey, before: tuple[str, ...], prefixes: tuple[str, ...]) -> None:
        self._members.subtract(before)
        self._members.update(prefixes)
        for one in before:
            if not self._members[one]:
                del self._members[one]
        if prefixes:
            self._of[node] = prefixes

    def __contains__(self, prefix: str) -> bool:
        return prefix in self._members
