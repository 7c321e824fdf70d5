"""The live records of one feed, sorted, with their ids in one byte string.

A peer may ask for digests of any range again and again while the feed changes. So a position is
found by bisection, and a range is hashed in one call, without a loop over its records. Source:
protocol §8, §10.
"""

from bisect import bisect_left
from collections.abc import Iterable

from crdt.primitives import limits
from crdt.primitives.identity import RecordId
from crdt.records.bodies import Seal
from crdt.records.digests import feed_digest, seal_digest
from crdt.records.record import VerifiedRecord


class LiveRecords:
    """Records in order of clock, then id.

    Args:
        records: in that order.

    Attributes:
        records: the sorted list; read only.
    """

    __slots__ = ("_ids", "_seals", "records")

    def __init__(self, records: Iterable[VerifiedRecord]) -> None:
        self.records = list(records)
        self._ids = bytearray().join(record.record_id for record in self.records)
        self._seals = [r for r in self.records if isinstance(r.body, Seal)]

    def add(self, record: VerifiedRecord) -> None:
        """Add a record that became live."""
        # The usual case: a record at the end.
        if not self.records or record.clock > self.records[-1].clock:
            self.records.append(record)
            self._ids += record.record_id
        else:
            place = self._place(record)
            self.records.insert(place, record)
            start = limits.HASH_BYTES * place
            self._ids[start:start] = record.record_id
        if isinstance(record.body, Seal):
            self._seals.append(record)

    def remove(self, record: VerifiedRecord) -> None:
        """Remove a record that is no longer live."""
        place = self._place(record)
        del self.records[place]
        start = limits.HASH_BYTES * place
        del self._ids[start : start + limits.HASH_BYTES]
        if isinstance(record.body, Seal):
            self._seals.remove(record)

    def between(self, start: int, end: int) -> list[VerifiedRecord]:
        """Return the records with clocks in ``[start, end)``."""
        return self.records[slice(*self._places(start, end))]

    def digest(self, start: int, end: int) -> tuple[int, bytes]:
        """Return the number and the digest of the records with clocks in ``[start, end)``."""
        low, high = self._places(start, end)
        ids = self._ids[limits.HASH_BYTES * low : limits.HASH_BYTES * high]
        return high - low, feed_digest([ids])

    def middle(self, start: int, end: int) -> int:
        """Return the clock of the middle record in ``[start, end)``."""
        low, high = self._places(start, end)
        return self.records[low + (high - low) // 2].clock

    def sealed(self, below: int) -> tuple[int, bytes]:
        """Return count and digest for a seal at clock ``below``; older seals do not count."""
        end = self._index(below)
        # At most one seal is live, except for one that was read before its successor.
        skipped = sorted(self._place(seal) for seal in self._seals if seal.clock < below)
        ids, start = bytearray(), 0
        for place in [*skipped, end]:
            ids += self._ids[limits.HASH_BYTES * start : limits.HASH_BYTES * place]
            start = place + 1
        return end - len(skipped), seal_digest([ids])

    def _places(self, start: int, end: int) -> tuple[int, int]:
        low = self._index(start)
        return low, max(low, self._index(end))

    def _index(self, clock: int) -> int:
        return bisect_left(self.records, clock, key=lambda record: record.clock)

    def _place(self, record: VerifiedRecord) -> int:
        return bisect_left(self.records, (record.clock, record.record_id), key=_order)


def _order(record: VerifiedRecord) -> tuple[int, RecordId]:
    return record.clock, record.record_id
