"""What is missing of a feed that is not held as sealed, and what can be said of it."""

from crdt.primitives import limits
from crdt.primitives.identity import FeedId
from crdt.records.digests import seal_digest
from crdt.sync.seal_audit import (
    REPORT_AFTER_SECONDS,
    SealWatch,
    Source,
    SourceState,
    shortfall,
    sources,
)
from crdt.sync.session import Session, Sessions
from machines import pipeline as p
from tests.support.builders.ledger_fixture import spawn


def seal(pen, records, **said):
    """A seal that is true of these records, unless it says otherwise."""
    ids = [record.record_id for record in records]
    count, digest = said.pop("count", len(ids)), said.pop("digest", seal_digest(ids))
    return pen.seal(count, digest, **said)


def found(court, *records):
    court.take(*records)
    return shortfall(court.ledger, court.feed(court.bob))


def runs(found):
    return [list(which) for which in (found.unknown, found.gone, found.not_counted)]


def test_what_is_as_sealed_or_not_sealed_lacks_nothing(court):
    one = court.bob.story("a")
    assert found(court, one) is None
    assert found(court, seal(court.bob, [one])) is None


def test_what_never_came_is_named_by_its_clocks(court):
    records = [court.bob.story(f"s-{n}") for n in range(6)]
    short = found(court, records[0], records[4], seal(court.bob, records))
    assert (short.seal, short.sealed_count, short.held) == (6, 6, 2)
    assert runs(short) == [[(1, 4), (5, 6)], [], []]
    assert not short.unsatisfiable


def test_gap_is_superseded_or_withheld(court):
    records = [court.bob.story(f"s-{n}") for n in range(3)]
    court.take(records[2], seal(court.bob, records))
    court.ledger.believe_gap(records[0].feed, 0, 2)
    short = found(court)
    assert runs(short) == [[], [(0, 2)], []]
    assert not short.unsatisfiable


def test_records_that_do_not_count_are_listed(court):
    """One waits for its parent, one was rejected: both are here, and neither is live."""
    gone = court.cat.transition("s-1", p.DepsMet())
    waits = court.bob.transition("s-1", p.GatesStarted(), gone, ms=court.cat.ms + 1)
    illegal = court.bob.transition("s-2", p.Accepted())
    story = court.bob.story("s-3")
    short = found(court, waits, illegal, story, seal(court.bob, [waits, illegal, story]))
    assert (short.sealed_count, short.held) == (3, 1)
    assert runs(short) == [[], [], [(0, 2)]]
    assert not short.unsatisfiable
    court.take(gone)
    assert runs(found(court)) == [[], [], [(1, 2)]]


def test_pending_record_on_disk_is_not_counted(court):
    early = court.bob.story("s-1", ms=court.ms + 2 * limits.STAMP_AHEAD_MS_MAX)
    court.bob.ms = court.ms
    court.take(early, seal(court.bob, [early]), stored=True)
    assert runs(found(court)) == [[], [], [(0, 1)]]


def test_other_feeds_and_later_clocks_do_not_count(court):
    gone = court.cat.transition("s-1", p.DepsMet())
    waiting = [
        court.bob.transition("s-1", p.GatesStarted(), gone, ms=court.cat.ms + 1, **where)
        for where in ({"incarnation": 7, "clock": 0}, {"clock": 8})
    ]
    illegal = court.bob.transition("s-2", p.Accepted(), incarnation=7, clock=1)
    story = court.bob.story("a", clock=0)
    short = found(court, *waiting, illegal, story, seal(court.bob, [story], count=2, clock=2))
    assert runs(short) == [[(1, 2)], [], []]


def test_seal_of_too_many_is_unsatisfiable(court):
    story = court.bob.story("a")
    assert found(court, story, seal(court.bob, [story], count=2)).unsatisfiable


def test_seal_of_too_few_is_unsatisfiable(court):
    one, two = court.bob.story("a"), court.bob.story("b")
    assert found(court, one, two, seal(court.bob, [one])).unsatisfiable


def test_unsatisfiable_seal_with_equal_count(court):
    story = court.bob.story("a")
    assert found(court, story, seal(court.bob, [story], digest=bytes(32))).unsatisfiable


def test_older_state_and_newer_seal_is_satisfiable(court):
    """The count is the same, and the later record of the key is what is withheld."""
    old, new = spawn(court.bob), spawn(court.bob)
    court.take(old, seal(court.bob, [new]))
    court.ledger.believe_gap(old.feed, 0, 2)
    short = found(court)
    assert (short.sealed_count, short.held, runs(short)) == (1, 1, [[], [(1, 2)], []])
    assert not short.unsatisfiable


def test_gap_below_every_key_cannot_satisfy_a_seal(court):
    court.bob.clock = 1
    state = spawn(court.bob)
    court.take(state, seal(court.bob, [state], digest=bytes(32)))
    court.ledger.believe_gap(state.feed, 0, 1)
    assert found(court).unsatisfiable


# Who might have it


def linked(*peers):
    sessions = Sessions()
    for peer in peers:
        sessions.open(Session(peer, since=0.0, ahead_ms=0.0, next_offer=0.0))
    return sessions


def test_author_is_the_first_source(court):
    records = [court.bob.story(f"s-{n}") for n in range(2)]
    court.take(records[0], seal(court.bob, records))
    feed = court.feed(court.bob)
    own = court.founder.node
    roads = {one.node: one.state for one in sources(court.ledger, linked(), own, feed)}
    assert roads == dict.fromkeys(
        [court.bob.node, *sorted(pen.node for pen in (court.ada, court.cat, court.obs))],
        SourceState.NOT_LINKED,
    )
    assert next(iter(roads)) == court.bob.node

    admission = court.admissions[court.cat.node]
    court.take(court.founder.revocation(court.cat.node, [admission]))
    assert court.cat.node not in {one.node for one in sources(court.ledger, linked(), own, feed)}


def test_what_a_session_knows_of_a_peer(court):
    records = [court.bob.story(f"s-{n}") for n in range(2)]
    court.take(records[0], seal(court.bob, records))
    feed = court.feed(court.bob)
    sessions = linked(court.ada.node)
    session = sessions.get(court.ada.node)

    def road():
        (one,) = (
            one
            for one in sources(court.ledger, sessions, court.founder.node, feed)
            if one.node == court.ada.node
        )
        return one

    assert road() == Source(court.ada.node, SourceState.NOT_COMPARED)
    session.agrees = False
    session.compared = True
    assert road() == Source(court.ada.node, SourceState.SAME)
    assert session.may_compare(feed.id, feed.digest(), b"another", 7.0)
    assert road() == Source(court.ada.node, SourceState.ASKED, 7.0)
    assert session.may_compare(feed.id, feed.digest(), b"another", 8.0)
    assert road() == Source(court.ada.node, SourceState.ASKED, 8.0)
    # It came to hold what this node does: it lacks the same.
    assert session.may_compare(feed.id, b"", feed.digest(), 9.0)
    assert road() == Source(court.ada.node, SourceState.SAME)
    session.may_compare(feed.id, feed.digest(), b"another", 10.0)
    session.agrees = True
    assert road() == Source(court.ada.node, SourceState.SAME)


# Telling the operator


def test_mismatch_and_recovery_are_reported_once(court):
    watch = SealWatch(court.ledger)
    records = [court.bob.story(f"s-{n}") for n in range(2)]
    court.take(records[0], seal(court.bob, records))
    said = {}
    for second in range(0, 300, 5):
        if second == 200:
            court.take(records[1])
        for one in watch.news(float(second)):
            said[second] = (one.what, one.detail, one.node)
    bob = court.bob.node
    assert said == {
        REPORT_AFTER_SECONDS: ("seal", f"{bob.short}/0 is not as its author sealed it", bob),
        210: ("seal", f"{bob.short}: every feed is held as sealed again", bob),
    }


def test_records_on_their_way_are_not_reported(court):
    watch = SealWatch(court.ledger)
    records = [court.bob.story(f"s-{n}") for n in range(2)]
    court.take(records[0], seal(court.bob, records))
    assert watch.news(0.0) == []
    court.take(records[1])
    assert watch.news(REPORT_AFTER_SECONDS) == []
    # It begins anew: what was once seen and healed counts for nothing later.
    court.take(court.bob.seal(9, bytes(32)))
    assert watch.news(2 * REPORT_AFTER_SECONDS) == []
    assert len(watch.news(3 * REPORT_AFTER_SECONDS)) == 1


def test_author_of_many_feeds_is_reported_once(court):
    watch = SealWatch(court.ledger)
    for incarnation in range(1, 200):
        court.take(court.bob.seal(9, bytes(32), incarnation=incarnation, clock=0))
    watch.news(0.0)
    assert len(watch.news(REPORT_AFTER_SECONDS)) == 1
    assert FeedId(court.bob.node, 199) in court.ledger.feeds
