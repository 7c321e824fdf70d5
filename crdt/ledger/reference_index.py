"""References between records: an event to its parent, an ack to the end it acknowledges.

``ledger.py`` judges a record again when the record it refers to changes. A reference contains a
hash, so there are no cycles. Source: protocol §5, 3 and 7.
"""

from collections.abc import Container, Iterable, Iterator

from machines.values import NodePubkey

from crdt.primitives import limits
from crdt.primitives.identity import FeedId, RecordId, RecordRef
from crdt.records.bodies import Ack, Transition
from crdt.records.record import VerifiedRecord


def referenced_by(record: VerifiedRecord) -> RecordRef | None:
    """Return the record that a record refers to, or ``None``.

    An ack of its author's own event has no effect and counts as no reference.
    """
    if isinstance(record.body, Transition):
        return record.body.parent
    if isinstance(record.body, Ack) and record.body.end.author != record.feed.author:
        return record.body.end
    return None


class ReferenceIndex:
    """The referring records of each record, grouped by the feed that is referred to."""

    def __init__(self) -> None:
        self._referrers: dict[FeedId, dict[RecordId, dict[RecordId, VerifiedRecord]]] = {}

    def add(self, record: VerifiedRecord) -> None:
        """Add a record."""
        ref = referenced_by(record)
        if ref is not None:
            referrers = self._referrers.setdefault(ref.feed, {})
            referrers.setdefault(ref.record_id, {})[record.record_id] = record

    def discard(self, record: VerifiedRecord) -> None:
        """Remove a record."""
        ref = referenced_by(record)
        if ref is None:
            return
        referrers = self._referrers.get(ref.feed, {})
        remaining = referrers.get(ref.record_id, {})
        remaining.pop(record.record_id, None)
        if not remaining:
            referrers.pop(ref.record_id, None)
        if not referrers:
            self._referrers.pop(ref.feed, None)

    def of(self, record: VerifiedRecord) -> Iterable[VerifiedRecord]:
        """Return the records that refer to this one."""
        return self._referrers.get(record.feed, {}).get(record.record_id, {}).values()

    def of_feed(
        self, feed: FeedId, start: int = 0, end: int = limits.CLOCK_MAX + 1
    ) -> Iterator[VerifiedRecord]:
        """Yield the records that refer to this feed at a clock in ``[start, end)``."""
        for referrers in self._referrers.get(feed, {}).values():
            ref = referenced_by(next(iter(referrers.values())))
            if ref is not None and start <= ref.clock < end:
                yield from referrers.values()

    def of_authors(self, authors: Container[NodePubkey]) -> Iterator[VerifiedRecord]:
        """Yield the records that refer to feeds of these authors."""
        for feed in self._referrers:
            if feed.author in authors:
                yield from self.of_feed(feed)
