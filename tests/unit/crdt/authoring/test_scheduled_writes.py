import pytest

from crdt.authoring.intents import AccuseFork, AcknowledgeEnd, WriteSeal
from crdt.authoring.scheduled_writes import ScheduledWrites
from crdt.primitives import limits
from crdt.primitives.seeded_random import SeededRandom
from machines import pipeline as p
from machines.values import FreeText
from tests.support.builders.ledger_fixture import LedgerFixture
from tests.support.tools.steps import steps

LONG = limits.ACK_AFTER_SECONDS + 1


class Node:
    """What cat owes."""

    def __init__(self):
        self.court = LedgerFixture()
        self.duties = ScheduledWrites(self.court.cat.node, self.court.ledger, SeededRandom(b"seed"))

    def due_commands(self, mono, quiet=0.0):
        return self.duties.due_commands(
            self.court.ledger.feed(self.court.cat.write_feed), quiet, mono
        )


@pytest.fixture
def node():
    made = Node()
    made.court.cat.write_feed = made.court.cat.story("mine").feed
    made.court.cat.clock = 0
    return made


def test_end_by_another_is_acknowledged_after_a_minute(node):
    node.court.take(end := node.court.bob.transition("s-1", p.Abandon()))
    assert node.due_commands(0.0) == []
    node.court.take(node.court.bob.ack("s-1", end))
    assert node.due_commands(limits.ACK_AFTER_SECONDS - 1) == []
    assert node.due_commands(LONG) == [AcknowledgeEnd("s-1")]


def test_an_own_end_is_left_to_the_others(node):
    node.court.take(node.court.cat.transition("s-1", p.Abandon()))
    node.due_commands(0.0)
    assert node.due_commands(LONG) == []


def test_acknowledged_end_needs_no_ack(node):
    end = node.court.bob.transition("s-1", p.Abandon())
    node.court.take(end)
    node.due_commands(0.0)
    node.court.take(node.court.ada.ack("s-1", end))
    assert node.due_commands(LONG) == []


def test_unwritten_ack_is_retried(node):
    node.court.take(end := node.court.bob.transition("s-1", p.Abandon()))
    node.due_commands(0.0)
    assert node.due_commands(LONG) == [AcknowledgeEnd("s-1")]
    assert node.due_commands(LONG + 0.5) == []
    assert node.due_commands(LONG + 1.0) == [AcknowledgeEnd("s-1")]
    node.court.take(node.court.cat.ack("s-1", end))
    assert node.due_commands(LONG + 9.0) == []


def test_acks_are_written_a_few_at_a_time(node, monkeypatch):
    monkeypatch.setattr(limits, "ENDS_PER_TICK_MAX", 20)
    ends = [node.court.bob.transition(f"s-{n}", p.Abandon()) for n in range(50)]
    node.court.take(*ends)
    for tick in range(3):
        assert node.due_commands(tick / 4) == []
    written = []
    for tick in range(3):
        due = node.due_commands(LONG + tick / 4)
        assert len(due) <= limits.ACKS_PER_TICK_MAX
        written += [intent.story for intent in due]
        node.court.take(*(node.court.cat.ack(i.story, ends[int(i.story[2:])]) for i in due))
    assert sorted(written) == sorted(f"s-{n}" for n in range(50))


def test_cost_of_a_tick_with_many_open_ends(node):
    counts = []
    for many in (20, 400):
        node.court.take(
            *(node.court.bob.transition(f"{many}-{n}", p.Abandon()) for n in range(many))
        )
        node.due_commands(0.0)
        counts.append(steps(lambda: node.due_commands(1.0)))
    assert counts[0] == counts[1]


def test_another_end_waits_its_own_minute(node):
    node.court.take(end := node.court.bob.transition("s-1", p.Block(FreeText("why"))))
    assert node.due_commands(0.0) == []
    back = node.court.bob.transition("s-1", p.Unblock(), end)
    node.court.take(back, node.court.bob.transition("s-1", p.Abandon(), back))
    assert node.due_commands(LONG) == []
    assert node.due_commands(2 * LONG + 1) == [AcknowledgeEnd("s-1")]


def test_quiet_feed_is_sealed(node):
    assert node.due_commands(0.0, quiet=limits.SEAL_QUIET_SECONDS) == []
    node.court.take(node.court.cat.story("mine"))
    assert node.due_commands(0.0, quiet=limits.SEAL_QUIET_SECONDS / 2) == []
    assert node.due_commands(0.0, quiet=limits.SEAL_QUIET_SECONDS) == [WriteSeal()]


def test_a_cut_feed_is_not_sealed(node):
    node.court.take(*(node.court.cat.story(title, clock=0) for title in "ab"))
    assert WriteSeal() not in node.due_commands(0.0, quiet=9.0)


def forked(node, pen, clock=0):
    twins = [pen.story(title, clock=clock) for title in "ab"]
    node.court.take(*twins)
    return twins


def test_evidence_is_written_after_a_random_delay(node):
    one, _ = forked(node, node.court.bob)
    seen = [bool(node.due_commands(mono / 10)) for mono in range(60)]
    assert not seen[0]
    assert seen == sorted(seen)
    assert node.due_commands(9.0) == [AccuseFork(one.feed, 0)]


def test_written_evidence_is_not_repeated(node):
    twins = forked(node, node.court.bob)
    node.due_commands(0.0)
    node.court.take(node.court.ada.evidence(*twins))
    assert node.due_commands(9.0) == []


def test_lower_proof_is_written_too(node):
    node.court.take(node.court.ada.evidence(*forked(node, node.court.bob, clock=4)))
    assert node.due_commands(9.0) == []
    one, _ = forked(node, node.court.bob, clock=2)
    node.due_commands(9.0)
    assert node.due_commands(20.0) == [AccuseFork(one.feed, 2)]


def test_fork_of_a_stranger_is_not_evidence_yet(node):
    forked(node, node.court.sam)
    node.due_commands(0.0)
    assert node.due_commands(9.0) == []


def test_evidence_is_rate_limited(node, monkeypatch):
    monkeypatch.setattr(limits, "ACCUSATIONS_BURST", 40)
    node.duties = ScheduledWrites(node.court.cat.node, node.court.ledger, SeededRandom(b"seed"))
    for number in range(60):
        node.court.take(*[node.court.bob.story(t, clock=0, incarnation=number) for t in "ab"])
    assert node.due_commands(0.0) == []
    due = [len(node.due_commands(limits.EVIDENCE_DELAY_SECONDS_MAX)) for _ in range(3)]
    assert due == [limits.ACCUSATIONS_PER_TICK_MAX, 8, 0]
    [one] = node.due_commands(61.0 + limits.EVIDENCE_DELAY_SECONDS_MAX)
    assert isinstance(one, AccuseFork)
