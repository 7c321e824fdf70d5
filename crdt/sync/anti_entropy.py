"""Anti-entropy: finding the clocks at which two nodes differ, and exchanging those records.

Two nodes compare document digests; if they differ, feed digests; for feeds that differ, digests of
ranges of clocks, halved until a range is small enough to send. Live records are sent by position,
so that records behind an unknown slot arrive too, and fork proofs with them. All functions only
read the ledger. Source: protocol §10.
"""

from collections.abc import Iterable, Iterator

from crdt.ledger.feed import Feed
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.records.digests import document_digest, feed_digest
from crdt.records.record import VerifiedRecord
from crdt.wire.messages import (
    FeedDigest,
    FeedDigests,
    Frame,
    Proof,
    RangeDigest,
    RangeDigests,
    Records,
    RecordsWanted,
)

WHOLE = (0, limits.CLOCK_MAX + 1)
REPLY_BYTES_MAX = limits.UPDATE_BYTES_MAX


def compared_feeds(ledger: Ledger) -> list[Feed]:
    """Return the feeds in the document digest, in order.

    These are the feeds of keys on the roster that have a live record or a proven fork.
    """
    found = [
        feed
        for feed in ledger.feeds.values()
        if ledger.roster.on_roster(feed.author) and (feed.live() or feed.fork is not None)
    ]
    # A fork may be proven for a feed without any known record.
    listed = {feed.id for feed in found}
    for feed_id in ledger.proofs:
        if feed_id not in listed and ledger.fork_of(feed_id) is not None:
            bare = ledger.feeds.get(feed_id) or Feed(feed_id, ledger.cluster)
            bare.fork = ledger.fork_of(feed_id)
            found.append(bare)
    return sorted(found, key=lambda feed: feed.id)


def digest_of_document(ledger: Ledger) -> bytes:
    """Return the document digest (protocol §8)."""
    return document_digest(
        (feed.id.author, feed.id.incarnation, feed.digest(), feed.fork)
        for feed in compared_feeds(ledger)
    )


def feed_digests(ledger: Ledger) -> list[FeedDigests]:
    """Return the digests of our feeds, as frames."""
    rows = [
        FeedDigest(feed.id.author, feed.id.incarnation, feed.digest(), feed.fork)
        for feed in compared_feeds(ledger)
    ]
    size = limits.FEEDS_PER_FRAME_MAX
    chunks = [rows[start : start + size] for start in range(0, len(rows), size)] or [[]]
    return [FeedDigests(tuple(chunk), last=chunk is chunks[-1]) for chunk in chunks]


def differing(ledger: Ledger, theirs: FeedDigests, listed: set[FeedId]) -> list[FeedId]:
    """Return the feeds whose digests differ between a peer and us.

    Args:
        theirs: one frame of the peer's digests.
        listed: our feeds that the frames listed so far; updated here. With the last frame, our
            feeds that were never listed differ too, and the set is cleared.
    """
    ours = {feed.id: feed for feed in compared_feeds(ledger)}
    found: list[FeedId] = []
    empty = feed_digest([])
    for row in theirs.feeds:
        feed_id = FeedId(row.author, row.incarnation)
        feed = ours.get(feed_id)
        if feed is not None:
            listed.add(feed_id)
        digest, fork = (feed.digest(), feed.fork) if feed is not None else (empty, None)
        if digest != row.digest or fork != row.fork:
            found.append(feed_id)
    if theirs.last:
        found += [feed_id for feed_id in ours if feed_id not in listed]
        listed.clear()
    return found


def open_comparison(ledger: Ledger, feed_id: FeedId) -> list[Frame]:
    """Start to compare a feed: send the proof of its fork, if any, and its digest."""
    frames: list[Frame] = []
    proof = ledger.proofs.get(feed_id)
    if proof is not None:
        frames.append(Proof(proof.author, proof.incarnation, proof.clock, proof.sides))
    frames.append(RangeDigests(*feed_id, (_digest(ledger, feed_id, *WHOLE),)))
    return frames


def compare_ranges(ledger: Ledger, theirs: RangeDigests) -> list[Frame]:
    """Answer range digests: halve ranges that differ; exchange the records of small ones."""
    feed_id = FeedId(theirs.author, theirs.incarnation)
    halves: list[RangeDigest] = []
    wanted: list[tuple[int, int]] = []
    offered: list[tuple[int, int]] = []
    for row in theirs.ranges:
        ours = _digest(ledger, feed_id, row.start, row.end)
        if ours.digest == row.digest:
            continue
        sizes = (ours.size, row.size)
        if not all(sizes) or max(sizes) <= limits.RANGE_LEAF or row.end - row.start == 1:
            if row.size:
                wanted.append((row.start, row.end))
            offered.append((row.start, row.end))
            continue
        # Split at the middle one of our live records.
        middle = ledger.feeds[feed_id].middle(row.start, row.end)
        middle = min(max(middle, row.start + 1), row.end - 1)
        halves.append(_digest(ledger, feed_id, row.start, middle))
        halves.append(_digest(ledger, feed_id, middle, row.end))
    frames: list[Frame] = list(as_records(feed_id, _that_fit(ledger, feed_id, offered)))
    if wanted:
        frames.append(RecordsWanted(*feed_id, tuple(wanted)))
    size = limits.RANGES_PER_FRAME_MAX
    frames += [
        RangeDigests(*feed_id, tuple(halves[start : start + size]))
        for start in range(0, len(halves), size)
    ]
    return frames


def serve(ledger: Ledger, wanted: RecordsWanted) -> list[Frame]:
    """Return the requested live records, as many as fit into one answer."""
    feed_id = FeedId(wanted.author, wanted.incarnation)
    return list(as_records(feed_id, _that_fit(ledger, feed_id, wanted.ranges)))


def as_records(feed_id: FeedId, records: Iterable[VerifiedRecord]) -> Iterator[Frame]:
    """Yield records by position, in frames of bounded size."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    for record in records:
        cost = len(record.value) + 16
        if batch and (size + cost > REPLY_BYTES_MAX or len(batch) >= limits.RECORDS_PER_FRAME_MAX):
            yield Records(*feed_id, tuple(batch))
            batch, size = [], 0
        batch.append((record.clock, record.value))
        size += cost
    if batch:
        yield Records(*feed_id, tuple(batch))


def _that_fit(
    ledger: Ledger, feed_id: FeedId, ranges: Iterable[tuple[int, int]]
) -> Iterator[VerifiedRecord]:
    """Yield live records of ranges, as many as fit into one answer; the peer asks for the rest."""
    bytes_left = limits.CATCHUP_BYTES_MAX
    for start, end in ranges:
        for record in _live(ledger, feed_id, start, end):
            bytes_left -= len(record.value)
            if bytes_left < 0:
                return
            yield record


def _live(ledger: Ledger, feed_id: FeedId, start: int, end: int) -> list[VerifiedRecord]:
    feed = ledger.feeds.get(feed_id)
    if feed is None:
        return []
    return feed.live_between(start, end)


def _digest(ledger: Ledger, feed_id: FeedId, start: int, end: int) -> RangeDigest:
    feed = ledger.feeds.get(feed_id) or Feed(feed_id, ledger.cluster)
    return RangeDigest(start, end, *feed.range_digest(start, end))
