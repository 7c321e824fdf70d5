"""Leaving and changing keys: who may be asked, what is done, and what nobody can forge."""

import pytest

from crdt.authoring import roster_intents as m
from crdt.authoring import roster_requests
from crdt.authoring.intents import ClaimStory, FireExecution
from crdt.contract.ready import Noticed, PetitionAnswered
from crdt.primitives import limits
from crdt.primitives.errors import Reason
from crdt.records.bodies import Role
from crdt.wire.messages import encode_frame
from machines import execution as x
from machines.values import AgentName, FreeText, StoryId
from tests.support.builders.cluster import Cluster, key

NONCE = b"n" * 32
NEXT = key(9)
STORY = StoryId("s-1")


@pytest.fixture
def team():
    """The founder, an admin, and a member that the admin took in."""
    cluster = Cluster(3)
    wish(cluster, 0, m.Admit(cluster.keys[1].pubkey, Role.ADMIN, FreeText("admin")))
    cluster.link_all()
    cluster.deliver()
    wish(cluster, 1, m.Admit(cluster.keys[2].pubkey, Role.MEMBER, FreeText("mem")))
    cluster.add(2, "s-1")
    cluster.deliver()
    return cluster


def wish(cluster, number, what):
    cluster.pass_time(0.01)
    ready, _ = cluster.replicas[number].change_roster(what, cluster.now)
    cluster.carry(number, ready)
    cluster.deliver()


def asked(cluster, who, receiver, successor=None, ms=0):
    wall = cluster.now.wall
    if ms:
        wall = type(wall).from_ms(wall.ms + ms)
    return roster_requests.make_request(
        cluster.keys[who], cluster.replicas[who].ledger, cluster.keys[receiver].pubkey,
        successor, NONCE, wall,
    )  # fmt: skip


def hand(cluster, receiver, petition, *, brought_by=2):
    """Give a petition to a node; gives the word of its answer."""
    peer = cluster.keys[brought_by].pubkey
    ready = cluster.replicas[receiver].receive(peer, encode_frame(petition), cluster.now)
    cluster.carry(receiver, ready)
    if ready.fault is not None:
        return ready.fault.reason
    cluster.deliver()
    answers = [o for o in cluster.observed[brought_by] if isinstance(o, PetitionAnswered)]
    assert answers[-1].nonce == NONCE
    return answers[-1].word


@pytest.mark.parametrize("who_does_it", [0, 1])
def test_a_node_leaves_and_what_it_wrote_stands(team, who_does_it):
    assert hand(team, who_does_it, asked(team, 2, who_does_it)) == "done"
    for replica in team.replicas:
        assert not replica.ledger.roster.belongs(team.keys[2].pubkey)
        assert "s-1" in replica.ledger.board
    team.settle()
    team.assert_agreed()


@pytest.mark.parametrize("successor", [None, NEXT])
def test_answer_arrives_over_the_same_link(team, successor):
    """It is parted from at once: what it is not sent now it would be sent by nobody."""
    team.unlink(0, 2)
    team.unlink(0, 1)
    assert hand(team, 1, asked(team, 2, 1, successor)) == "done"
    assert not team.replicas[2].ledger.roster.belongs(team.keys[2].pubkey)


def test_both_admitting_admins_replace_the_key():
    """Both admitted it at the same moment, and the founder is away."""
    cluster = Cluster(4)
    for number in (1, 2):
        wish(cluster, 0, m.Admit(cluster.keys[number].pubkey, Role.ADMIN, FreeText("admin")))
        cluster.link(0, number)
    cluster.deliver()
    old = cluster.keys[3].pubkey
    for number in (1, 2):
        cluster.unlink(0, number)
        wish(cluster, number, m.Admit(old, Role.MEMBER, FreeText("mem")))
    for one, other in ((1, 2), (1, 3), (2, 3)):
        cluster.link(one, other)
    cluster.deliver()
    assert hand(cluster, 1, asked(cluster, 3, 1, NEXT), brought_by=3) == "done"
    assert cluster.replicas[3].ledger.roster.belongs(old)
    assert hand(cluster, 2, asked(cluster, 3, 2, NEXT), brought_by=3) == "done"
    for number in (1, 2, 3):
        roster = cluster.replicas[number].ledger.roster
        assert not roster.belongs(old)
        assert roster.role(NEXT.pubkey) is Role.MEMBER


def test_work_moves_to_the_next_key(team):
    """Or whoever reports on it before would be told that nothing runs."""
    team.propose(2, FireExecution(STORY, x.SpawnRequested(AgentName("coder"))))
    team.deliver()
    hand(team, 1, asked(team, 2, 1, NEXT))
    old, team.keys[2] = team.keys[2].pubkey, NEXT
    team.links = set()
    team.restart(2, incarnation=0, former=old)
    team.carry(2, team.replicas[2].tick(team.now_of(2)))
    team.propose(2, FireExecution(STORY, x.SpawnedSuccessfully()))
    (execution,) = team.replicas[2].ledger.board.story("s-1").executions
    assert (execution.node, type(execution.state)) == (NEXT.pubkey, x.Running)
    assert not [one for one in team.observed[2] if isinstance(one, Noticed)]


def test_key_is_replaced_and_its_work_moves(team):
    team.propose(2, FireExecution(STORY, x.SpawnRequested(AgentName("coder"))))
    team.propose(2, ClaimStory(STORY, 600))
    team.deliver()
    assert hand(team, 1, asked(team, 2, 1, NEXT)) == "done"
    old = team.keys[2].pubkey
    late = team.stores[2]
    roster = team.replicas[0].ledger.roster
    assert (roster.role(NEXT.pubkey), roster.name(NEXT.pubkey)) == (Role.MEMBER, "mem")
    assert not roster.belongs(old)
    assert late
    team.keys[2] = NEXT
    for one in (0, 1):
        team.replicas[one].disconnected(old)
    team.links = {link for link in team.links if 2 not in link}
    team.restart(2, incarnation=0, former=old)
    team.link(0, 2)
    team.settle()
    team.assert_agreed()
    for replica in team.replicas:
        (execution,) = replica.ledger.board.story("s-1").executions
        assert (execution.node, execution.state.agent) == (NEXT.pubkey, "coder")
        assert replica.ledger.board.holder("s-1", team.now.wall).node == NEXT.pubkey


def test_request_to_the_wrong_node_is_refused(team):
    extra = Cluster(3)
    assert extra.keys[2] != NEXT
    wish(team, 0, m.Promote(team.keys[2].pubkey))  # an admin by the founder's word
    assert hand(team, 1, asked(team, 2, 1, NEXT)) == "cannot_write"
    assert hand(team, 2, asked(team, 0, 2), brought_by=0) == "founder_stays"
    assert hand(team, 2, asked(team, 1, 2), brought_by=1) == "not_yours"
    assert hand(team, 0, asked(team, 2, 0, key(2))) == "known_key"
    assert hand(team, 0, asked(team, 2, 0, ms=400_000)) == "stale"


def test_node_leaves_only_after_its_records_arrive(team):
    team.unlink(1, 2)
    team.unlink(0, 2)
    team.add(2, "s-2")
    petition = asked(team, 2, 1)
    assert team.replicas[1].receive(team.keys[2].pubkey, encode_frame(petition), team.now)
    assert team.replicas[1].ledger.roster.belongs(team.keys[2].pubkey)
    team.link(1, 2)
    team.deliver()
    assert hand(team, 1, asked(team, 2, 1)) == "done"
    assert "s-2" in team.replicas[0].ledger.board


def test_request_cannot_be_relayed_or_changed(team):
    mine = asked(team, 2, 1, NEXT)
    assert hand(team, 1, mine, brought_by=0) == "not_direct"
    assert hand(team, 0, mine) is Reason.BAD_SIGNATURE  # another receiver
    for changed in (
        mine._replace(at_ms=mine.at_ms + 1),
        mine._replace(nonce=b"m" * 32),
        mine._replace(ends=()),
        mine._replace(successor=key(8).pubkey),
        mine._replace(successor=None, signatures=mine.signatures[:1]),
        mine._replace(signatures=(mine.signatures[0], mine.signatures[0])),
    ):
        assert hand(team, 1, changed) is Reason.BAD_SIGNATURE
    goodbye = asked(team, 2, 1)
    assert hand(team, 1, goodbye) == "done"
    assert hand(team, 1, goodbye) == "revoked"
    wish(team, 1, m.Admit(team.keys[2].pubkey, Role.MEMBER, FreeText("back")))
    assert hand(team, 1, goodbye) == "stale"
    assert team.replicas[0].ledger.roster.belongs(team.keys[2].pubkey)


def test_new_keys_are_rate_limited(team):
    """Each old key keeps its weight and its rooms, so one node must not be a hundred."""
    team.unlink(0, 2)
    for number in range(9, 9 + limits.NEW_KEYS_BURST):
        assert hand(team, 1, asked(team, 2, 1, key(number))) == "done"
        team.unlink(1, 2)
        team.keys[2] = key(number)
        team.restart(2, incarnation=0)
        team.link(1, 2)
        team.deliver()
        team.tick()
    one_more = key(99)
    assert hand(team, 1, asked(team, 2, 1, one_more)) == "too_soon"
    assert not team.replicas[1].ledger.roster.on_roster(one_more.pubkey)
    team.pass_time(3600)
    assert hand(team, 1, asked(team, 2, 1, one_more)) == "done"
