"""Records that have no verdict yet and are not on disk, bounded per author and in total.

Stands beside ``ledger.py``: holds what ``judge.py`` answered *waits* to, and finds it again when
what it waits for has come. What does not fit is not taken; anti-entropy brings it back. Source:
protocol §5, 7.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from machines.values import Instant, NodePubkey

from crdt.ledger.bounds import RecordBounds, pending_bounds, stranger_bounds
from crdt.primitives import limits
from crdt.primitives.errors import Reason
from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import FeedId, RecordId
from crdt.records.record import VerifiedRecord


class Waiting(NamedTuple):
    """A pending record and what it waits for."""

    record: VerifiedRecord
    reason: Reason


class PendingRecords:
    """The pending records of all feeds.

    Args:
        own: this node's key, which no bound applies to.
    """

    def __init__(self, own: NodePubkey | None = None) -> None:
        self._own = own
        self._waiting: dict[RecordId, Waiting] = {}
        self._of_author: dict[NodePubkey, dict[RecordId, None]] = {}
        self._slots: dict[tuple[FeedId, int], dict[RecordId, None]] = {}
        self._ahead: list[tuple[Stamp, RecordId]] = []
        self._room = RecordBounds(pending_bounds)
        self._strangers = RecordBounds(stranger_bounds)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, record_id: RecordId) -> bool:
        return record_id in self._waiting

    def add(self, record: VerifiedRecord, reason: Reason) -> bool:
        """Keep a record waiting; says whether it fitted. A new reason replaces the old one.

        One for which there is no room where the new reason puts it waits no longer.
        """
        author = record.feed.author
        known = self._waiting.get(record.record_id)
        before = None if known is None else self._room_for(known.reason)
        room = self._room_for(reason)
        if room is not before:
            if author != self._own and not room.fits(record):
                self.discard(record)
                return False
            room.count(record, 1)
            if before is not None:
                before.count(record, -1)
        self._waiting[record.record_id] = Waiting(record, reason)
        # Dictionaries, since sets have no order: one run is to be like the next.
        self._of_author.setdefault(author, {})[record.record_id] = None
        self._slots.setdefault((record.feed, record.clock), {})[record.record_id] = None
        if reason is Reason.STAMP_AHEAD and (known is None or known.reason is not reason):
            heapq.heappush(self._ahead, (record.stamp, record.record_id))
        return True

    def _room_for(self, reason: Reason) -> RecordBounds:
        return self._strangers if reason is Reason.UNKNOWN_AUTHOR else self._room

    def discard(self, record: VerifiedRecord) -> None:
        """The record waits no longer."""
        known = self._waiting.pop(record.record_id, None)
        if known is None:
            return
        self._room_for(known.reason).count(record, -1)
        for index, key in ((self._of_author, record.feed.author), (self._slots, _slot(record))):
            ids = index[key]  # type: ignore[index]
            ids.pop(record.record_id, None)
            if not ids:
                del index[key]  # type: ignore[arg-type]

    def of_author(self, author: NodePubkey) -> list[VerifiedRecord]:
        """What waits of one author's."""
        return [self._waiting[i].record for i in self._of_author.get(author, ())]

    def ahead_of(self, author: NodePubkey) -> list[VerifiedRecord]:
        """What of one author's waits for its stamp."""
        waiting = (self._waiting[record_id] for record_id in self._of_author.get(author, ()))
        return [one.record for one in waiting if one.reason is Reason.STAMP_AHEAD]

    def at(self, feed: FeedId, clock: int) -> list[VerifiedRecord]:
        """What waits for a slot."""
        return [self._waiting[i].record for i in self._slots.get((feed, clock), ())]

    def due(self, wall_ms: int) -> list[VerifiedRecord]:
        """Take out of the queue what waited for its stamp and need wait no longer."""
        bound = wall_ms + limits.STAMP_AHEAD_MS_MAX
        found = []
        while self._ahead and self._ahead[0][0].at.ms <= bound:
            _, record_id = heapq.heappop(self._ahead)
            waiting = self._waiting.get(record_id)
            if waiting is not None:
                found.append(waiting.record)
        return found

    def rows(self) -> Iterable[Waiting]:
        """Everything that waits."""
        return self._waiting.values()


class FutureStamped:
    """Records that are held and must not count before their time, the first to come first."""

    def __init__(self) -> None:
        self._queue: list[tuple[Instant, int, VerifiedRecord]] = []
        self._seen = 0

    def __bool__(self) -> bool:
        return bool(self._queue)

    def add(self, record: VerifiedRecord) -> None:
        """Let a record wait for its stamp."""
        self._seen += 1
        heapq.heappush(self._queue, (record.body.at, self._seen, record))

    def due(self, bound: Instant) -> Iterator[VerifiedRecord]:
        """Take out whose stamp is no later than this."""
        while self._queue and self._queue[0][0] <= bound:
            yield heapq.heappop(self._queue)[2]


def _slot(record: VerifiedRecord) -> tuple[FeedId, int]:
    return (record.feed, record.clock)
