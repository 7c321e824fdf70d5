"""Stage 7 of the line, its Yjs side: the pycrdt document, a rendering of what is held.

Takes feeds that changed from ``ledger.py``, gives the update that tells it to other nodes and to
any Yjs client. Only bytes that our own encoder made ever reach the native document. It is never
where truth is kept: it can be built anew from the feeds at any time, and is, where something must
come back or be withdrawn, since Yjs cannot take a record back. Source: protocol §3.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pycrdt import Array, Doc

from crdt.ledger.feed import Feed
from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.primitives.range_set import RangeSet
from crdt.wire.yjs_update import FeedSlice, encode_update


class Document:
    """The rendering of a cluster's feeds.

    Attributes:
        owners: the feed that is rendered under a Yjs client id.
    """

    def __init__(self) -> None:
        self._doc: Doc[Array[bytes]] | None = None
        self.owners: dict[int, Feed] = {}

    @property
    def doc(self) -> Doc[Array[bytes]]:
        """The native document.

        Peers are told from the feeds, so it is made for whoever reads it, and kept up to date from
        then on. Until then nothing that peers do can make this node build it.
        """
        if self._doc is None:
            self._doc = Doc()
            slices = [render_slice(f, 0, f.rendered) for f in self.owners.values() if f.rendered]
            if slices:
                self._doc.apply_update(encode_update(slices))
        return self._doc

    def show(
        self, feeds: Sequence[Feed], by_client: Mapping[int, FeedId | None], *, anew: bool
    ) -> tuple[deque["Stretch"], bytes]:
        """Bring the document in line with some feeds.

        Args:
            by_client: what lies under another client id than that of one feed is told to nobody.
            anew: build all of it anew; then these are all feeds.

        Returns:
            What others lack now, and the update that tells what was deleted, if anything was.
        """
        shown = {feed.client_id: feed.rendered for feed in feeds}
        if anew:
            self.rebuild(feeds)
        deletes = self.advance(feeds)
        lacked = lacking([f for f in feeds if by_client[f.client_id] == f.id], shown)
        return lacked, encode_update((), deletes) if deletes else b""

    def advance(self, feeds: Iterable[Feed]) -> dict[int, list[tuple[int, int]]]:
        """Render what is newly known of some feeds, and delete what is no longer live.

        Returns:
            The runs of clocks that were deleted, as (clock, length), by client id.
        """
        slices: list[FeedSlice] = []
        deletes: dict[int, list[tuple[int, int]]] = {}
        for feed in feeds:
            if self.owners.setdefault(feed.client_id, feed) is not feed:
                continue
            if feed.dead:
                deletes[feed.client_id] = [(start, end - start) for start, end in feed.dead]
                feed.dead = RangeSet()
            end = feed.shown_end()
            if end > feed.rendered:
                if self._doc is not None:
                    slices.append(render_slice(feed, feed.rendered, end))
                feed.rendered = end
        if self._doc is not None and (slices or deletes):
            self._doc.apply_update(encode_update(slices, deletes))
        return deletes

    def rebuild(self, feeds: Iterable[Feed]) -> None:
        """Render all anew. Of two feeds with one client id the first by key is shown."""
        self._doc = None
        self.owners.clear()
        for feed in sorted(feeds, key=lambda feed: feed.id):
            feed.rendered = 0
            feed.dead = RangeSet()
            if self.owners.setdefault(feed.client_id, feed) is feed:
                feed.rendered = feed.shown_end()


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


class Stretch(NamedTuple):
    """The clocks of a feed that another document lacks."""

    feed: FeedId
    start: int
    end: int


def lacking(feeds: Iterable[Feed], known: Mapping[int, int]) -> deque[Stretch]:
    """What another document lacks of what these feeds show now.

    Args:
        feeds: in the order in which they shall arrive.
        known: the other's state vector, client id → next clock.
    """
    ends = ((feed, known.get(feed.client_id, 0)) for feed in feeds)
    return deque(Stretch(feed.id, end, feed.rendered) for feed, end in ends if end < feed.rendered)


def next_update(lacked: deque[Stretch], feeds: Mapping[FeedId, Feed]) -> bytes:
    """The first of what is lacked, as one update that fits what a node takes at once.

    Args:
        lacked: what it says is taken out. Empty, or no longer shown: so is the update.
    """
    batch: list[FeedSlice] = []
    room = limits.UPDATE_BYTES_MAX
    while lacked:
        feed_id, start, end = lacked.popleft()
        feed = feeds[feed_id]
        end = min(end, feed.rendered)  # it may show less than before
        stop, weight = _cut_point(feed, start, end, room)
        if stop > start:
            batch.append(render_slice(feed, start, stop))
            room -= weight
        if stop < end:
            lacked.appendleft(Stretch(feed_id, stop, end))
            break
    return encode_update(batch)


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
