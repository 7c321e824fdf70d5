from itertools import pairwise

import pytest

from crdt import limits
from crdt.identity import FeedId, RecordId, RecordRef
from crdt.session import Session, Sessions
from tests.support.cluster import key

ANN, BOB, CAT = sorted(key(number).pubkey for number in (1, 2, 3))
FEED = FeedId(ANN, 0)


def session(peer, offset_ms=0):
    return Session(peer, since=0.0, offset_ms=offset_ms, next_offer=1.0)


def opened(*sessions):
    table = Sessions()
    for one in sessions:
        table.open(one)
    return table


def test_what_a_peer_holds_only_grows():
    one = session(BOB)
    one.holds(FEED, 4)
    one.holds(FEED, 2)
    assert one.holding == {FEED: 4}


def test_a_feed_that_stays_different_is_compared_less_and_less_often():
    one = session(BOB)
    assert one.may_compare(FEED, b"mine", b"theirs", 0.0)
    compared = [now for now in range(20_000) if one.may_compare(FEED, b"mine", b"theirs", now)]
    pauses = [right - left for left, right in pairwise(compared)]
    assert pauses[:3] == [30, 60, 120]
    assert max(pauses) == limits.ANTI_ENTROPY_BACKOFF_SECONDS_MAX
    assert pauses == sorted(pauses)


def test_one_that_changed_is_compared_at_once():
    one = session(BOB)
    one.may_compare(FEED, b"mine", b"theirs", 0.0)
    one.may_compare(FEED, b"mine", b"theirs", 0.0)
    assert not one.may_compare(FEED, b"mine", b"theirs", 1.0)
    assert one.may_compare(FEED, b"grown", b"theirs", 2.0)
    assert one.may_compare(FEED, b"grown", b"other", 3.0)
    assert one.may_compare(FeedId(ANN, 1), b"grown", b"other", 3.0)


def test_sessions_stand_in_order_of_key_whoever_came_first():
    table = opened(session(CAT), session(ANN), session(BOB))
    assert [one.peer for one in table.all()] == [ANN, BOB, CAT]
    assert table.peers() == [ANN, BOB, CAT]
    assert table.peers(but=BOB) == [ANN, CAT]


def test_a_new_link_to_a_peer_replaces_its_session():
    first, second = session(ANN), session(ANN)
    table = opened(first, second)
    assert table.get(ANN) is second
    assert table.get(BOB) is None


def test_what_a_peer_had_on_disk_is_still_there_when_its_link_is_gone():
    gone, here = session(ANN), session(BOB)
    gone.holds(FEED, 7)
    here.holds(FEED, 5)
    table = opened(gone, here)
    table.close(ANN)
    table.close(ANN)
    assert table.shared_end(FEED) == 7
    assert table.shared_end(FeedId(BOB, 0)) == 0
    assert table.get(ANN) is None


def test_only_linked_peers_count_as_holders_of_a_record():
    one, other = session(ANN), session(BOB)
    one.holds(FEED, 7)
    other.holds(FEED, 3)
    table = opened(one, other)
    at = [RecordRef(*FEED, clock, RecordId(bytes(32))) for clock in (2, 3, 6, 7)]
    assert [table.holders(ref) for ref in at] == [2, 1, 1, 0]


@pytest.mark.parametrize(
    ("offsets", "skew"), [([], 0), ([700], 700), ([-90, 5, 10**9], 5), ([10, 20], 15)]
)
def test_the_skew_is_the_median_so_that_one_liar_moves_nothing(offsets, skew):
    peers = (ANN, BOB, CAT)
    table = opened(*(session(*both) for both in zip(peers, offsets, strict=False)))
    assert table.skew_ms() == skew
