import pytest

from crdt.contract.ready import ClaimMoved, EventLost, ExecutionMoved, RecordAdmitted, StageMoved
from crdt.observer import Observer
from crdt.primitives.hlc import Stamp
from crdt.records.bodies import Claim, Role
from machines import pipeline as p
from machines.values import Instant, StoryId
from tests.support.builders.ledger_fixture import LedgerFixture, spawn


class Told:
    """A chronicle kept by bob."""

    def __init__(self):
        self.court = LedgerFixture()
        self.chronicle = Observer(self.court.bob.node, self.court.board)
        self.observe()

    def observe(self, live=(), ms=None):
        return self.chronicle.observe(live, Instant.from_ms(ms or self.court.ms))

    def after(self, *records, ms=None):
        return self.observe(self.court.take(*records).live, ms)


@pytest.fixture
def told():
    return Told()


def claim(pen, ms, since_ms, until_ms):
    body = Claim(
        at=pen.at(ms), n=0, key=StoryId("s-1"),
        since=Stamp(Instant.from_ms(since_ms), 0), until=Instant.from_ms(until_ms),
    )  # fmt: skip
    return pen.write(body)


def test_a_stage_that_moved_is_told_with_its_event_and_what_it_asks_for(told):
    first = told.court.bob.transition("s-1", p.DepsMet())
    [moved] = told.after(first)
    assert isinstance(moved, StageMoved)
    assert (moved.story, moved.before, moved.after) == ("s-1", p.Backlog(), p.Coding())
    assert (moved.record, moved.event, moved.late, moved.own) == (
        first.ref,
        "deps_met",
        False,
        True,
    )
    assert [(action.name, action.on) for action in moved.actions] == [("start_agent", "entry")]


def test_a_stage_that_moved_past_several_events_asks_for_nothing_that_is_over(told):
    first = told.court.cat.transition("s-1", p.DepsMet())
    second = told.court.cat.transition("s-1", p.GatesStarted(), first)
    [moved] = told.after(first, second)
    assert (moved.after, moved.event, moved.own) == (p.Qa(), "gates_started", False)
    assert moved.actions == ()  # backlog ignores gates_started


def test_a_stage_that_was_taken_back_has_no_event(told):
    first = told.court.cat.transition("s-1", p.DepsMet(), clock=0)
    told.after(first)
    twin = told.court.cat.story("s-2", clock=0)
    moves = [one for one in told.after(twin) if isinstance(one, StageMoved)]
    assert [(one.after, one.event, one.record, one.own) for one in moves] == [
        (p.Backlog(), "", None, False)
    ]


def test_an_event_that_lost_is_told_with_what_beat_it(told):
    first = told.court.bob.transition("s-1", p.DepsMet(), ms=told.court.ms)
    told.after(first)
    second = told.court.cat.transition("s-1", p.DepsMet(), ms=told.court.ms + 1)
    [lost] = told.after(second)
    assert isinstance(lost, EventLost)
    assert (lost.record, lost.event, lost.beaten_by) == (second.ref, "deps_met", first.ref)


def test_an_execution_is_told_by_its_event_and_state(told):
    record = spawn(told.court.bob)
    assert told.after(record) == [
        ExecutionMoved(
            "s-1", told.court.bob.node, "spawn_requested", "pending", record.ref, own=True
        )
    ]


def test_what_was_stored_is_no_news_but_who_holds_what_is_kept_in_mind(told):
    court, ms = told.court, told.court.ms
    first = court.cat.transition("s-1", p.DepsMet())
    changes = court.take(first, claim(court.cat, ms, ms, ms + 1000), court.ada.story("s-2"))
    told.chronicle.skip(changes.live, Instant.from_ms(ms))
    assert told.observe() == []
    assert told.after(claim(court.cat, ms + 1, ms, ms + 1000), ms=ms + 1) == []
    [moved] = told.after(court.cat.transition("s-1", p.GatesStarted(), first))
    assert (moved.before, moved.after) == (p.Coding(), p.Qa())


def test_every_other_kind_is_told_as_a_record(told):
    records = [told.court.cat.story("s-1"), told.court.ada.member(told.court.sam.node, Role.MEMBER)]
    assert told.after(*records) == [
        RecordAdmitted(record.ref, record.body.kind, own=False) for record in records
    ]


def test_a_claim_is_told_when_another_holds_it_and_to_whom_it_was_lost(told):
    ms, bob, cat = told.court.ms, told.court.bob, told.court.cat
    assert told.after(claim(bob, ms, ms, ms + 9_000)) == [
        ClaimMoved("s-1", None, bob.node, lost_by_us=False)
    ]
    assert told.after(claim(bob, ms + 1, ms, ms + 9_500)) == []  # renewed
    assert told.after(claim(cat, ms + 2, ms - 5, ms + 9_000)) == [
        ClaimMoved("s-1", bob.node, cat.node, lost_by_us=True)
    ]
    assert told.after(cat.release("s-1")) == [
        ClaimMoved("s-1", cat.node, bob.node, lost_by_us=False)
    ]
    assert told.after(bob.release("s-1")) == [ClaimMoved("s-1", bob.node, None, lost_by_us=False)]


def again(told, pen, body, **where):
    """The execution of a record, said again as it was."""
    return told.after(pen.write(body, **where))


def test_an_execution_that_is_written_again_is_no_news(told):
    bob = told.court.bob
    record = spawn(bob)
    assert [type(one) for one in told.after(record)] == [ExecutionMoved]
    assert again(told, bob, record.body, incarnation=1, clock=0) == []


def test_an_execution_that_another_node_began_in_the_same_instant_is_news(told):
    record = spawn(told.court.bob)
    told.after(record)
    [moved] = again(told, told.court.cat, record.body)
    assert moved.node == told.court.cat.node


def test_an_execution_under_the_next_key_of_its_node_is_no_news(told):
    record = spawn(told.court.bob)
    told.after(record)
    told.after(
        told.court.founder.revocation(
            told.court.bob.node, [told.court.admissions[told.court.bob.node]], []
        )
    )
    assert again(told, told.court.cat, record.body) == []


def test_what_was_stored_is_no_news_when_it_is_written_again(told):
    bob = told.court.bob
    record = spawn(bob)
    told.chronicle.skip([record], told.court.now)
    assert again(told, bob, record.body, incarnation=1, clock=0) == []
