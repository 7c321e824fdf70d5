"""What presence adds to the board: heartbeats, who cannot be reached, who brings news of whom."""

from types import SimpleNamespace

import pytest

from crdt.authoring.intents import ClaimStory, FireExecution
from crdt.presence.signed_presence import PresenceState
from crdt.wire.messages import AwarenessEntry
from machines import execution as e
from machines.values import AgentName, Instant, StoryId
from node.api import presenters
from node.reporting import queries
from tests.support.builders.cluster import START, Cluster, key

STARTED = START.ms
RUNNING = e.Running(
    agent=AgentName("coder-1"),
    started_at=Instant.from_ms(STARTED),
    last_heartbeat=Instant.from_ms(STARTED + 5_000),
)


@pytest.fixture
def cluster():
    """Two nodes; node 1 runs an agent on a story, and node 0 looks."""
    cluster = Cluster(3)
    cluster.admit_all()
    cluster.link_all()
    cluster.deliver()
    cluster.add(0, "s-1")
    cluster.deliver()
    for event in (e.SpawnRequested(agent=AgentName("coder-1")), e.SpawnedSuccessfully()):
        cluster.propose(1, FireExecution(StoryId("s-1"), event))
    cluster.deliver()
    return cluster


def look(cluster, number=0):
    replica = cluster.replicas[number]
    view = replica.ledger.board.story("s-1")
    return presenters.story(replica, view, cluster.now.wall, cluster.now.mono).executions[0]


def hear(cluster, of, *, beats, by=None):
    """Node 0 hears of another node, now."""
    node, at = cluster.keys[of].pubkey, cluster.now
    entry = AwarenessEntry(1, cluster.ms % 2**31, "")
    state = PresenceState(at.wall, (), beats)
    by = node if by is None else cluster.keys[by].pubkey
    liveness = cluster.replicas[0].beacon.liveness
    assert liveness.receive(node, entry, state, at.wall.ms, at.mono, by)


def test_newest_heartbeat_is_shown(cluster):
    durable = look(cluster).state.last_heartbeat
    cluster.pass_time(20)
    newer = cluster.now.wall
    hear(cluster, 1, beats={"s-1": newer})
    assert look(cluster).state.last_heartbeat == newer
    cluster.pass_time(1)
    hear(cluster, 1, beats={"s-1": Instant.from_ms(durable.ms - 1)})
    assert look(cluster).state.last_heartbeat == durable


def test_own_heartbeat_is_shown_before_it_is_announced(cluster):
    beat = Instant.from_ms(cluster.ms + 1_000)
    cluster.replicas[1].beacon.beats["s-1"] = beat
    own = look(cluster, 1)
    assert (own.state.last_heartbeat, own.liveness, own.shown) == (beat, "here", "running")


def test_running_on_offline_node_is_unreachable(cluster):
    hear(cluster, 1, beats={})
    assert (look(cluster).liveness, look(cluster).shown) == ("alive", "running")
    cluster.pass_time(60)
    assert (look(cluster).liveness, look(cluster).shown) == ("suspect", "running")
    cluster.pass_time(100)
    gone = look(cluster)
    assert (gone.liveness, gone.shown) == ("offline", "unreachable")
    assert isinstance(gone.state, e.Running), "nothing is killed or rewritten"


@pytest.mark.parametrize("state", [e.Idle(), e.Pending(agent=AgentName("a"), since=START)])
def test_what_does_not_run_has_no_heartbeat(state):
    assert presenters.with_beat(state, Instant.from_ms(STARTED + 9_000)) is state
    assert presenters.with_beat(RUNNING, None) is RUNNING


def test_nodes_list_paths_latest_first(cluster):
    hear(cluster, 1, beats={})
    cluster.pass_time(2)
    hear(cluster, 1, beats={}, by=2)
    replica = cluster.replicas[0]
    rows = presenters.nodes(replica, [cluster.keys[1].pubkey], cluster.now.wall, cluster.now.mono)
    row = next(r for r in rows if r.node == cluster.keys[1].pubkey.hex())
    roads = [(road.peer, road.seconds) for road in row.seen_by]
    assert roads == [(cluster.keys[2].pubkey.hex(), 0.0), (cluster.keys[1].pubkey.hex(), 2.0)]
    assert (row.linked, row.liveness, row.executions) == (True, "alive", {"s-1": "running"})
    cluster.pass_time(200)
    rows = presenters.nodes(replica, [], cluster.now.wall, cluster.now.mono)
    row = next(r for r in rows if r.node == cluster.keys[1].pubkey.hex())
    assert (row.linked, row.liveness, row.executions) == (False, "offline", {"s-1": "unreachable"})


def ledger(**called):
    keys = [key(number + 1).pubkey for number in range(len(called))]
    names = dict(zip(keys, called.values(), strict=True))
    roster = SimpleNamespace(
        nodes=lambda: list(names), name=names.__getitem__, belongs=names.__contains__
    )
    return SimpleNamespace(roster=roster), [one.hex() for one in keys]


def test_ambiguous_names_are_not_accepted():
    known, keys = ledger(a="den", b="twin", c="twin", d="", e="80d07996")
    assert queries.names(known) == {keys[0]: "den"}


def test_the_claim_that_holds_is_named(cluster):
    cluster.propose(1, ClaimStory(StoryId("s-1"), 60))
    cluster.deliver()
    replica = cluster.replicas[0]
    view = replica.ledger.board.story("s-1")
    taken = presenters.story(replica, view, cluster.now.wall, 0.0)
    assert taken.holder == cluster.keys[1].pubkey
    past = Instant.from_ms(cluster.ms + 120_000)
    assert presenters.story(replica, view, past, 0.0).holder is None
