"""From which places callers come: who did what there, and where members are at home.

Stands under ``connection_limits.py``. A place is an address, as far as a host cannot draw another
one at will. What is remembered is bounded, and a member can push no other member's places out.
Source: protocol §10.
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
HOMES_MAX: Final = 4


def source_prefix(host: str) -> str:
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


class Ban(NamedTuple):
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

    def rows(self, mono: float) -> list[Ban]:
        """Everybody who must stay away now."""
        return [
            Ban(who, one.reason, one.count, one.until - mono)
            for who, one in self._records.items()
            if mono < one.until
        ]


class MemberAddresses:
    """The last few places of each member: its own word of where it listens, or its hello."""

    def __init__(self) -> None:
        self._of: OrderedDict[NodePubkey, tuple[str, ...]] = OrderedDict()
        self._members: Counter[str] = Counter()

    def note(self, node: NodePubkey, host: str) -> None:
        """A member is at home there; of its places the one that was noted first is forgotten."""
        place = source_prefix(host)
        before = self._of.pop(node, ())
        self._set(node, before, (*(one for one in before if one != place), place)[-HOMES_MAX:])
        while len(self._of) > REMEMBERED_MAX:
            oldest, places = self._of.popitem(last=False)
            self._set(oldest, places, ())

    def _set(self, node: NodePubkey, before: tuple[str, ...], places: tuple[str, ...]) -> None:
        self._members.subtract(before)
        self._members.update(places)
        for one in before:
            if not self._members[one]:
                del self._members[one]
        if places:
            self._of[node] = places

    def __contains__(self, place: str) -> bool:
        return place in self._members
