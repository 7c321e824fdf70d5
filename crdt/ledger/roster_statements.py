"""All known ``member`` and ``revocation`` records, and which of them are due.

A record stamped too far ahead has no effect yet: it does not travel to other nodes, so it must not
count here. Source: protocol §5, 9; §9.
"""

from collections.abc import Callable, Container

from machines.values import NodePubkey

from crdt.primitives.identity import RecordId
from crdt.records.bodies import Member, Statement
from crdt.records.horizon import FIRST, LAST, Horizon
from crdt.records.record import VerifiedRecord


class Statements:
    """The records that the roster is computed from, whatever their verdict."""

    def __init__(self) -> None:
        self._known: dict[RecordId, VerifiedRecord] = {}
        self._next, self._last = LAST, FIRST

    def add(self, record: VerifiedRecord) -> None:
        """Add a statement."""
        self._known[record.record_id] = record

    def discard(self, record: VerifiedRecord) -> None:
        """Remove a record, if it is known."""
        self._known.pop(record.record_id, None)

    def about(self, nodes: Container[NodePubkey]) -> list[VerifiedRecord]:
        """Return the statements by these nodes or about them."""
        return [
            record
            for record in self._known.values()
            if record.feed.author in nodes
            or (isinstance(record.body, Statement) and record.body.node in nodes)
        ]

    def ticket_users(self, ticket: bytes) -> set[NodePubkey]:
        """Return the nodes that were admitted with a ticket, given its hash.

        Every admission is checked, counting or not, by any author: the inviter may have a new key.
        """
        return {
            record.body.node
            for record in self._known.values()
            if isinstance(record.body, Member) and record.body.ticket == ticket
        }

    def due(
        self, horizon: Horizon, is_on_disk: Callable[[VerifiedRecord], bool]
    ) -> list[VerifiedRecord]:
        """Return the statements whose time has come."""
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
        """Whether ``due`` would now return other statements than at its last call."""
        return self._next <= horizon.arriving or self._last > horizon.on_disk
