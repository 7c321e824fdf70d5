"""Comparing what two nodes hold, down to the clocks that differ."""

from crdt import antientropy, limits
from crdt.antientropy import differing, feed_digests
from crdt.frame import FeedDigests
from tests.support.cluster import Cluster


def linked(size=2):
    cluster = Cluster(size)
    cluster.admit_all()
    cluster.link_all()
    cluster.settle(3)
    return cluster


def test_the_feeds_that_differ_are_found_however_the_digests_are_cut(monkeypatch):
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
        found = [f for frame in feed_digests(other) for f in differing(one, frame, listed)]
        assert sorted(found) == sorted(expected)
        assert listed == set()


def test_what_the_other_never_names_differs():
    cluster = linked(1)
    ledger = cluster.replicas[0].ledger
    [frame] = feed_digests(ledger)
    listed = set()
    assert differing(ledger, FeedDigests((), last=False), listed) == []
    assert differing(ledger, FeedDigests((), last=True), listed) == [frame.feeds[0][:2]]
    assert differing(ledger, frame, listed) == []


def test_a_peer_that_never_comes_to_an_end_fills_no_memory():
    cluster = linked(1)
    ledger = cluster.replicas[0].ledger
    [frame] = feed_digests(ledger)
    strange = [frame.feeds[0]._replace(incarnation=number) for number in range(1, 50)]
    listed = set()
    found = differing(ledger, FeedDigests(tuple(strange), last=False), listed)
    assert len(found) == len(strange)
    assert not listed


def test_an_empty_ledger_still_says_that_it_is_empty():
    assert antientropy.feed_digests(Cluster(1).replicas[0].ledger)[0].last
