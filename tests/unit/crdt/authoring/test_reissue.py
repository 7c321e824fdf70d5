from crdt.authoring import reissue
from crdt.authoring.intents import Receipt
from crdt.authoring.reissue import Reissuer
from crdt.authoring.reissue_body import AlreadySuperseded
from crdt.contract.ready import OwnEnd
from crdt.ledger.feed import Feed
from crdt.primitives import limits
from crdt.primitives.errors import ProposalRefused
from crdt.primitives.identity import FeedId, RecordRef
from crdt.records.bodies import Role
from crdt.sync.session import Session, Sessions
from crdt.wire.messages import Records
from machines import pipeline as p
from tests.support.builders.ledger_fixture import spawn

SOON = limits.WRITE_AGAIN_SECONDS + 1
BEYOND = limits.STAMP_AHEAD_MS_MAX + limits.STAMP_LEEWAY_MS + 1
REFUSED = ProposalRefused("moved on")


def fork(court, pen):
    """The author's feed is cut at its very start."""
    court.take(pen.story("twin-a", clock=0), pen.story("twin-b", clock=0))
    pen.clock = 1


def lost(court, pen):
    return reissue.own_void_records(court.ledger, pen.node)


# What is lost


def test_what_breaks_the_rules_since_the_roster_moved_is_lost_to_its_author(court):
    stranger = court.sam.transition("s-1", p.Accepted())
    mine = court.bob.transition("s-1", p.Abandon(), stranger, ms=court.ms)
    court.take(stranger, mine)
    assert lost(court, court.bob) == []
    court.take(court.ada.member(court.sam.node, Role.MEMBER))
    assert lost(court, court.bob) == [mine]
    assert lost(court, court.cat) == []


def test_a_store_holds_less_of_the_own_feed_than_was_written(court):
    court.take(court.bob.story("s-1"), court.bob.story("s-2"))
    feed = court.feed(court.bob)
    assert reissue.why_short(feed, None) == ""
    assert reissue.why_short(feed, OwnEnd(court.bob.node, 0, 2)) == ""
    assert "less" in reissue.why_short(feed, OwnEnd(court.bob.node, 0, 3))
    assert reissue.why_short(feed, OwnEnd(court.bob.node, 1, 3)) == ""
    assert reissue.why_short(feed, OwnEnd(court.cat.node, 0, 3)) == ""


def test_the_number_of_a_new_feed_is_drawn_and_never_taken(court):
    class Loaded:
        drawn = iter((0, 7, 9))

        def u32(self):
            return next(self.drawn)

    court.take(court.bob.story("s-1", incarnation=7, clock=0))
    assert reissue.draw_incarnation(court.ledger, court.bob.node, Loaded()) == 9


def test_what_a_fork_voids_is_lost_to_its_author_in_order_of_stamps(court):
    fork(court, court.bob)
    later = court.bob.story("later", clock=1, ms=court.ms)
    earlier = court.bob.story("earlier", clock=2, ms=court.ms - 5)
    court.take(later, earlier)
    assert lost(court, court.bob)[-2:] == [earlier, later]
    assert lost(court, court.cat) == []


def test_a_keyed_record_before_the_fork_is_lost_too(court):
    court.bob.clock = 5
    court.take(kept := court.bob.story("kept"), keyed := court.bob.release("s-1"))
    fork(court, court.bob)
    court.take(court.bob.story("x", clock=9))
    assert kept.clock == 5
    assert keyed in lost(court, court.bob)


def test_what_a_revocation_takes_is_not_written_again(court):
    fork(court, court.bob)
    court.take(court.bob.story("a"))
    admission = court.admissions[court.bob.node]
    court.take(court.founder.revocation(court.bob.node, [admission]))
    assert lost(court, court.bob) == []


def test_what_waits_on_disk_for_its_time_is_lost_meanwhile(court):
    ahead = court.bob.story("a", ms=court.ms + BEYOND)
    court.take(ahead, stored=True)
    assert lost(court, court.bob) == [ahead]


def session(pen):
    return Session(pen.node, 0.0, 0.0, 0.0)


def test_an_author_is_handed_back_what_a_fork_took_once_a_session(court):
    fork(court, court.bob)
    court.take(taken := court.bob.story("a"))
    bob = session(court.bob)
    [frame] = reissue.return_void_records(court.ledger, bob)
    assert FeedId(frame.author, frame.incarnation) == taken.feed
    assert (taken.clock, taken.value) in frame.records
    assert list(reissue.return_void_records(court.ledger, bob)) == []
    assert list(reissue.return_void_records(court.ledger, session(court.cat))) == []
    assert len(list(reissue.return_void_records(court.ledger, session(court.bob)))) == 1


def test_an_author_is_handed_back_what_is_held_here_as_ahead(court):
    ahead = court.bob.story("a", ms=court.ms + BEYOND)
    court.take(ahead, stored=True)
    records = ((ahead.clock, ahead.value),)
    handed = reissue.return_void_records(court.ledger, session(court.bob))
    assert list(handed) == [Records(*ahead.feed, records)]


def test_what_is_parked_for_its_stamp_is_written_again_where_peers_vouch_for_the_clock(court):
    ahead = court.bob.story("a", ms=court.ms + limits.STAMP_AHEAD_MS_MAX + 1)
    court.take(ahead)
    sessions = Sessions()
    rewriting = Reissuer(court.bob.node, court.ledger, sessions)
    rewriting.due(0.0)
    assert rewriting.due(limits.WRITE_AGAIN_SECONDS) == []
    sessions.open(session(court.cat))
    rewriting.due(0.0)
    assert rewriting.due(limits.WRITE_AGAIN_SECONDS) == [ahead]


def test_a_cut_feed_of_which_nothing_was_taken_hands_nothing_back(court):
    twins = [court.bob.story(title, clock=7) for title in "ab"]
    court.take(court.bob.story("a", clock=0), court.cat.evidence(*twins))
    assert list(reissue.return_void_records(court.ledger, session(court.bob))) == []


def test_what_a_revocation_took_of_the_key_before_moves_over_to_the_next(court):
    court.take(taken := court.bob.story("a"), court.cat.story("b"))
    admission = court.admissions[court.bob.node]
    court.take(court.founder.revocation(court.bob.node, [admission]))
    assert reissue.own_void_records(court.ledger, court.cat.node, court.bob.node) == [taken]
    assert reissue.own_void_records(court.ledger, court.cat.node) == []


# Whether to go on


def test_a_feed_in_which_all_is_well_is_gone_on_in(court):
    court.take(court.bob.story("a", ms=court.ms + limits.STAMP_AHEAD_MS_MAX))
    assert why_not(court) == ""
    feed = court.ledger.feed(FeedId(court.bob.node, 7))
    assert reissue.new_feed_reason(feed, court.ledger.roster, court.now) == ""


def why_not(court):
    return reissue.new_feed_reason(court.feed(court.bob), court.ledger.roster, court.now)


def test_it_is_not_where_its_own_stamps_are_too_far_ahead(court):
    court.take(court.bob.story("a", ms=court.ms + BEYOND), stored=True)
    assert "further ahead" in why_not(court)


def test_nor_where_it_was_cut_or_taken(court):
    court.take(court.bob.story("a"))
    admission = court.admissions[court.bob.node]
    court.take(court.founder.revocation(court.bob.node, [admission], [(0, 1)]))
    assert "takes the own feed" in why_not(court)
    court.take(court.founder.member(court.bob.node, Role.OBSERVER))
    assert "takes the own feed" in why_not(court)
    court.take(court.founder.member(court.bob.node, Role.MEMBER))
    assert "admission changed" in why_not(court)
    court.take(court.bob.story("twin", clock=0))
    assert "proven at clock 0" in why_not(court)


# When


def test_it_waits_a_little_since_peers_may_know_more(court):
    rewriting = Reissuer(court.bob.node, court.ledger, Sessions())
    assert rewriting.due(0.0) == []
    fork(court, court.bob)
    assert rewriting.due(1.0) == []
    assert rewriting.due(SOON - 0.5) == []
    assert len(rewriting.due(1.0 + SOON)) == 2


def test_each_is_dealt_with_once_whatever_crashes(court):
    rewriting = Reissuer(court.bob.node, court.ledger, Sessions())
    fork(court, court.bob)
    rewriting.due(0.0)
    first, second = rewriting.due(SOON)
    rewriting.settle(first, REFUSED)
    assert rewriting.due(SOON) == [second]
    started = Reissuer(court.bob.node, court.ledger, Sessions())
    started.restore([first.record_id, second.record_id])
    assert started.due(0.0) == started.due(SOON) == []


def settled(rewriting, outcomes):
    """Deal with what is due; return what is reported, and which records were dealt with."""
    rewriting.due(0.0)
    due = rewriting.due(SOON)
    notices = [rewriting.settle(record, outcomes[record.record_id]) for record in due]
    told = [notice for notice in notices if notice is not None]
    assert {notice.what for notice in told} <= {"written_again"}
    return [notice.detail for notice in told], due


def test_much_that_was_lost_is_written_again_a_few_a_tick(court, monkeypatch):
    monkeypatch.setattr(limits, "WRITE_AGAIN_PER_TICK_MAX", 2)
    fork(court, court.bob)
    lost_ones = [court.bob.story(f"s-{number}") for number in range(3)]
    court.take(*lost_ones)
    rewriting = Reissuer(court.bob.node, court.ledger, Sessions())
    rewriting.due(0.0)
    looked = []
    monkeypatch.setattr(Feed, "idle", lambda feed: looked.append(feed) or iter(()))
    written = []
    for tick in range(4):
        for record in rewriting.due(SOON + tick):
            written.append((tick, record))
            rewriting.settle(record, REFUSED)
    # Two that prove the fork, and three behind it; a feed that stays as it is is walked once.
    assert [tick for tick, _ in written] == [0, 0, 1, 1, 2]
    assert [record for _, record in written][2:] == lost_ones
    assert looked == []
    court.take(court.bob.story("s-9"))
    rewriting.due(SOON + 9)
    assert looked == [court.feed(court.bob)]


def test_what_is_written_again_is_told_with_where_it_stood_and_stands(court):
    rewriting = Reissuer(court.bob.node, court.ledger, Sessions())
    fork(court, court.bob)
    first, second = lost(court, court.bob)
    places = {first.record_id: RecordRef(court.bob.node, 7, 0, first.record_id),
              second.record_id: RecordRef(court.bob.node, 7, 1, second.record_id)}  # fmt: skip
    said, due = settled(rewriting, {one: Receipt(*place, ()) for one, place in places.items()})
    short = court.bob.node.short
    assert said == [
        f"story {short}/0 #0 counted nowhere and was written again at {short}/7 #{clock}"
        for clock in (0, 1)
    ]
    assert due == [first, second]
    assert rewriting.moved == places
    assert settled(rewriting, {}) == ([], [])


def test_what_moves_to_the_next_key_moves_at_once_with_nothing_said(court):
    """And what the next key lost itself waits beside it."""
    court.take(taken := court.bob.story("a"))
    admission = court.admissions[court.bob.node]
    court.take(court.founder.revocation(court.bob.node, [admission]))
    end = OwnEnd(court.bob.node, 0, 1)
    rewriting = Reissuer(court.cat.node, court.ledger, Sessions(), court.bob.node, end)
    assert rewriting.due(0.0) == [taken]
    fork(court, court.cat)
    assert rewriting.due(0.0) == [taken]
    assert len(rewriting.due(SOON)) == 3
    place = RecordRef(court.cat.node, 0, 0, taken.record_id)
    assert rewriting.settle(taken, Receipt(*place, ())) is None
    assert rewriting.due(0.0) == []


def test_what_somebody_else_wrote_with_the_former_key_does_not_move(court):
    """Whoever has a key that was replaced says nothing through the next one."""
    court.take(mine := court.bob.story("a"), kept := court.bob.release("s-1"))
    admission = court.admissions[court.bob.node]
    thief = court.bob.story("b"), court.bob.story("c", incarnation=7, clock=0)
    court.take(court.founder.revocation(court.bob.node, [admission], [(0, 2)]), *thief)

    def moving(end):
        rewriting = Reissuer(court.cat.node, court.ledger, Sessions(), court.bob.node, end)
        return rewriting.due(0.0)

    assert moving(OwnEnd(court.bob.node, 0, 2)) == moving(None) == [kept]
    court.take(court.founder.revocation(court.bob.node, [admission]))
    assert moving(OwnEnd(court.bob.node, 0, 2)) == [mine, kept]
    assert moving(OwnEnd(court.bob.node, 0, 1)) == [mine]
    assert moving(None) == []


def test_a_node_knows_whether_something_is_still_to_move_to_its_key(court):
    court.take(kept := court.bob.release("s-1"))
    taken = court.founder.revocation(court.bob.node, [court.admissions[court.bob.node]], [(0, 1)])
    court.take(taken)
    rewriting = Reissuer(court.cat.node, court.ledger, Sessions(), court.bob.node)
    assert rewriting.is_moving()
    observing = Reissuer(court.obs.node, court.ledger, Sessions(), court.bob.node)
    assert not observing.is_moving(), "it writes nothing, and would wait for ever"
    rewriting.settle(kept, REFUSED)
    assert not rewriting.is_moving()


def test_what_no_longer_applies_is_reported_and_what_nobody_misses_is_not(court):
    rewriting = Reissuer(court.bob.node, court.ledger, Sessions())
    fork(court, court.bob)
    first, second = lost(court, court.bob)

    said, due = settled(
        rewriting,
        {first.record_id: AlreadySuperseded("said since"), second.record_id: REFUSED},
    )
    assert said == [
        f"story {court.bob.node.short}/0 #0 counts nowhere and was not written again: moved on"
    ]
    assert due == [first, second]
    assert rewriting.moved == {}


def test_what_is_dead_in_a_feed_that_was_cut_may_be_written_again(court):
    record = spawn(court.bob)
    court.take(record, spawn(court.cat))
    assert list(reissue.dead(court.ledger)) == []
    twin = court.bob.story("twin", clock=record.clock)
    court.take(twin)
    assert {one.record_id for one in reissue.dead(court.ledger)} == {
        record.record_id,
        twin.record_id,
    }
