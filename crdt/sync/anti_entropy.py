"""Comparing what two nodes hold, down to the clocks that differ.

Stands beside ``session.py``, which asks here what to answer. Two nodes compare the document
digest; where it differs, feed digests; where those differ, digests of ranges of clocks, halving,
until a range is small enough to send. What travels is live records by position, so that records
behind an unknown slot travel too, and proofs of forks. Pure functions over the ledger. Source:
protocol §10.
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
    """The feeds that stand in the digest, in order: of keys on the roster, with something live or
    a proven fork.
    """
    found = [
        feed
        for feed in ledger.feeds.values()
        if ledger.roster.on_roster(feed.author) and (feed.live() or feed.fork is not None)
    ]
    # A fork may be proven of a feed of which nothing is held.
    held = {feed.id for feed in found}
    for feed_id in ledger.proofs:
        if feed_id not in held and ledger.fork_of(feed_id) is not None:
            bare = ledger.feeds.get(feed_id) or Feed(feed_id, ledger.cluster)
            bare.fork = ledger.fork_of(feed_id)
            found.append(bare)
    return sorted(found, key=lambda feed: feed.id)


def digest_of_document(ledger: Ledger) -> bytes:
    """The document digest (protocol §8)."""
    return document_digest(
        (feed.id.author, feed.id.incarnation, feed.digest(), feed.fork)
        for feed in compared_feeds(ledger)
    )


def feed_digests(ledger: Ledger) -> list[FeedDigests]:
    """One's own feed digests, as frames."""
    rows = [
        FeedDigest(feed.id.author, feed.id.incarnation, feed.digest(), feed.fork)
        for feed in compared_feeds(ledger)
    ]
    size = limits.FEEDS_PER_FRAME_MAX
    chunks = [rows[start : start + size] for start in range(0, len(rows), size)] or [[]]
    return [FeedDigests(tuple(chunk), last=chunk is chunks[-1]) for chunk in chunks]


def differing(ledger: Ledger, theirs: FeedDigests, listed: set[FeedId]) -> list[FeedId]:
    """The feeds in which another node's digests differ from one's own.

    Args:
        theirs: one frame of its digests.
        listed: those of one's own feeds that its frames named so far; added to, and emptied with
            the last frame, when what it never named differs too.
    """
    mine = {feed.id: feed for feed in compared_feeds(ledger)}
    found: list[FeedId] = []
    empty = feed_digest([])
    for row in theirs.feeds:
        feed_id = FeedId(row.author, row.incarnation)
        feed = mine.get(feed_id)
        if feed is not None:
            listed.add(feed_id)
        digest, fork = (feed.digest(), feed.fork) if feed is not None else (empty, None)
        if digest != row.digest or fork != row.fork:
            found.append(feed_id)
    if theirs.last:
        found += [feed_id for feed_id in mine if feed_id not in listed]
        listed.clear()
    return found


def open_comparison(ledger: Ledger, feed_id: FeedId) -> list[Frame]:
    """What to say of a feed that differs: the proof of its fork, and the digest of all of it."""
    frames: list[Frame] = []
    proof = ledger.proofs.get(feed_id)
    if proof is not None:
        frames.append(Proof(proof.author, proof.incarnation, proof.clock, proof.sides))
    frames.append(RangeDigests(*feed_id, (_digest(ledger, feed_id, *WHOLE),)))
    return frames


def compare_ranges(ledger: Ledger, theirs: RangeDigests) -> list[Frame]:
    """Answer range digests: halve where they differ, and send and ask where a range is small."""
    feed_id = FeedId(theirs.author, theirs.incarnation)
    halves: list[RangeDigest] = []
    wanted: list[tuple[int, int]] = []
    shown: list[tuple[int, int]] = []
    for row in theirs.ranges:
        mine = _digest(ledger, feed_id, row.start, row.end)
        if mine.digest == row.digest:
            continue
        sizes = (mine.size, row.size)
        if not all(sizes) or max(sizes) <= limits.RANGE_LEAF or row.end - row.start == 1:
            if row.size:
                wanted.append((row.start, row.end))
            shown.append((row.start, row.end))
            continue
        # At the middle one of the own live records of the range.
        middle = ledger.feeds[feed_id].middle(row.start, row.end)
        middle = min(max(middle, row.start + 1), row.end - 1)
        halves.append(_digest(ledger, feed_id, row.start, middle))
        halves.append(_digest(ledger, feed_id, middle, row.end))
    frames: list[Frame] = list(as_records(feed_id, _as_fit(ledger, feed_id, shown)))
    if wanted:
        frames.append(RecordsWanted(*feed_id, tuple(wanted)))
    size = limits.RANGES_PER_FRAME_MAX
    frames += [
        RangeDigests(*feed_id, tuple(halves[start : start + size]))
        for start in range(0, len(halves), size)
    ]
    return frames


def serve(ledger: Ledger, wanted: RecordsWanted) -> list[Frame]:
    """The live records of the clocks another node asks for, as far as they fit one answer."""
    feed_id = FeedId(wanted.author, wanted.incarnation)
    return list(as_records(feed_id, _as_fit(ledger, feed_id, wanted.ranges)))


def as_records(feed_id: FeedId, records: Iterable[VerifiedRecord]) -> Iterator[Frame]:
    """Records by position, in frames of bounded size."""
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


def _as_fit(
    ledger: Ledger, feed_id: FeedId, ranges: Iterable[tuple[int, int]]
) -> Iterator[VerifiedRecord]:
    """The live records of some ranges, as many as fit one answer; the rest is asked for again."""
    room = limits.CATCHUP_BYTES_MAX
    for start, end in ranges:
        for record in _live(ledger, feed_id, start, end):
            room -= len(record.value)
            if room < 0:
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
