"""Whether this node may write now, and if not, why: its host, or the rules.

Stands beside ``replica.py``, which asks before every own record. A cause in the host (disk, clock,
a store that lacks records) may pass; what the rules refuse stays refused. Callers learn which of
the two it is. Source: protocol §7, §9.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, assert_never

from machines.values import NodePubkey

from crdt.contract.ready import Now
from crdt.ledger.ledger import Ledger
from crdt.primitives.errors import HeldUp, NotWritable
from crdt.sync.session import ClockWatch


@dataclass(frozen=True, slots=True)
class Writable:
    """Nothing keeps this node from writing."""

    why: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class StoreReadOnly:
    """The store takes no writes; what peers send is not merged either, as it could not be kept."""

    why: str


@dataclass(frozen=True, slots=True)
class StoreIncomplete:
    """The store was rebuilt after damage, and no other node is known that may have the rest."""

    why: str


@dataclass(frozen=True, slots=True)
class ClockWrong:
    """This host's clock is off, so that nothing should be stamped by it."""

    why: str


@dataclass(frozen=True, slots=True)
class RosterUnknown:
    """The store lost the founding record, and with it every node's rights."""

    why: str


@dataclass(frozen=True, slots=True)
class NotEntitled:
    """The rules do not let this node write: it is an observer, revoked, or not on the roster."""

    why: str


WriteState = Writable | StoreReadOnly | StoreIncomplete | ClockWrong | RosterUnknown | NotEntitled
"""``why`` is a sentence for people; empty if the node may write."""


class Writer(Protocol):
    """What decides whether a replica may write.

    Attributes:
        store_read_only: why the store takes no writes; empty if it does.
        store_incomplete: what the store lacks that no known node may have; empty if nothing.
    """

    own: NodePubkey
    ledger: Ledger
    clock_watch: ClockWatch
    store_read_only: str
    store_incomplete: str


def write_state_of(writer: Writer, now: Now) -> WriteState:
    """Return the first cause that keeps a node from writing: its host's before the rules'."""
    if writer.store_read_only:
        return StoreReadOnly(writer.store_read_only)
    if writer.store_incomplete:
        return StoreIncomplete(writer.store_incomplete)
    if why := writer.clock_watch.why_not(now):
        return ClockWrong(why)
    roster = writer.ledger.roster
    why = roster.write_block(writer.own)
    if why and not roster.admissions(roster.founder):
        return RosterUnknown(why)
    return NotEntitled(why) if why else Writable()


def require_writable(state: WriteState) -> None:
    """Raise what a caller who wants to write must know.

    Raises:
        NotWritable: the rules do not let this node write.
        HeldUp: its host keeps it from writing now.
    """
    match state:
        case Writable():
            return
        case NotEntitled(why):
            raise NotWritable(why)
        case StoreReadOnly(why) | StoreIncomplete(why) | ClockWrong(why) | RosterUnknown(why):
            raise HeldUp(why)
        case _:
            assert_never(state)
