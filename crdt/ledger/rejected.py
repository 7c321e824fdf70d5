"""Rejected records, remembered so that they can be judged again and named as a parent.

Stands beside ``ledger.py``. Bounded by count and by bytes, of one author and of all: the one turned
away longest ago is forgotten first; its bytes stay in quarantine. Source: protocol §5, 2, 3 and 7.
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
    """A rejected record, and why."""

    record: VerifiedRecord | UndecodableRecord
    reason: Reason


class RejectedRecords:
    """The rejected records of all feeds."""

    def __init__(self) -> None:
        self._turned: OrderedDict[RecordId, RejectedRecord] = OrderedDict()
        self._slots: dict[FeedId, dict[int, dict[RecordId, None]]] = {}
        self._of_author: dict[NodePubkey, OrderedDict[RecordId, None]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._turned)

    def __contains__(self, record_id: RecordId) -> bool:
        return record_id in self._turned

    def __iter__(self) -> Iterator[RejectedRecord]:
        return iter(self._turned.values())

    def find(self, ref: RecordRef) -> RejectedRecord | None:
        """The record with this id, where it was turned away in this feed."""
        turned = self._turned.get(ref.record_id)
        return turned if turned is not None and turned.record.feed == ref.feed else None

    def at(self, feed: FeedId, clock: int) -> Iterator[VerifiedRecord | UndecodableRecord]:
        """What was turned away in a slot."""
        for record_id in self._slots.get(feed, {}).get(clock, ()):
            yield self._turned[record_id].record

    def clocks(self, feed: FeedId) -> Iterable[int]:
        """The slots of a feed in which something was turned away."""
        return self._slots.get(feed, {})

    def add(
        self, record: VerifiedRecord | UndecodableRecord, reason: Reason
    ) -> list[VerifiedRecord | UndecodableRecord]:
        """Remember a record; gives those that had to be forgotten for it."""
        if record.record_id not in self._turned:
            self._bytes += len(record.value)
        self._turned[record.record_id] = RejectedRecord(record, reason)
        slots = self._slots.setdefault(record.feed, {})
        slots.setdefault(record.clock, {})[record.record_id] = None
        of_author = self._of_author.setdefault(record.feed.author, OrderedDict())
        of_author[record.record_id] = None
        forgotten = []
        most = limits.REJECTED_MAX, limits.REJECTED_BYTES_MAX
        while len(of_author) > limits.REJECTED_PER_AUTHOR_MAX:
            forgotten.append(self._forget(next(iter(of_author))))
        while len(self._turned) > most[0] or self._bytes > most[1]:
            forgotten.append(self._forget(next(iter(self._turned))))
        return forgotten

    def _forget(self, record_id: RecordId) -> VerifiedRecord | UndecodableRecord:
        record = self._turned[record_id].record
        self.discard(record_id)
        return record

    def discard(self, record_id: RecordId) -> None:
        """The record is rejected no longer."""
        turned = self._turned.pop(record_id, None)
        if turned is None:
            return
        self._bytes -= len(turned.record.value)
        feed, clock = turned.record.feed, turned.record.clock
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
