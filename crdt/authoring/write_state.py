"""Whether this node may write now, and whose word it is if not: the rules', or its host's.

Stands beside ``replica.py``, which asks before every own record. What the rules refuse stays
refused; what the host's clock or store holds up may be taken in a moment, and callers are told
which of the two it is. Source: protocol §7, §9.
"""

from typing import Protocol

from machines.values import NodePubkey

from crdt.contract.ready import Now
from crdt.ledger.ledger import Ledger
from crdt.primitives.errors import HeldUp, NotWritable
from crdt.sync.session import ClockWatch


class Writer(Protocol):
    """What is asked of a replica.

    Attributes:
        held: why the shell lets nothing be written.
    """

    own: NodePubkey
    ledger: Ledger
    held: str
    clock_watch: ClockWatch


def must_write(writer: Writer, now: Now) -> None:
    """See that a node may write.

    Raises:
        NotWritable: the rules do not let it.
        HeldUp: its host does not, for now.
    """
    if mute := why_mute(writer, now):
        raise mute


def why_mute(writer: Writer, now: Now) -> NotWritable | None:
    """Return why a node may write nothing now; ``None`` if it may write."""
    if why := writer.held or writer.clock_watch.why_not(now):
        return HeldUp(why)
    roster = writer.ledger.roster
    if outside := roster.write_block(writer.own):
        # A store that lost the founding record knows nothing of anybody's rights.
        return (NotWritable if roster.admissions(roster.founder) else HeldUp)(outside)
    return None
