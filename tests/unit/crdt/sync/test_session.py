from itertools import pairwise

import pytest

from crdt.contract.ready import Now
from crdt.primitives import limits
from crdt.primitives.identity import FeedId, RecordId, RecordRef
from crdt.records.horizon import Horizon
from crdt.sync.session import ClockWatch, Session, Sessions, ahead_ms
from machines.values import Instant
from tests.support.builders.cluster import key
from tests.support.builders.ledger_fixture import LedgerFixture

ANN, BOB, CAT = sorted(key(number).pubkey for number in (1, 2, 3))
FEED = FeedId(ANN, 0)


NOW = Now(Instant("2026-11-24T02:00:00.000Z"), 500.0)


def session(peer, offset_ms=0):
    return Session(peer, since=0.0, ahead_ms=ahead_ms(NOW.wall, NOW) + offset_ms, next_offer=1.0)


def later(seconds, *, wall=None):
    """The monotonic clock goes on; the wall clock does as it likes, or goes with it."""
    moved = seconds if wall is None else wall
    return Now(Instant.from_ms(NOW.wall.ms + int(1000 * moved)), NOW.mono + seconds)


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


def test_feeds_that_a_peer_names_without_end_are_forgotten_the_oldest_first():
    one = session(BOB)
    for number in range(limits.FEEDS_PER_FRAME_MAX + 7):
        one.may_compare(FeedId(ANN, number), b"mine", b"theirs", 0.0)
    assert len(one.doubts) == limits.FEEDS_PER_FRAME_MAX
    assert FeedId(ANN, 6) not in one.doubts
    assert FeedId(ANN, 7) in one.doubts


def test_what_is_owed_is_made_one_after_the_other_and_bounded(monkeypatch):
    monkeypatch.setattr(limits, "OWED_MAX", 5)
    one, made = session(BOB), []

    def frames(name, count):
        for number in range(count):
            made.append(f"{name}{number}")
            yield made[-1]

    one.owed.add(frames("a", 2), 2)
    one.owed.add(frames("b", 0), 2)
    one.owed.add(frames("c", 1), 2)  # too much
    one.owed.add(frames("d", 1))
    assert made == []
    assert next(iter(one.owed)) == "a0"
    assert made == ["a0"]
    assert list(one.owed) == ["a1", "d0"]
    one.owed.add(frames("e", 1), 5)
    assert list(one.owed) == ["e0"], "what was sent makes room"


def test_a_digest_is_offered_sooner_and_never_later():
    one = session(BOB)
    one.compare_soon(5.0)
    assert one.next_offer == 1.0
    one.compare_soon(0.5)
    assert one.next_offer == 0.5


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
    ("offsets", "skew"),
    [([], 0), ([700], 700), ([-90, 5, 10**9], 5), ([10, 20], 10), ([9**9, 4], 4)],
)
def test_the_skew_is_the_median_so_that_one_liar_moves_nothing(offsets, skew):
    peers = (ANN, BOB, CAT)
    table = opened(*(session(*both) for both in zip(peers, offsets, strict=False)))
    assert table.skew_ms(NOW) == skew
    assert table.skew_ms(later(60)) == skew


def test_a_clock_that_jumps_stands_still_or_goes_back_shows_at_once():
    table = opened(session(ANN), session(BOB))
    assert table.skew_ms(later(1, wall=601)) == -600_000
    assert table.skew_ms(later(400, wall=0)) == 400_000
    assert table.skew_ms(later(1, wall=-599)) == 600_000


def test_a_peer_whose_clock_is_set_right_is_believed_when_it_says_so():
    table = opened(session(ANN, 900_000))
    at = later(30)
    table.hear_clock(BOB, at.wall, at)
    table.hear_clock(ANN, None, at)
    assert table.skew_ms(at) == 900_000
    table.hear_clock(ANN, at.wall, at)
    assert table.skew_ms(at) == 0


def test_a_clock_that_is_off_is_told_once_and_once_more_when_it_is_right():
    table = opened(session(ANN), session(BOB))
    watch = ClockWatch(table, Horizon())
    assert watch.news(later(1)) == []
    [told] = watch.news(later(2, wall=602))
    assert "600 s ahead of its peers'" in told.detail
    assert watch.why_not(later(2, wall=602)) == told.detail
    assert watch.news(later(3, wall=603)) == []
    [right] = watch.news(later(4))
    assert "agrees" in right.detail
    assert watch.news(later(5)) == []


def test_a_pair_is_told_that_it_cannot_tell_who_is_wrong():
    why = ClockWatch(opened(session(ANN)), Horizon()).why_not(later(2, wall=602))
    assert "600 s ahead of its only peer's" in why
    assert "which of the two" in why


def test_a_node_that_lost_its_peers_is_not_told_that_its_clock_is_right():
    table = opened(session(ANN))
    watch = ClockWatch(table, Horizon())
    assert watch.news(later(1, wall=601))
    table.close(ANN)
    assert watch.news(later(2, wall=602)) == []


@pytest.mark.parametrize("ms", [0, 2**53])
def test_a_clock_that_shows_no_possible_time_is_told(ms):
    watch = ClockWatch(opened(), Horizon())
    [told] = watch.news(Now(Instant.nearest(ms), 1.0))
    assert "between 2020 and 2100" in told.detail


def test_a_clock_that_stands_before_the_founding_is_told():
    court, horizon = LedgerFixture(), Horizon()
    watch = ClockWatch(opened(), horizon)
    now = Now(Instant("2021-01-01T00:00:00.000Z"), 1.0)
    horizon.set_time(now.wall)
    assert watch.why_not(now) == ""
    horizon.note(court.found.record)
    assert "before the cluster was founded" in watch.why_not(now)
