"""Stage 7 of the line, its Yjs side: the pycrdt document, a rendering of what is held.

Takes ``Changes`` from ``ledger.py``, returns what other nodes and any Yjs client lack. Only bytes
that our own encoder made reach the native document. It holds no truth: it can be built again from
the feeds at any time, and is if something must come back or be withdrawn, since Yjs cannot take a
record back. Source: protocol §3.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pycrdt import Array, Doc

from crdt.contract.checkpoint import Checkpoint, pass_on
from crdt.ledger.changes import Changes
from crdt.ledger.feed import Feed
from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.primitives.range_set import RangeSet
from crdt.records.record import VerifiedRecord
from crdt.wire.yjs_update import FeedSlice, encode_update


class Stretch(NamedTuple):
    """The clocks of a feed that another document lacks."""

    feed: FeedId
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Rendering:
    """What the document shows since it was brought up to date.

    Attributes:
        feeds: the feeds that changed.
        lacked: what other documents lack now.
        deleted: an update with what was deleted; empty if nothing was.
        back: live records that no update can bring: a slot shown as deleted stays deleted, and of
            two feeds with one client id neither is sent. They travel by position.
    """

    feeds: list[Feed]
    lacked: deque[Stretch]
    deleted: bytes
    back: list[VerifiedRecord]


class Document:
    """The rendering of a cluster's feeds.

    Args:
        feeds: every feed, as the ledger has it; changed by the ledger alone.
        checkpoint: called before each step, however many there are.

    Attributes:
        by_client: whose feed a Yjs client id stands for; ``None`` if several feeds have it.
        owners: the feed that is rendered under a Yjs client id.
        is_stale: something must come back into, or be withdrawn from, what is shown.
    """

    def __init__(self, feeds: Mapping[FeedId, Feed], checkpoint: Checkpoint = pass_on) -> None:
        self.by_client: dict[int, FeedId | None] = {}
        self.owners: dict[int, Feed] = {}
        self.is_stale = False
        self._feeds = feeds
        self._checkpoint = checkpoint
        self._doc: Doc[Array[bytes]] | None = None
        self._ends: dict[FeedId, int] = {}
        self._dead: dict[FeedId, RangeSet] = {}
        self._changed: set[FeedId] = set()
        self._back: list[VerifiedRecord] = []
        self._rebuilt_at = float("-inf")

    @property
    def doc(self) -> Doc[Array[bytes]]:
        """The native document.

        Peers are sent what the feeds say, so it is made when it is first read, and kept up to date
        from then on. Until then nothing that peers do makes this node build it.
        """
        if self._doc is None:
            self._doc = Doc()
            ends = ((feed, self.end(feed.id)) for feed in self.owners.values())
            slices = [render_slice(feed, 0, end) for feed, end in ends if end]
            if slices:
                self._doc.apply_update(encode_update(slices))
        return self._doc

    def end(self, feed: FeedId) -> int:
        """The clock below which a feed is shown."""
        return self._ends.get(feed, 0)

    def stored_end(self, feed: Feed) -> int:
        """The clock below which a store need not say that a slot is empty."""
        return min(self.end(feed.id), feed.known_end())

    def is_told(self, feed: Feed) -> bool:
        """Whether updates bring a feed: not if another has its client id.

        A peer that knows only one of the two would take the other's records for forged.
        """
        return self.by_client.get(feed.client_id) == feed.id

    def state_vector(self) -> dict[int, int]:
        """Client id → next clock."""
        ends = ((self._feeds[feed], end) for feed, end in self._ends.items())
        return {feed.client_id: end for feed, end in ends if end and self.is_told(feed)}

    # --- in ------------------------------------------------------------------------------------

    def note(self, changes: Changes) -> None:
        """Take note of what changed in the ledger; ``show`` brings the document in line."""
        for feed in changes.opened:
            # Of two feeds with one client id only the first by key is rendered (protocol §3).
            if self.by_client.setdefault(feed.client_id, feed.id) != feed.id:
                self.by_client[feed.client_id] = None
                self.is_stale = True
        self._changed |= changes.feeds
        self.is_stale |= changes.redraw
        for feed_id, clock in changes.forgotten:
            self.is_stale |= clock < self._ends.get(feed_id, 0)
        for record in changes.live:
            self._checkpoint()
            shown = record.clock < self._ends.get(record.feed, 0)
            self.is_stale |= shown
            if shown or self.by_client[self._feeds[record.feed].client_id] is None:
                self._back.append(record)
        for record in changes.ceased:
            self._checkpoint()
            if record.clock < self._ends.get(record.feed, 0):
                dead = self._dead.setdefault(record.feed, RangeSet())
                dead.add(record.clock, record.clock + 1)

    def show(self, mono: float) -> Rendering:
        """Bring the document in line with the feeds that changed.

        It is built again if it is stale, at most once in ``REBUILD_SECONDS_MIN``.

        Args:
            mono: monotonic seconds.
        """
        back, self._back = self._back, []
        feeds = [self._feeds[feed] for feed in sorted(self._changed)]
        self._changed.clear()
        rebuilds = self.is_stale and mono - self._rebuilt_at >= limits.REBUILD_SECONDS_MIN
        if rebuilds:
            self._rebuilt_at = mono
            feeds = list(self._feeds.values())
        shown = {feed.client_id: self._ends.get(feed.id, 0) for feed in feeds}
        if rebuilds:
            self.rebuild()
        deletes = self._advance(feeds)
        lacked = self.lacking(filter(self.is_told, feeds), shown)
        return Rendering(feeds, lacked, encode_update((), deletes) if deletes else b"", back)

    def rebuild(self) -> None:
        """Render all feeds again. Of two with one client id the first by key is shown."""
        self._doc = None
        self.is_stale = False
        self.owners.clear()
        self._ends.clear()
        self._dead.clear()
        self._changed.clear()
        self._back.clear()
        for feed in sorted(self._feeds.values(), key=lambda feed: feed.id):
            if self.owners.setdefault(feed.client_id, feed) is feed:
                self._ends[feed.id] = feed.shown_end(0)

    def _advance(self, feeds: Iterable[Feed]) -> dict[int, list[tuple[int, int]]]:
        """Render what is newly known of some feeds, and delete what is no longer live.

        Returns:
            The runs of clocks that were deleted, as (clock, length), by client id.
        """
        slices: list[FeedSlice] = []
        deletes: dict[int, list[tuple[int, int]]] = {}
        for feed in feeds:
            if self.owners.setdefault(feed.client_id, feed) is not feed:
                continue
            if dead := self._dead.pop(feed.id, None):
                deletes[feed.client_id] = [(start, end - start) for start, end in dead]
            shown = self._ends.get(feed.id, 0)
            end = feed.shown_end(shown)
            if end > shown:
                if self._doc is not None:
                    slices.append(render_slice(feed, shown, end))
                self._ends[feed.id] = end
        if self._doc is not None and (slices or deletes):
            self._doc.apply_update(encode_update(slices, deletes))
        return deletes

    # --- out -----------------------------------------------------------------------------------

    def lacking(self, feeds: Iterable[Feed], known: Mapping[int, int]) -> deque[Stretch]:
        """What another document lacks of what this one shows of some feeds.

        Args:
            feeds: in the order in which they shall arrive.
            known: the other's state vector, client id → next clock.
        """
        ends = ((feed.id, known.get(feed.client_id, 0), self.end(feed.id)) for feed in feeds)
        return deque(Stretch(*stretch) for stretch in ends if stretch[1] < stretch[2])

    def next_update(self, lacked: deque[Stretch]) -> bytes:
        """The first of what is lacked, as one update that fits what a node takes at once.

        Args:
            lacked: what it brings is taken out. Empty, or no longer shown: so is the update.
        """
        batch: list[FeedSlice] = []
        room = limits.UPDATE_BYTES_MAX
        while lacked:
            feed_id, start, end = lacked.popleft()
            feed = self._feeds[feed_id]
            end = min(end, self.end(feed_id))  # it may show less than before
            stop, weight = _cut_point(feed, start, end, room)
            if stop > start:
                batch.append(render_slice(feed, start, stop))
                room -= weight
            if stop < end:
                lacked.appendleft(Stretch(feed_id, stop, end))
                break
        return encode_update(batch)


def render_slice(feed: Feed, start: int, end: int) -> FeedSlice:
    """What the document shows of a feed from ``start`` up to ``end``."""
    records = [(record.clock, record.value) for record in feed.rendered_records(start, end)]
    gaps: list[tuple[int, int]] = []
    clock = start
    for shown, _ in records:
        if clock < shown:
            gaps.append((clock, shown - clock))
        clock = shown + 1
    if clock < end:
        gaps.append((clock, end - clock))
    root = feed.id.root if start == 0 else None
    return FeedSlice(feed.client_id, root, start, end, records, gaps)


def _cut_point(feed: Feed, start: int, end: int, room: int) -> tuple[int, int]:
    """How far towards ``end`` a slice may reach in ``room`` bytes, and what it weighs at most."""
    weight = 2 * limits.FRAME_OVERHEAD_BYTES
    clock = start
    for record in feed.rendered_records(start, end):
        cost = 32 + len(record.value) + (32 if clock < record.clock else 0)
        if weight + cost > room:
            return clock, weight
        weight += cost
        clock = record.clock + 1
    weight += 32
    return clock if clock < end and weight > room else max(start, end), weight
