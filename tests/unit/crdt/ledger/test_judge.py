import pytest

from crdt.ledger.judge import (
    ADMITTED,
    VOID_FORK,
    VOID_REVOKED,
    Admitted,
    Deferred,
    Rejected,
    is_cut,
    judge,
)
from crdt.primitives.errors import Reason
from crdt.records.bodies import Role
from crdt.views.roster import Roster
from machines import execution as x
from machines import pipeline as p
from machines.values import FreeText, Instant
from tests.support.builders.ledger_fixture import CODER, spawn

WHY = FreeText("why")


class World:
    """What a verdict may rest on, said outright."""

    def __init__(self, court):
        self.court = court
        self.statements = [court.found.record, *court.admissions.values()]
        self.forks = {}
        self.held = []
        self.rejected = []
        self.built_upon = []

    @property
    def roster(self):
        return Roster(self.court.founder.node, self.statements)

    def fork_of(self, feed):
        return self.forks.get(feed)

    def find(self, ref):
        return next((record for record in self.held if record.ref == ref), None)

    def is_rejected(self, ref):
        return ref in self.rejected

    def is_built_upon(self, record):
        return record in self.built_upon


@pytest.fixture
def world(court):
    return World(court)


def told(world, record):
    return judge(record, world, Instant.from_ms(world.court.ms))


def reason(world, record):
    verdict = told(world, record)
    assert isinstance(verdict, Rejected)
    assert verdict.detail
    return verdict.reason


# Who writes


def test_a_members_record_is_admitted(court, world):
    assert told(world, court.bob.story("s-1")) == Admitted(built_upon=False)


def test_who_is_an_observer_since_a_revocation_wrote_in_a_role_that_was_taken(court, world):
    story = court.bob.story("s-1")
    world.statements += [
        court.founder.revocation(court.bob.node, [court.admissions[court.bob.node]]),
        court.founder.member(court.bob.node, Role.OBSERVER),
    ]
    assert told(world, story) == VOID_REVOKED


def test_a_statement_of_an_admin_that_was_is_void_and_a_members_is_not_allowed(court, world):
    statements = [
        court.ada.member(court.sam.node, Role.MEMBER), court.ada.revocation(court.cat.node, []),
    ]  # fmt: skip
    world.statements += [
        court.founder.revocation(court.ada.node, [court.admissions[court.ada.node]]),
        court.founder.member(court.ada.node, Role.MEMBER),
    ]
    assert [told(world, one) for one in statements] == [VOID_REVOKED] * 2
    assert told(world, court.ada.story("s-1")) == ADMITTED
    assert reason(world, court.bob.member(court.sam.node, Role.MEMBER)) is Reason.NOT_ALLOWED
    # An admin's word that goes beyond what an admin may say was never right.
    assert reason(world, court.founder.revocation(court.founder.node, [])) is Reason.NOT_ALLOWED


def test_a_strangers_record_waits_for_somebody_to_admit_him(court, world):
    assert told(world, court.sam.story("s-1")) == Deferred(Reason.UNKNOWN_AUTHOR)


def test_an_observer_writes_nothing(court, world):
    assert reason(world, court.obs.story("s-1")) is Reason.NOT_ALLOWED


def test_a_slot_that_a_revocation_takes_is_void(court, world):
    admission = court.admissions[court.bob.node]
    world.statements.append(court.founder.revocation(court.bob.node, [admission], [(0, 1)]))
    assert told(world, court.bob.story("s-1", clock=0)) == ADMITTED
    assert told(world, court.bob.story("s-1", clock=1)) == VOID_REVOKED


# When


def test_a_stamp_after_the_latest_that_counts_waits_and_is_not_rejected(court, world):
    assert told(world, court.bob.story("s-1", ms=court.ms)) == ADMITTED
    assert told(world, court.bob.story("s-1", ms=court.ms + 1)) == Deferred(Reason.STAMP_AHEAD)
    later = court.bob.transition("s-1", p.Accepted(), ms=court.ms + 1)
    assert told(world, later) == Deferred(Reason.STAMP_AHEAD)


# Forks


def test_a_fork_voids_what_lies_at_or_after_it(court, world):
    before, at, after = (court.bob.story("s-1") for _ in range(3))
    world.forks[at.feed] = 1
    assert [told(world, record) for record in (before, at, after)] == [
        ADMITTED, VOID_FORK, VOID_FORK,
    ]  # fmt: skip


def test_authority_stays_live_behind_its_authors_fork(court, world):
    admission = court.ada.member(court.sam.node, Role.MEMBER)
    take = court.ada.revocation(court.sam.node, [admission])
    story = court.ada.story("s-1")
    world.statements += [admission, take]
    world.forks[admission.feed] = 0
    assert [told(world, record) for record in (admission, take, story)] == [
        ADMITTED, ADMITTED, VOID_FORK,
    ]  # fmt: skip


def test_what_others_built_upon_stays(court, world):
    began = court.bob.transition("s-1", p.DepsMet())
    world.forks[began.feed] = 0
    assert told(world, began) == VOID_FORK
    world.built_upon.append(began)
    assert told(world, began) == Admitted(built_upon=True)


def test_what_breaks_the_rules_is_rejected_behind_a_fork_too(court, world):
    illegal = court.bob.transition("s-1", p.Accepted())
    world.forks[illegal.feed] = 0
    world.built_upon.append(illegal)
    assert reason(world, illegal) is Reason.ILLEGAL_TRANSITION


def test_a_slot_is_cut_by_a_fork_and_by_a_revocation(court, world):
    feed = court.bob.story("s-1").feed
    assert not is_cut(world, feed, 5)
    world.forks[feed] = 5
    assert [is_cut(world, feed, clock) for clock in (4, 5, 6)] == [False, True, True]
    admission = court.admissions[court.bob.node]
    world.statements.append(court.founder.revocation(court.bob.node, [admission], [(0, 2)]))
    assert [is_cut(world, feed, clock) for clock in (1, 2)] == [False, True]


def test_what_was_built_on_a_role_that_is_gone_is_merged(court, world):
    """Its author could not know that the other is an observer now, in all that he wrote."""
    began = court.bob.transition("s-1", p.DepsMet())
    built = court.cat.transition("s-1", p.GatesStarted(), began)
    world.held.append(began)
    assert told(world, built) == ADMITTED
    admission = court.admissions[court.bob.node]
    world.statements += [
        court.founder.revocation(court.bob.node, [admission]),
        court.founder.member(court.bob.node, Role.OBSERVER),
    ]
    assert told(world, began) == VOID_REVOKED
    world.held = []
    assert is_cut(world, began.feed, began.clock)
    assert told(world, built) == ADMITTED


# Transitions


def test_an_event_without_a_parent_acts_on_backlog(court, world):
    assert told(world, court.bob.transition("s-1", p.DepsMet())) == ADMITTED
    verdict = told(world, court.bob.transition("s-1", p.GatesStarted()))
    assert verdict == Rejected(Reason.ILLEGAL_TRANSITION, "backlog ignores gates_started")


def test_an_event_acts_on_the_stage_that_its_parent_made(court, world):
    parent = court.bob.transition("s-1", p.DepsMet())
    world.held.append(parent)
    assert told(world, court.cat.transition("s-1", p.GatesStarted(), parent, ms=court.ms)) == (
        ADMITTED
    )
    assert (
        reason(world, court.cat.transition("s-1", p.DepsMet(), parent, ms=court.ms))
        is Reason.ILLEGAL_TRANSITION
    )


def test_after_an_unblock_the_parent_is_the_unblock_and_the_stage_backlog(court, world):
    parent = court.bob.transition("s-1", p.Unblock())
    world.held.append(parent)
    child = court.bob.transition("s-1", p.DepsMet(), parent)
    assert told(world, child) == ADMITTED


def test_one_whose_parent_is_not_here_waits_for_it(court, world):
    parent = court.bob.transition("s-1", p.DepsMet())
    child = court.cat.transition("s-1", p.GatesStarted(), parent)
    assert told(world, child) == Deferred(Reason.MISSING_PARENT)


def test_one_whose_parent_was_rejected_is_rejected(court, world):
    parent = court.bob.transition("s-1", p.Accepted())
    world.rejected.append(parent.ref)
    child = court.cat.transition("s-1", p.GatesStarted(), parent)
    assert reason(world, child) is Reason.REJECTED_PARENT


def test_a_parent_of_another_story_or_kind_is_illegal(court, world):
    other, story = court.bob.transition("s-2", p.DepsMet()), court.bob.story("s-1")
    world.held += [other, story]
    for parent in (other, story):
        child = court.cat.transition("s-1", p.GatesStarted(), parent, ms=court.ms)
        assert reason(world, child) is Reason.ILLEGAL_TRANSITION


@pytest.mark.parametrize(
    ("later", "verdict"),
    [(-1, Reason.STAMP_BACKWARDS), (0, Reason.STAMP_BACKWARDS), (1, None)],
)
def test_an_event_is_stamped_later_than_its_parent(court, world, later, verdict):
    parent = court.bob.transition("s-1", p.DepsMet(), ms=court.ms)
    world.held.append(parent)
    child = court.cat.transition("s-1", p.GatesStarted(), parent, ms=court.ms + later)
    court.ms += 1
    if verdict is None:
        assert told(world, child) == ADMITTED
    else:
        assert reason(world, child) is verdict


def test_whoever_builds_on_what_was_cut_since_could_not_know(court, world):
    """Merged whatever it says: the fold decides."""
    parent = court.bob.transition("s-1", p.DepsMet(), ms=court.ms)
    child = court.cat.transition("s-1", p.Accepted(), parent, ms=court.ms - 1)
    world.held.append(parent)
    assert reason(world, child) is Reason.STAMP_BACKWARDS
    world.forks[parent.feed] = 0
    assert told(world, child) == ADMITTED
    world.forks.clear()
    admission = court.admissions[court.bob.node]
    world.statements.append(court.founder.revocation(court.bob.node, [admission]))
    assert told(world, child) == ADMITTED


def test_whoever_builds_on_a_strangers_event_waits_for_nobody(court, world):
    parent = court.sam.transition("s-1", p.DepsMet())
    assert told(world, court.cat.transition("s-1", p.GatesStarted(), parent)) == ADMITTED


# Executions


def test_an_execution_follows_from_what_it_says_itself(court, world):
    assert told(world, spawn(court.bob)) == ADMITTED


def test_an_execution_event_that_is_ignored_is_rejected(court, world):
    record = court.bob.execution("s-1", x.Idle(), x.Heartbeat(), x.Idle())
    assert told(world, record) == Rejected(Reason.ILLEGAL_EXECUTION, "idle ignores heartbeat")


def test_an_execution_whose_state_is_another_is_rejected(court, world):
    at = court.bob.at()
    stated = x.Pending(CODER, court.bob.at())
    record = court.bob.execution("s-1", x.Idle(), x.SpawnRequested(CODER), stated, ms=at.ms)
    assert reason(world, record) is Reason.ILLEGAL_EXECUTION


# Authority


def test_an_admission_that_does_not_count_is_rejected(court, world):
    record = court.bob.member(court.sam.node, Role.MEMBER)
    world.statements.append(record)
    assert reason(world, record) is Reason.NOT_ALLOWED
    assert "member" in told(world, record).detail


def test_a_revocation_that_its_author_may_not_write_is_rejected(court, world):
    assert reason(world, court.bob.revocation(court.cat.node, [])) is Reason.NOT_ALLOWED
    assert told(world, court.ada.revocation(court.cat.node, [])) == ADMITTED


def test_every_other_kind_is_admitted_from_a_member(court, world):
    end = court.cat.transition("s-1", p.Block(WHY))
    twins = [court.cat.story(title, clock=9) for title in "ab"]
    records = [
        court.bob.ack("s-1", end),
        court.bob.release("s-1"),
        court.bob.evidence(*twins),
        court.bob.raw({"at": str(court.bob.at()), "kind": "weather", "n": 0}),
    ]
    assert [told(world, record) for record in records] == [ADMITTED] * 4
