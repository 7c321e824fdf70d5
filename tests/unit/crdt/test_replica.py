"""Whole replicas, with real signed records, carried by hand."""

import pytest

from crdt.errors import EventIgnored, NotWritable, ProposalRefused, UnknownStory
from crdt.intents import AddStory
from machines import pipeline as p
from machines.values import BranchName, FreeText, GitSha, Instant, StoryId
from tests.support.cluster import Cluster

BRANCH = BranchName("feature/x")


@pytest.fixture
def trio():
    cluster = Cluster(3)
    cluster.admit_all()
    cluster.link_all()
    cluster.deliver()
    cluster.settle(3)
    return cluster


def test_three_nodes_agree_on_a_story_driven_through_the_whole_pipeline(trio):
    trio.add(1, "s-1", title=FreeText("first"))
    trio.deliver()
    for number, event in (
        (0, p.DepsMet()),
        (1, p.GatesStarted()),
        (2, p.GatesPassed(BRANCH, 2)),
        (0, p.MergeSucceeded(GitSha("abc123"))),
        (1, p.Accepted()),
    ):
        trio.fire(number, "s-1", event)
        trio.deliver()
    trio.assert_agreed()
    view = trio.replicas[2].ledger.board.story("s-1")
    assert view.title == "first"
    assert view.stage.reason == p.Completed()
    assert not trio.faults
    assert not any(trio.quarantined)


def test_a_caller_who_fires_what_the_stage_ignores_is_told_what_is_legal(trio):
    trio.add(0, "s-1")
    before = dict(trio.stores[0])
    with pytest.raises(EventIgnored) as refusal:
        trio.fire(0, "s-1", p.Accepted())
    assert refusal.value.legal[0] == "deps_met"
    with pytest.raises(UnknownStory):
        trio.fire(0, "s-2", p.DepsMet())
    with pytest.raises(ProposalRefused):
        trio.propose(0, AddStory(StoryId("s-1")))
    assert trio.stores[0] == before


def test_a_message_lost_costs_one_anti_entropy_period(trio):
    trio.add(0, "s-1")
    trio.wire.clear()
    trio.fire(0, "s-1", p.DepsMet())
    trio.wire.clear()
    assert len(trio.digests()) == 2
    trio.settle()
    trio.assert_agreed()


def test_a_node_away_for_many_records_catches_up(trio):
    trio.unlink(0, 2)
    trio.unlink(1, 2)
    for number in range(300):
        trio.add(number % 2, f"s-{number}")
        trio.deliver()
    trio.settle(5)
    trio.link(0, 2)
    trio.deliver()
    trio.assert_agreed()
    assert len(trio.replicas[2].ledger.board) == 300


def test_two_nodes_move_one_story_at_the_same_moment(trio):
    trio.add(0, "s-1")
    trio.fire(0, "s-1", p.DepsMet())
    trio.deliver()
    won = trio.fire(1, "s-1", p.GatesStarted())
    lost = trio.fire(2, "s-1", p.QaSkipped(BRANCH, 1))
    trio.deliver()
    trio.assert_agreed()
    view = trio.replicas[0].ledger.board.story("s-1")
    assert view.stage == p.Qa()
    [conflict] = view.conflicts
    assert conflict.record == (lost.author, lost.incarnation, lost.clock, lost.record_id)
    assert conflict.beaten_by.record_id == won.record_id


def test_a_restart_gives_back_the_same_digest_and_view_from_the_rows(trio):
    trio.add(0, "s-1", title=FreeText("first"))
    trio.fire(0, "s-1", p.DepsMet())
    trio.deliver()
    trio.settle(3)
    digest = trio.replicas[1].document_digest()
    vector = trio.replicas[1].state_vector()
    trio.restart(1)
    assert trio.replicas[1].document_digest() == digest
    assert trio.replicas[1].state_vector() == vector
    trio.assert_agreed()


def test_a_clock_that_goes_wrong_or_is_put_right_while_links_are_up_is_noticed(trio):
    off_ms = 0
    right = trio.now_of

    def now_of(number):
        now = right(number)
        return now._replace(wall=Instant.from_ms(now.wall.ms + off_ms)) if number == 2 else now

    trio.now_of = now_of
    off_ms = 600_000
    trio.settle(16)
    with pytest.raises(NotWritable, match=r"600 s ahead of its peers"):
        trio.add(2, "s-1")
    trio.add(0, "s-2")
    off_ms = 0
    trio.settle(16)
    trio.add(2, "s-1")
    trio.settle(2)
    trio.assert_agreed()
