from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.records.digests import document_digest, feed_digest
from crdt.sync import anti_entropy
from crdt.wire.messages import (
    FeedDigest,
    FeedDigests,
    Proof,
    RangeDigest,
    RangeDigests,
    Records,
    RecordsWanted,
)
from machines import pipeline as p
from tests.support.builders.cluster import Cluster

EMPTY = feed_digest([])


def digest_row(court, feed_id):
    return next(
        row
        for frame in anti_entropy.feed_digests(court.ledger)
        for row in frame.feeds
        if (row.author, row.incarnation) == feed_id
    )


def ranged(records, start, end):
    return RangeDigest(start, end, len(records), feed_digest([r.record_id for r in records]))


def shown(frames):
    """What two nodes say to each other until neither has anything to say."""
    return [type(frame).__name__ for frame in frames]


def test_digest_covers_live_feeds_on_the_roster(court):
    court.take(court.bob.story("a"), court.sam.story("b"), court.cat.transition("c", p.Accepted()))
    feeds = anti_entropy.compared_feeds(court.ledger)
    assert [feed.author for feed in feeds] == sorted((court.founder.node, court.bob.node))
    assert anti_entropy.digest_of_document(court.ledger) == document_digest(
        (feed.author, 0, feed.digest(), None) for feed in feeds
    )


def test_fork_of_an_unknown_feed_is_in_the_digest(court):
    one, two = (court.bob.story(title, clock=3) for title in "ab")
    court.take(evidence := court.cat.evidence(one, two))
    bare = next(f for f in anti_entropy.compared_feeds(court.ledger) if f.author == court.bob.node)
    assert (bare.fork, bare.live()) == (3, [])
    assert digest_row(court, one.feed) == FeedDigest(court.bob.node, 0, EMPTY, 3)
    court.take(one)
    assert digest_row(court, one.feed).fork == 3
    court.take(*(court.sam.story(title, clock=0) for title in "ab"))
    authors = {feed.author for feed in anti_entropy.compared_feeds(court.ledger)}
    assert court.sam.node not in authors
    assert evidence.feed.author in authors


def test_feed_digests_come_in_frames_of_bounded_size(court, monkeypatch):
    court.take(court.bob.story("a"), court.cat.story("b"))
    monkeypatch.setattr(limits, "FEEDS_PER_FRAME_MAX", 2)
    frames = anti_entropy.feed_digests(court.ledger)
    assert [len(frame.feeds) for frame in frames] == [2, 1]
    assert [frame.last for frame in frames] == [False, True]


def test_feed_digests_of_an_empty_ledger(court):
    court.ledger.feeds.clear()
    [frame] = anti_entropy.feed_digests(court.ledger)
    assert (frame.feeds, frame.last) == ((), True)


def test_which_feeds_differ(court):
    court.take(court.bob.story("a"), court.cat.story("b"), court.ada.story("c"))
    same = digest_row(court, FeedId(court.founder.node, 0))
    other = digest_row(court, FeedId(court.bob.node, 0))._replace(digest=EMPTY)
    forked = digest_row(court, FeedId(court.cat.node, 0))._replace(fork=0)
    unknown = FeedDigest(court.sam.node, 0, feed_digest([b"x" * 32]), None)
    nothing = FeedDigest(court.obs.node, 0, EMPTY, None)
    frame = FeedDigests((same, other, forked, unknown, nothing), last=True)
    found = anti_entropy.differing(court.ledger, frame, set())
    assert [feed.author for feed in found] == [
        court.bob.node, court.cat.node, court.sam.node, court.ada.node,
    ]  # fmt: skip


def test_comparison_starts_with_proof_and_whole_range(court):
    records = [court.bob.story("a"), court.bob.story("b")]
    court.take(*records)
    feed = records[0].feed
    whole = RangeDigests(*feed, (ranged(records, 0, 2**31),))
    assert anti_entropy.open_comparison(court.ledger, feed) == [whole]
    court.take(court.bob.story("twin", clock=1))
    proof, whole = anti_entropy.open_comparison(court.ledger, feed)
    assert (type(proof), proof.clock) == (Proof, 1)
    assert whole.ranges[0].size == 1


def test_equal_ranges_are_not_answered(court):
    records = [court.bob.story("a")]
    court.take(*records)
    frame = RangeDigests(*records[0].feed, (ranged(records, 0, 9), ranged([], 9, 20)))
    assert anti_entropy.compare_ranges(court.ledger, frame) == []


def test_in_a_small_range_both_send_what_they_have(court):
    mine, theirs = court.bob.story("a"), court.bob.story("b")
    court.take(mine)
    feed = mine.feed
    sent, wanted = anti_entropy.compare_ranges(
        court.ledger, RangeDigests(*feed, (ranged([theirs], 0, 9),))
    )
    assert sent == Records(*feed, ((0, mine.value),))
    assert wanted == RecordsWanted(*feed, ((0, 9),))
    [sent] = anti_entropy.compare_ranges(court.ledger, RangeDigests(*feed, (ranged([], 0, 9),)))
    assert sent == Records(*feed, ((0, mine.value),))
    stranger = FeedId(court.sam.node, 0)
    [wanted] = anti_entropy.compare_ranges(
        court.ledger, RangeDigests(*stranger, (ranged([theirs], 0, 9),))
    )
    assert wanted == RecordsWanted(*stranger, ((0, 9),))


def test_large_range_is_halved(court):
    records = [court.bob.story("a", clock=clock) for clock in range(0, 80, 2)]
    court.take(*records)
    feed = records[0].feed
    theirs = RangeDigest(0, 2**31, 40, bytes(32))
    [halves] = anti_entropy.compare_ranges(court.ledger, RangeDigests(*feed, (theirs,)))
    assert halves.ranges == (ranged(records[:20], 0, 40), ranged(records[20:], 40, 2**31))


def test_many_halves_come_in_frames_of_bounded_size(court, monkeypatch):
    monkeypatch.setattr(limits, "RANGE_LEAF", 1)
    monkeypatch.setattr(limits, "RANGES_PER_FRAME_MAX", 2)
    records = [court.bob.story("a", clock=clock) for clock in range(12)]
    court.take(*records)
    rows = tuple(RangeDigest(n, n + 4, 4, bytes(32)) for n in (0, 4, 8))
    frames = anti_entropy.compare_ranges(court.ledger, RangeDigests(*records[0].feed, rows))
    assert [len(frame.ranges) for frame in frames] == [2, 2, 2]


def test_halves_are_never_empty(court, monkeypatch):
    monkeypatch.setattr(limits, "RANGE_LEAF", 1)
    records = [court.bob.story("a", clock=clock) for clock in (4, 5)]
    court.take(*records)
    feed = records[0].feed
    for start, end, middle in ((4, 6, 5), (4, 99, 5), (5, 99, 6)):
        row = RangeDigest(start, end, 2, bytes(32))
        [halves] = anti_entropy.compare_ranges(court.ledger, RangeDigests(*feed, (row,)))
        ends = [(half.start, half.end) for half in halves.ranges]
        assert ends == [(start, middle), (middle, end)]
    single = RangeDigest(4, 5, 2, bytes(32))
    frames = anti_entropy.compare_ranges(court.ledger, RangeDigests(*feed, (single,)))
    assert shown(frames) == ["Records", "RecordsWanted"]


def test_requested_records_are_served_up_to_a_limit(court, monkeypatch):
    records = [court.bob.story("a", clock=clock) for clock in range(6)]
    court.take(*records)
    feed = records[0].feed
    [frame] = anti_entropy.serve(court.ledger, RecordsWanted(*feed, ((0, 2), (5, 9))))
    assert [clock for clock, _ in frame.records] == [0, 1, 5]
    assert anti_entropy.serve(court.ledger, RecordsWanted(court.sam.node, 0, ((0, 9),))) == []
    monkeypatch.setattr(limits, "CATCHUP_BYTES_MAX", 2 * len(records[0].value) + 1)
    [frame] = anti_entropy.serve(court.ledger, RecordsWanted(*feed, ((0, 9),)))
    assert [clock for clock, _ in frame.records] == [0, 1]
    [frame] = anti_entropy.serve(court.ledger, RecordsWanted(*feed, ((0, 9),) * 9))
    assert [clock for clock, _ in frame.records] == [0, 1], "ranges named twice count twice"


def test_missing_records_are_offered_up_to_a_limit(court, monkeypatch):
    records = [court.bob.story("a", clock=clock) for clock in range(6)]
    court.take(*records)
    monkeypatch.setattr(limits, "CATCHUP_BYTES_MAX", 2 * len(records[0].value) + 1)
    nothing = RangeDigests(*records[0].feed, (ranged([], 0, 9),) * 9)
    [frame] = anti_entropy.compare_ranges(court.ledger, nothing)
    assert [clock for clock, _ in frame.records] == [0, 1]


def test_records_travel_in_frames_of_bounded_size(court, monkeypatch):
    records = [court.bob.story("a", clock=clock) for clock in range(5)]
    feed = records[0].feed
    monkeypatch.setattr(limits, "RECORDS_PER_FRAME_MAX", 2)
    frames = [*anti_entropy.as_records(feed, records)]
    assert [len(frame.records) for frame in frames] == [2, 2, 1]
    monkeypatch.setattr(anti_entropy, "REPLY_BYTES_MAX", len(records[0].value) + 16)
    assert len([*anti_entropy.as_records(feed, records)]) == 5
    assert [*anti_entropy.as_records(feed, [])] == []


# Over several frames


def linked(size=2):
    cluster = Cluster(size)
    cluster.admit_all()
    cluster.link_all()
    cluster.settle(3)
    return cluster


def test_differing_feeds_over_several_frames(monkeypatch):
    cluster = linked(4)
    for number in range(4):
        cluster.add(number, f"s-{number}")
    cluster.settle(3)
    one, other = cluster.replicas[0].ledger, cluster.replicas[1].ledger
    cluster.unlink(0, 1)
    cluster.unlink(0, 2)
    cluster.unlink(0, 3)
    cluster.add(0, "here")
    cluster.add(1, "there")
    expected = [cluster.replicas[0]._own_feed().id, cluster.replicas[1]._own_feed().id]
    for size in (100, 3, 1):
        monkeypatch.setattr(limits, "FEEDS_PER_FRAME_MAX", size)
        listed = set()
        found = [
            f
            for frame in anti_entropy.feed_digests(other)
            for f in anti_entropy.differing(one, frame, listed)
        ]
        assert sorted(found) == sorted(expected)
        assert listed == set()


def test_feeds_that_the_peer_lacks_differ():
    cluster = linked(1)
    ledger = cluster.replicas[0].ledger
    [frame] = anti_entropy.feed_digests(ledger)
    listed = set()
    assert anti_entropy.differing(ledger, FeedDigests((), last=False), listed) == []
    assert anti_entropy.differing(ledger, FeedDigests((), last=True), listed) == [
        frame.feeds[0][:2]
    ]
    assert anti_entropy.differing(ledger, frame, listed) == []


def test_endless_digests_fill_no_memory():
    cluster = linked(1)
    ledger = cluster.replicas[0].ledger
    [frame] = anti_entropy.feed_digests(ledger)
    strange = [frame.feeds[0]._replace(incarnation=number) for number in range(1, 50)]
    listed = set()
    found = anti_entropy.differing(ledger, FeedDigests(tuple(strange), last=False), listed)
    assert len(found) == len(strange)
    assert not listed


def test_an_empty_ledger_still_says_that_it_is_empty():
    assert anti_entropy.feed_digests(Cluster(1).replicas[0].ledger)[0].last
