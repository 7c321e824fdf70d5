import pytest

from crdt.ledger.feed import Entry, Feed
from crdt.ledger.placement import Holdings
from crdt.primitives.errors import Reason
from crdt.records.bodies import Role
from crdt.records.fork_proof import proof_of, proof_side
from crdt.records.record import signed_record
from crdt.records.signatures import verify_batch
from crdt.views.roster import Roster
from machines import pipeline as p
from tests.support.builders.ledger_fixture import (
    ADMITTED,
    BUILT_UPON,
    REJECTED,
    VOID_FORK,
    WAITING,
)


@pytest.fixture
def holdings(court):
    return Holdings(court.cluster, court.founder.node, verify_batch, None)


def hold(holdings, record, verdict=ADMITTED):
    feed = holdings.feeds.setdefault(record.feed, Feed(record.feed, holdings.cluster))
    entry = Entry(record, verdict)
    feed.place(entry)
    holdings.names.add(record)
    return entry


def test_the_very_bytes_of_a_slot_need_not_be_checked_again(court, holdings):
    record = court.bob.story("s-1")
    signed = signed_record(record.feed, record.clock, record.value)
    assert not holdings.has(signed)
    hold(holdings, record)
    assert holdings.has(signed)
    assert not holdings.has(signed._replace(clock=1))
    assert not holdings.has(signed._replace(value=record.value + b"x"))


def test_a_record_is_known_if_it_has_a_place(court, holdings):
    held, waits, turned, new = (court.bob.story(name) for name in "abcd")
    hold(holdings, held)
    holdings.pending.add(waits, Reason.UNKNOWN_AUTHOR)
    holdings.rejected.add(turned, Reason.NOT_ALLOWED)
    assert [holdings.is_known(one) for one in (held, waits, turned, new)] == [True] * 3 + [False]
    for record in (held, waits, turned):
        assert holdings.at(record.feed, record.clock) is record
    assert holdings.at(new.feed, new.clock) is None
    assert holdings.at(court.cat.story("e").feed, 0) is None


def test_a_held_record_is_found_unless_it_waits_or_breaks_the_rules(court, holdings):
    verdicts = (ADMITTED, BUILT_UPON, VOID_FORK, WAITING, REJECTED)
    records = [court.bob.story(str(verdict)) for verdict in verdicts]
    entries = [hold(holdings, *pair) for pair in zip(records, verdicts, strict=True)]
    assert [holdings.entry(record.ref) for record in records] == entries
    assert [holdings.find(record.ref) for record in records] == [*records[:3], None, None]
    assert [holdings.is_rejected(record.ref) for record in records] == [False] * 4 + [True]
    elsewhere = court.cat.story("x")
    assert holdings.entry(elsewhere.ref) is holdings.find(elsewhere.ref) is None
    assert not holdings.is_rejected(elsewhere.ref)
    holdings.rejected.add(elsewhere, Reason.NOT_ALLOWED)
    assert holdings.is_rejected(elsewhere.ref)


def test_a_fork_counts_once_its_author_is_on_the_roster(court, holdings):
    one, two = court.bob.story("a", clock=3), court.bob.story("b", clock=3)
    holdings.proofs[one.feed] = proof_of(one.feed, 3, proof_side(one.value), proof_side(two.value))
    assert holdings.fork_of(one.feed) is None
    admission = court.founder.member(court.bob.node, Role.MEMBER)
    holdings.roster = Roster(court.founder.node, [admission])
    assert holdings.fork_of(one.feed) == 3
    assert holdings.fork_of(court.cat.story("c").feed) is None


def test_an_event_is_built_upon_by_what_counts_and_names_it(court, holdings):
    event = court.bob.transition("s-1", p.DepsMet())
    hold(holdings, event, VOID_FORK)
    assert not holdings.is_built_upon(court.bob.story("s-1"))
    assert not holdings.is_built_upon(event)
    own = court.bob.transition("s-1", p.GatesStarted(), event, ms=court.ms)
    hold(holdings, own)
    holdings.names.add(court.cat.transition("s-1", p.Abandon(), event, ms=court.ms))
    assert not holdings.is_built_upon(event)
    another = court.ada.ack("s-1", event)
    hold(holdings, another)
    assert holdings.is_built_upon(event)
    holdings.entry(another.ref).verdict = VOID_FORK
    assert not holdings.is_built_upon(event)
    holdings.entry(own.ref).verdict = BUILT_UPON
    assert holdings.is_built_upon(event)
