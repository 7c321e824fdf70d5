import pytest

from crdt.ledger.feed import Entry, EntryStatus, Feed
from crdt.primitives.identity import FeedId, Hash
from crdt.records.bodies import SEAL_KEY, Seal
from crdt.records.digests import feed_digest, seal_digest
from tests.support.builders.ledger_fixture import (
    AHEAD,
    BUILT_UPON,
    VOID_FORK,
    VOID_REVOKED,
    spawn,
)
from tests.support.tools.steps import Walked, steps

ADMITTED = EntryStatus.ADMITTED


def fed(court, *records, verdict=ADMITTED):
    feed = Feed(FeedId(court.bob.node, 0), court.cluster)
    for record in records:
        feed.place(Entry(record, verdict))
    return feed


def sealed(pen, records, *, count=None, digest=None):
    ids = [record.record_id for record in records]
    count = len(ids) if count is None else count
    digest = seal_digest(ids) if digest is None else digest
    return pen.write(Seal(at=pen.at(), n=0, key=SEAL_KEY, count=count, digest=Hash(digest)))


def stated(*records):
    return len(records), seal_digest([record.record_id for record in records])


def twins(court):
    """Two records signed for slot 0, the one with the greater id first."""
    pair = [court.bob.story(title, clock=0) for title in "ab"]
    return sorted(pair, key=lambda record: record.record_id, reverse=True)


def test_a_feed_knows_its_author_and_its_client_id(court):
    feed = fed(court)
    assert feed.author == court.bob.node
    assert feed.client_id == feed.id.client_id(court.cluster)
    assert (feed.next_clock, feed.latest, feed.live()) == (0, None, [])


def test_records_stand_in_order_of_clock_whatever_came_first(court):
    one, two, three = (court.bob.story(name) for name in "abc")
    feed = fed(court, three, one, two)
    assert [entry.record for entry in feed.entries()] == [one, two, three]
    assert feed.next_clock == 3
    assert feed.latest == three.stamp


def test_the_latest_stamp_is_the_greatest_and_not_the_last(court):
    late = court.bob.story("a", ms=court.ms)
    early = court.bob.story("b", ms=court.ms - 5)
    assert fed(court, late, early).latest == late.stamp


def test_twins_stand_in_order_of_their_ids(court):
    greater, lesser = twins(court)
    feed = fed(court, greater, lesser)
    assert [entry.record for entry in feed.entries()] == [lesser, greater]
    for record in (greater, lesser):
        assert feed.find(0, record.record_id).record is record
    assert feed.find(1, greater.record_id) is None
    assert feed.find(0, court.bob.story("c").record_id) is None


@pytest.mark.parametrize("number", range(3))
def test_one_of_three_in_a_slot_can_be_taken_out(court, number):
    three = [court.bob.story(title, clock=0) for title in "abc"]
    feed = fed(court, *three)
    gone = three.pop(number)
    feed.withdraw(feed.find(0, gone.record_id))
    assert {entry.record.record_id for entry in feed.entries_at(0)} == {
        record.record_id for record in three
    }
    assert list(feed.gaps()) == []


def test_a_slot_from_which_the_last_is_taken_is_empty(court):
    record = court.bob.story("a")
    feed = fed(court, record)
    feed.withdraw(feed.find(0, record.record_id))
    assert list(feed.entries()) == []
    assert list(feed.gaps()) == [(0, 1)]
    feed.forget(0)
    assert list(feed.gaps()) == []
    assert list(feed.unknown(1)) == [(0, 1)]
    feed.place(Entry(record, ADMITTED))
    assert list(feed.gaps()) == []


def test_a_gap_goes_round_what_is_held(court):
    feed = fed(court, court.bob.story("a", clock=2), court.bob.story("b", clock=5))
    feed.empty(0, 8)
    assert list(feed.gaps()) == [(0, 2), (3, 5), (6, 8)]
    assert feed.next_clock == 8
    feed.empty(3, 4)
    assert feed.next_clock == 8


def test_live_is_what_was_admitted_or_built_upon(court):
    record = court.bob.story("a")
    for verdict, live in (
        (ADMITTED, True),
        (BUILT_UPON, True),
        (VOID_FORK, False),
        (VOID_REVOKED, False),
        (AHEAD, False),
    ):
        assert bool(fed(court, record, verdict=verdict).live()) is live


def test_nothing_with_a_key_is_live_behind_a_fork_or_a_kept_clock(court):
    plain, keyed = court.bob.story("a"), spawn(court.bob)
    feed = fed(court, plain, keyed)
    assert feed.live() == [plain, keyed]
    for fork, keeps in ((9, False), (None, True)):
        feed.fork, feed.keeps = fork, keeps
        feed.invalidate()
        assert feed.live() == [plain]


def test_the_digest_follows_the_live_records(court):
    one, two = court.bob.story("a"), court.bob.story("b")
    feed = fed(court, one)
    before = feed.digest()
    assert before == feed.digest() == feed_digest([one.record_id])
    feed.place(Entry(two, ADMITTED))
    assert feed.digest() == feed_digest([one.record_id, two.record_id])
    feed.withdraw(feed.find(1, two.record_id))
    assert feed.digest() == before


def test_who_has_looked_sees_what_comes_and_goes_in_any_order(court):
    one, two, three = (court.bob.story(name) for name in "abc")
    void = court.bob.story("d", clock=3)
    feed = fed(court, one)
    assert feed.live() == [one]
    feed.place(Entry(three, ADMITTED))
    assert feed.live() == [one, three]
    feed.place(Entry(two, ADMITTED))
    assert feed.live() == [one, two, three]
    feed.place(Entry(void, VOID_FORK))
    feed.withdraw(feed.find(3, void.record_id))
    feed.withdraw(feed.find(1, two.record_id))
    assert feed.live() == [one, three]


def test_live_records_are_found_by_range_of_clocks(court):
    records = [court.bob.story("a", clock=clock) for clock in (1, 3, 4)]
    feed = fed(court, *records)
    assert feed.live_between(0, 9) == records
    assert feed.live_between(1, 4) == records[:2]
    assert feed.live_between(2, 3) == []


def test_a_feed_is_as_sealed_where_count_and_hash_agree(court):
    records = [court.bob.story("a"), court.bob.story("b")]
    assert fed(court, *records).as_sealed() is None
    seal = sealed(court.bob, records)
    whole = fed(court, *records, seal)
    assert whole.as_sealed() is True
    assert whole.as_sealed() is True  # as it was kept
    assert whole.last_seal() is seal
    assert fed(court, records[0], seal).as_sealed() is False  # one is withheld
    assert fed(court, seal).as_sealed() is False


def test_a_false_seal_shows(court):
    records = [court.bob.story("a")]
    wrong = sealed(court.bob, records, count=2)
    assert fed(court, *records, wrong).as_sealed() is False
    lie = sealed(court.bob, records, digest=bytes(32))
    assert fed(court, *records, lie).as_sealed() is False


def test_a_seal_counts_no_older_seal(court):
    one = court.bob.story("a")
    old, two = sealed(court.bob, [one]), court.bob.story("b")
    assert fed(court, one, old, two).sealable(3) == stated(one, two)
    assert fed(court, one, old, two).sealable(2) == stated(one)
    assert fed(court, one, old, two, sealed(court.bob, [one, two])).as_sealed() is True


def test_a_seal_behind_which_something_stands_is_not_the_feeds_seal(court):
    one = court.bob.story("a")
    seal = sealed(court.bob, [one])
    assert fed(court, one, seal, court.bob.story("b")).last_seal() is None
    behind = fed(court, one, seal)
    behind.empty(2, 3)
    assert behind.last_seal() is None


def test_the_rendering_reaches_up_to_the_first_unknown_slot(court):
    feed = fed(court, court.bob.story("a", clock=0), court.bob.story("b", clock=3))
    assert feed.shown_end(0) == feed.known_end() == 1
    feed.empty(1, 3)
    assert feed.known_end() == 4


def test_the_document_goes_on_behind_what_waits_and_the_store_does_not(court):
    feed = fed(court, *[court.bob.story("s", clock=clock) for clock in (0, 2, 4)])
    feed.pass_over(1)
    feed.pass_over(3)
    assert feed.shown_end(0) == 5
    assert feed.known_end() == 1
    feed.place(Entry(court.bob.story("late", clock=1), ADMITTED))
    assert list(feed.passed) == [(3, 4)]
    assert feed.known_end() == 3


def test_the_rendering_shows_what_is_live_and_nothing_behind_a_fork(court):
    one, two = court.bob.story("a"), court.bob.story("b")
    feed = fed(court, one, two)
    feed.empty(2, 3)
    assert feed.rendered_records(0, 4) == [one, two]
    feed.judge(feed.find(0, one.record_id), VOID_REVOKED)
    assert feed.rendered_records(0, 4) == [two]
    feed.judge(feed.find(1, two.record_id), BUILT_UPON)
    feed.fork = 1
    assert feed.rendered_records(0, 4) == []


def test_what_is_neither_held_nor_empty_is_unknown(court):
    feed = fed(court, *(court.bob.story("a", clock=clock) for clock in (2, 3, 9)))
    assert list(feed.unknown(feed.next_clock)) == [(0, 2), (4, 9)]
    feed.empty(1, 2)
    feed.empty(5, 6)
    assert list(feed.unknown(feed.next_clock)) == [(0, 1), (4, 5), (6, 9)]
    assert list(feed.unknown(5)) == [(0, 1), (4, 5)]
    assert list(feed.unknown(0)) == []
    feed.empty(0, 12)
    assert list(feed.unknown(feed.next_clock)) == []


@pytest.mark.parametrize("end", [6, 2**31])
def test_what_is_held_between_two_clocks_is_found_however_far_apart_they_are(court, end):
    records = [court.bob.story("a", clock=clock) for clock in (1, 3, 4, 5)]
    twin = court.bob.story("b", clock=3)
    feed = fed(court, *records, twin)
    found = [entry.record for entry in feed.entries_between(3, end)]
    both = sorted((twin, records[1]), key=lambda record: record.record_id)
    assert found == [*both, *records[2:]]
    assert [entry.record for entry in feed.entries_between(4, 5)] == [records[2]]


def test_a_gap_is_believed_below_a_record_alone(court):
    feed = fed(court, court.bob.story("a", clock=3))
    assert not feed.believe_gap(3, 9)
    assert feed.believe_gap(1, 9)
    assert list(feed.gaps()) == [(1, 3)]
    assert not fed(court).believe_gap(0, 9)


def test_what_was_superseded_has_melted_once_nothing_is_in_its_slot(court):
    old, story, new, other = (
        spawn(court.bob), court.bob.story("a"), spawn(court.bob), spawn(court.bob, "s-2")
    )  # fmt: skip
    feed = fed(court, new, other)
    feed.keys = {("execution", "s-1"): new.clock, ("execution", "s-2"): other.clock}
    assert not feed.has_melted(old), "nothing is known of its slot"
    feed.empty(0, 2)
    assert feed.has_melted(old)
    assert not feed.has_melted(story), "nothing supersedes a record without a key"
    assert not feed.has_melted(new)
    feed.keys = {}
    assert not feed.has_melted(old), "its gap is all there is of it"
    feed.place(Entry(old, VOID_FORK))
    assert not feed.has_melted(old)


def test_a_record_that_is_judged_anew_comes_and_goes_before_and_after_anybody_looked(court):
    plain, keyed = court.bob.story("a"), spawn(court.bob)
    feed = fed(court, plain, keyed)
    one, two = feed.entries()
    feed.judge(one, VOID_FORK)
    feed.judge(one, VOID_REVOKED)
    assert feed.live() == [keyed]
    feed.judge(two, VOID_FORK)
    assert feed.live() == []
    feed.judge(one, BUILT_UPON)
    assert feed.live() == [plain]
    assert feed.middle(0, 9) == 0
    feed.fork = 0
    feed.invalidate()
    feed.judge(two, ADMITTED)
    assert feed.live() == [plain]


def test_what_is_held_and_not_live_is_found_and_where_all_is_live_nobody_looks(court):
    one, two = court.bob.story("a"), court.bob.story("b")
    feed = fed(court, one, two)
    assert feed.live() == [one, two]
    feed.held = None
    assert list(feed.idle()) == []
    feed = fed(court, one, two)
    feed.judge(entry := feed.find(1, two.record_id), VOID_FORK)
    assert list(feed.idle()) == [entry]
    assert (feed.count, feed.bytes) == (2, len(one.value) + len(two.value))
    feed.withdraw(entry)
    assert list(feed.idle()) == []
    assert (feed.count, feed.bytes) == (1, len(one.value))


def of_length(court, size):
    """Every second slot is held."""
    return fed(court, *(court.bob.story("a", clock=clock) for clock in range(0, 2 * size, 2)))


def test_a_gap_costs_the_same_however_long_the_feed_is(court):
    for feed in (short := of_length(court, 100), long := of_length(court, 800)):
        feed.slots = Walked(feed.slots)

    def believe(feed):
        for clock in range(1, 101, 2):
            feed.believe_gap(clock, clock + 1)
            assert feed.known_end() == clock + 2
        assert next(feed.unknown(feed.next_clock)) == (101, 102)

    assert steps(lambda: believe(long)) == steps(lambda: believe(short))
    assert long.slots.walked == 0


def test_a_record_in_the_midst_of_a_long_feed_costs_what_halving_costs(court):
    short, long = of_length(court, 100), of_length(court, 800)
    record = court.bob.story("a", clock=101)

    def change(feed):
        feed.place(entry := Entry(record, ADMITTED))
        feed.digest()
        feed.judge(entry, VOID_REVOKED)
        feed.digest()
        feed.judge(entry, ADMITTED)
        feed.withdraw(entry)
        return feed.live()

    assert change(short) == [entry.record for entry in short.entries()]
    change(long)
    assert steps(lambda: change(long)) <= steps(lambda: change(short)) + 600
