"""Rejected records, kept to be judged again and to be recognized as a parent.

Their number is bounded per author, number and bytes in total. The oldest are dropped first; their
bytes stay in quarantine. Source: protocol §5, 2, 3 and 7.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from machines.values import NodePubkey

from crdt.ledger.ingest import UndecodableRecord
from crdt.primitives import limits
from crdt.primitives.errors import Reason
from crdt.primitives.identity import FeedId, RecordId, RecordRef
from crdt.records.record import VerifiedRecord


class RejectedRecord(NamedTuple):
    """A rejected record and the reason."""

    record: VerifiedRecord | UndecodableRecord
    reason: Reason


class RejectedRecords:
    """The rejected records of all feeds."""

    def __init__(self) -> None:
        self._rejected: OrderedDict[RecordId, RejectedRecord] = OrderedDict()
        self._slots: dict[FeedId, dict[int, dict[RecordId, None]]] = {}
        self._of_author: dict[NodePubkey, OrderedDict[RecordId, None]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._rejected)

    def __contains__(self, record_id: RecordId) -> bool:
        return record_id in self._rejected

    def __iter__(self) -> Iterator[RejectedRecord]:
        return iter(self._rejected.values())

    def find(self, ref: RecordRef) -> RejectedRecord | None:
        """Return the rejected record with this id in this feed, or ``None``."""
        rejected = self._rejected.get(ref.record_id)
        return rejected if rejected is not None and rejected.record.feed == ref.feed else None

    def at(self, feed: FeedId, clock: int) -> Iterator[VerifiedRecord | UndecodableRecord]:
        """Yield the rejected records of a slot."""
        for record_id in self._slots.get(feed, {}).get(clock, ()):
            yield self._rejected[record_id].record

    def clocks(self, feed: FeedId) -> Iterable[int]:
        """Return the clocks of a feed with rejected records."""
        return self._slots.get(feed, {})

    def add(
        self, record: VerifiedRecord | UndecodableRecord, reason: Reason
    ) -> list[VerifiedRecord | UndecodableRecord]:
        """Add a record; return the records that were dropped for it."""
        if record.record_id not in self._rejected:
            self._bytes += len(record.value)
        self._rejected[record.record_id] = RejectedRecord(record, reason)
        slots = self._slots.setdefault(record.feed, {})
        slots.setdefault(record.clock, {})[record.record_id] = None
        of_author = self._of_author.setdefault(record.feed.author, OrderedDict())
        of_author[record.record_id] = None
        dropped = []
        while len(of_author) > limits.REJECTED_PER_AUTHOR_MAX:
            dropped.append(self._drop(next(iter(of_author))))
        while len(self._rejected) > limits.REJECTED_MAX or self._bytes > limits.REJECTED_BYTES_MAX:
            dropped.append(self._drop(next(iter(self._rejected))))
        return dropped

    def _drop(self, record_id: RecordId) -> VerifiedRecord | UndecodableRecord:
        record = self._rejected[record_id].record
        self.discard(record_id)
        return record

    def discard(self, record_id: RecordId) -> None:
        """Remove a record that is no longer rejected."""
        rejected = self._rejected.pop(record_id, None)
        if rejected is None:
            return
        self._bytes -= len(rejected.record.value)
        feed, clock = rejected.record.feed, rejected.record.clock
        slots = self._slots[feed]
        del slots[clock][record_id]
        if not slots[clock]:
            del slots[clock]
        if not slots:
            del self._slots[feed]
        of_author = self._of_author[feed.author]
        del of_author[record_id]
        if not of_author:
            del self._of_author[feed.author]
