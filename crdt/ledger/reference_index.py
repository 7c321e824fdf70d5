"""Which records name which: an event its parent, an ack its end.

Stands beside ``ledger.py``, which judges a record again when the one it names changes its place.
Names only point back, by hash, so there is no ring. Source: protocol §5, 3 and 7.
"""

from collections.abc import Container, Iterable, Iterator

from machines.values import NodePubkey

from crdt.primitives import limits
from crdt.primitives.identity import FeedId, RecordId, RecordRef
from crdt.records.bodies import Ack, Transition
from crdt.records.record import VerifiedRecord


def referenced_by(record: VerifiedRecord) -> RecordRef | None:
    """The one record that a record names; ``None`` for kinds that name none.

    What a node says of its own event, by an ack, moves nothing: it names none either.
    """
    if isinstance(record.body, Transition):
        return record.body.parent
    if isinstance(record.body, Ack) and record.body.end.author != record.feed.author:
        return record.body.end
    return None


class ReferenceIndex:
    """For each record that is named, the records that name it; by the named one's feed."""

    def __init__(self) -> None:
        self._namers: dict[FeedId, dict[RecordId, dict[RecordId, VerifiedRecord]]] = {}

    def add(self, record: VerifiedRecord) -> None:
        """A record is known from now on."""
        ref = referenced_by(record)
        if ref is not None:
            namers = self._namers.setdefault(ref.feed, {})
            namers.setdefault(ref.record_id, {})[record.record_id] = record

    def discard(self, record: VerifiedRecord) -> None:
        """A record is known no longer."""
        ref = referenced_by(record)
        if ref is None:
            return
        namers = self._namers.get(ref.feed, {})
        left = namers.get(ref.record_id, {})
        left.pop(record.record_id, None)
        if not left:
            namers.pop(ref.record_id, None)
        if not namers:
            self._namers.pop(ref.feed, None)

    def of(self, record: VerifiedRecord) -> Iterable[VerifiedRecord]:
        """The records that name this one."""
        return self._namers.get(record.feed, {}).get(record.record_id, {}).values()

    def of_feed(
        self, feed: FeedId, start: int = 0, end: int = limits.CLOCK_MAX + 1
    ) -> Iterator[VerifiedRecord]:
        """The records that name one of this feed's whose clock lies in ``[start, end)``."""
        for namers in self._namers.get(feed, {}).values():
            ref = referenced_by(next(iter(namers.values())))
            if ref is not None and start <= ref.clock < end:
                yield from namers.values()

    def of_authors(self, authors: Container[NodePubkey]) -> Iterator[VerifiedRecord]:
        """The records that name one of these authors'."""
        for feed in self._namers:
            if feed.author in authors:
                yield from self.of_feed(feed)
