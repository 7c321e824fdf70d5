"""Every ``member`` and ``revocation`` record that is known, and which of them are ripe.

Stands beside ``ledger.py``, which makes the roster of those. One stamped too far ahead says nothing
yet: it would count here, and travel to nobody. Source: protocol §5, 8; §9.
"""

from collections.abc import Callable, Container

from machines.values import NodePubkey

from crdt.primitives.identity import RecordId
from crdt.records.bodies import Member, Statement
from crdt.records.horizon import FIRST, LAST, Horizon
from crdt.records.record import VerifiedRecord


class Statements:
    """What is said of who belongs, whatever its verdict."""

    def __init__(self) -> None:
        self._known: dict[RecordId, VerifiedRecord] = {}
        self._next, self._last = LAST, FIRST

    def add(self, record: VerifiedRecord) -> None:
        """A statement is known."""
        self._known[record.record_id] = record

    def discard(self, record: VerifiedRecord) -> None:
        """A record is known no longer."""
        self._known.pop(record.record_id, None)

    def about(self, nodes: Container[NodePubkey]) -> list[VerifiedRecord]:
        """Those by these nodes, or about them."""
        return [
            record
            for record in self._known.values()
            if record.feed.author in nodes
            or (isinstance(record.body, Statement) and record.body.node in nodes)
        ]

    def ticket_users(self, ticket: bytes) -> set[NodePubkey]:
        """The nodes that were let in by a ticket, given its hash.

        Whoever wrote the admission, since the inviter may have another key by now, and whether it
        counts or not.
        """
        return {
            record.body.node
            for record in self._known.values()
            if isinstance(record.body, Member) and record.body.ticket == ticket
        }

    def due(
        self, horizon: Horizon, is_on_disk: Callable[[VerifiedRecord], bool]
    ) -> list[VerifiedRecord]:
        """Those that count by now."""
        found: list[VerifiedRecord] = []
        self._next, self._last = LAST, FIRST
        for record in self._known.values():
            at = record.body.at
            if at <= horizon.of(record, on_disk=is_on_disk(record)):
                found.append(record)
                self._last = max(self._last, at)
            else:
                self._next = min(self._next, at)
        return found

    def have_moved(self, horizon: Horizon) -> bool:
        """Whether time made another set of them ripe than ``ripe`` last gave."""
        return self._next <= horizon.arriving or self._last > horizon.on_disk
