"""Whose word it is that keeps a node from writing: the rules', or its host's."""

import re

import pytest

from crdt.authoring.write_state import must_write, why_mute
from crdt.contract.ready import Now
from crdt.primitives.errors import HeldUp
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


def asked(cluster, number, held="", now=None):
    replica = cluster.replicas[number]
    replica.held = held
    mute = why_mute(replica, now or cluster.now)
    if mute is None:
        must_write(replica, now or cluster.now)
    else:
        with pytest.raises(type(mute), match=re.escape(str(mute))):
            must_write(replica, now or cluster.now)
    return mute


def far_off(cluster, number):
    """Every other node's clock says another time than this one's."""
    for peer in {0, 1, 2} - {number}:
        late = Instant.from_ms(cluster.ms + 301_000)
        cluster.replicas[number].connected(cluster.keys[peer].pubkey, late, cluster.now)


def test_nothing_keeps_a_member_in_order_from_writing(trio):
    assert asked(trio, 0) is asked(trio, 1) is None


@pytest.mark.parametrize("ms", [0, 2**53])
def test_a_clock_that_shows_no_time_is_the_host_s_fault(trio, ms):
    mute = asked(trio, 0, now=Now(Instant.nearest(ms), trio.mono))
    assert isinstance(mute, HeldUp)
    assert "set it right" in str(mute)


def test_a_clock_off_its_peers_is_the_host_s_fault(trio):
    far_off(trio, 0)
    mute = asked(trio, 0)
    assert isinstance(mute, HeldUp)
    assert "301 s behind" in str(mute)


def test_what_the_shell_holds_up_is_the_host_s_fault_whoever_it_is(trio):
    trio.admit_all(Role.OBSERVER)
    for number in range(3):
        mute = asked(trio, number, held="the disk is full")
        assert isinstance(mute, HeldUp)
        assert str(mute) == "the disk is full"


def test_a_store_that_lost_its_cluster_is_the_host_s_fault():
    cluster = Cluster(1)
    lost = cluster.make(cluster.keys[0])
    mute = why_mute(lost, cluster.now)
    assert isinstance(mute, HeldUp)
    assert "holds nothing of its cluster" in str(mute)


def test_an_observer_and_a_stranger_are_refused_by_the_rules():
    cluster = Cluster(3)
    stranger = asked(cluster, 1)
    assert "not on the roster" in str(stranger)
    cluster.admit_all(Role.OBSERVER)
    cluster.link_all()
    cluster.deliver()
    observer = asked(cluster, 1)
    assert str(observer) == "an observer writes nothing"
    assert not isinstance(stranger, HeldUp)
    assert not isinstance(observer, HeldUp)
