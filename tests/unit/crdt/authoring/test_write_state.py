"""Whether a node may write, and whether its host or the rules keep it from writing."""

import pytest

from crdt.authoring import write_state
from crdt.authoring.write_state import (
    ClockWrong,
    NotEntitled,
    RosterUnknown,
    StoreIncomplete,
    StoreReadOnly,
    Writable,
    require_writable,
)
from crdt.contract.ready import Now
from crdt.primitives.errors import HeldUp, NotWritable
from crdt.records.bodies import Role
from machines.values import Instant
from tests.support.builders.cluster import Cluster


@pytest.fixture
def trio():
    cluster = Cluster(3)
    cluster.admit_all()
    cluster.link_all()
    cluster.deliver()
    return cluster


def state_of(cluster, number):
    return cluster.replicas[number].write_state(cluster.now)


def set_clocks_of_peers(cluster, number):
    """Every other node's clock is five minutes away from this one's."""
    for peer in {0, 1, 2} - {number}:
        late = Instant.from_ms(cluster.ms + 301_000)
        cluster.replicas[number].connected(cluster.keys[peer].pubkey, late, cluster.now)


def test_a_member_may_write(trio):
    assert state_of(trio, 0) == state_of(trio, 1) == Writable()


@pytest.mark.parametrize("ms", [0, 2**53])
def test_a_clock_that_shows_no_possible_time(trio, ms):
    state = trio.replicas[0].write_state(Now(Instant.nearest(ms), trio.mono))
    assert isinstance(state, ClockWrong)
    assert "set it right" in state.why


def test_a_clock_off_its_peers(trio):
    set_clocks_of_peers(trio, 0)
    state = state_of(trio, 0)
    assert isinstance(state, ClockWrong)
    assert "301 s behind" in state.why


@pytest.mark.parametrize("number", range(3))
def test_the_store_comes_before_the_clock_and_the_rules(trio, number):
    trio.admit_all(Role.OBSERVER)
    set_clocks_of_peers(trio, number)
    replica = trio.replicas[number]
    replica.store_incomplete = "3 records are missing"
    assert state_of(trio, number) == StoreIncomplete("3 records are missing")
    replica.store_read_only = "the disk is full"
    assert state_of(trio, number) == StoreReadOnly("the disk is full")


def test_a_store_that_lost_its_cluster():
    cluster = Cluster(1)
    state = cluster.make(cluster.keys[0]).write_state(cluster.now)
    assert isinstance(state, RosterUnknown)
    assert "holds nothing of its cluster" in state.why


def test_an_observer_and_a_stranger():
    cluster = Cluster(3)
    stranger = state_of(cluster, 1)
    assert isinstance(stranger, NotEntitled)
    assert "not on the roster" in stranger.why
    cluster.admit_all(Role.OBSERVER)
    cluster.link_all()
    cluster.deliver()
    assert state_of(cluster, 1) == NotEntitled("an observer writes nothing")


@pytest.mark.parametrize("kind", write_state.WriteState.__args__)
def test_every_cause_but_the_rules_is_the_host(kind):
    if kind is Writable:
        require_writable(kind())
        return
    with pytest.raises(NotWritable, match="because") as raised:
        require_writable(kind("because"))
    assert isinstance(raised.value, HeldUp) == (kind is not NotEntitled)
