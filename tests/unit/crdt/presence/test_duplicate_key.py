"""Two daemons with one key find out, and a restarted one never takes itself for another."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from crdt.presence.duplicate_key import HEARD_MAX, DuplicateKeyDetector, own_sentence, peer_sentence
from crdt.presence.signed_presence import PresenceState
from crdt.primitives import limits
from machines.values import Instant
from tests.support.builders.cluster import Cluster, key

AT = Instant("2026-11-24T02:00:00.000Z")
RUNS = [f"{number:016x}" for number in range(4)]


def says(run, *heard, host="kennel-2", twin=UNSET):
    return PresenceState(AT, ("10.0.0.2:7467",), run=run, host=host, heard=heard, twin=twin)


def test_presence_of_an_earlier_start_proves_nothing():
    twins = DuplicateKeyDetector(RUNS[0])
    assert not twins.receive(says(RUNS[1]), 0.0)
    assert not twins.receive(says(RUNS[1], RUNS[2]), 1.0)
    assert twins.current(1.0) is None
    assert twins.heard(1.0) == (RUNS[1],)


def test_run_id_named_by_another_proves_a_duplicate():
    twins = DuplicateKeyDetector(RUNS[0])
    assert twins.receive(says(RUNS[1], RUNS[0]), 5.0)
    assert not twins.receive(says(RUNS[1], RUNS[0]), 6.0), "told once"
    assert "kennel-2 (10.0.0.2:7467)" in own_sentence(twins.current(6.0))
    assert twins.current(6.0 + 150) is None, "it is gone, and so is the sentence"
    assert twins.heard(6.0 + 150) == ()


def test_own_or_older_presence_is_no_duplicate():
    twins = DuplicateKeyDetector(RUNS[0])
    assert not twins.receive(says(RUNS[0], RUNS[0]), 0.0)
    assert not twins.receive(PresenceState(AT), 0.0)
    assert twins.heard(0.0) == ()


def test_of_many_starts_only_the_last_are_named():
    twins = DuplicateKeyDetector(RUNS[0])
    runs = [f"{number:016x}" for number in range(1, HEARD_MAX + 3)]
    for run in (*runs, runs[2]):
        twins.receive(says(run), 0.0)
    assert twins.heard(0.0) == (*runs[3:], runs[2])
    assert len(twins.heard(0.0)) == HEARD_MAX


def test_other_nodes_get_the_location():
    node = key(3).pubkey
    assert peer_sentence(node, says(RUNS[1])) == ""
    told = peer_sentence(node, says(RUNS[1], twin="den (10.0.0.1:7467)"))
    assert node.short in told
    assert "den (10.0.0.1:7467)" in told


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), max_size=40))
def test_restarts_never_raise_a_false_alarm(steps):
    """Presence of every earlier start, in any order and as often as a relay likes."""
    said, twins = [], DuplicateKeyDetector(f"{0:016x}")
    for number, (kind, pick) in enumerate(steps):
        if kind:
            twins = DuplicateKeyDetector(f"{number + 1:016x}")
        said.append(says(twins.run, *twins.heard(float(number))))
        assert not twins.receive(said[pick % len(said)], float(number))
        assert twins.current(float(number)) is None


@pytest.mark.parametrize("gap", range(4))
def test_two_live_daemons_find_each_other(gap):
    one, other = DuplicateKeyDetector(RUNS[0]), DuplicateKeyDetector(RUNS[1])
    found = [False, False]
    for turn in range(gap + 3):
        mono = float(turn)
        if turn >= gap:
            found[1] |= other.receive(says(one.run, *one.heard(mono)), mono)
        found[0] |= one.receive(says(other.run, *other.heard(mono)), mono)
    assert found == [True, True]


class Twinned(Cluster):
    """A founder, a member, another peer, and a clone of the member: the store copied, both run."""

    DEN, ONE, OTHER, CLONE = range(4)

    def __init__(self):
        super().__init__(3)
        self.admit_all()
        signing = self.keys[self.ONE]
        self.keys.append(signing)
        self.replicas.append(self.make(signing, seed=b"drawn anew", doubt="a copy"))
        self.stores.append(dict(self.stores[self.DEN]))
        for kept, fresh in (
            (self.proofs, {}), (self.rendered, {}), (self.observed, []), (self.quarantined, []),
            (self.ends, None),
        ):  # fmt: skip
            kept.append(fresh)
        self.carry(self.CLONE, self.start(self.CLONE))

    def route(self, number, pubkey):
        """Of the two the one that this node is linked with."""
        linked = [there for here, there in self.links if here == number]
        return next((n for n in linked if self.keys[n].pubkey == pubkey), self.index(pubkey))

    def noticed(self):
        return [
            self.replicas[one].beacon.twins.current(self.mono) is not None
            for one in (self.ONE, self.CLONE)
        ]

    def seconds_until_both_notice(self, move):
        """Time in the cluster since both were first linked."""
        for second in range(2 * int(limits.ANTI_ENTROPY_SECONDS)):
            if all(self.noticed()):
                return second
            move(second)
            self.tick()
        return None


def test_duplicates_on_different_peers_notice_in_time():
    twins = Twinned()
    twins.link(twins.DEN, twins.OTHER)
    twins.link(twins.DEN, twins.ONE)
    twins.settle()
    assert not any(twins.noticed())
    twins.link(twins.OTHER, twins.CLONE)
    took = twins.seconds_until_both_notice(lambda _: None)
    assert took is not None
    assert took <= limits.ANTI_ENTROPY_SECONDS


@pytest.mark.parametrize("pause", [2, 5, 7])
def test_duplicates_on_one_peer_notice_in_time(pause):
    # A peer holds one link for a key: the newer one, and the other dials again after a pause.
    twins = Twinned()
    twins.link(twins.DEN, twins.ONE)
    twins.settle()
    turns = itertools.cycle((twins.CLONE, twins.ONE))

    def take_turns(second):
        if second % pause == 0:
            taker = next(turns)
            for one in (twins.ONE, twins.CLONE):
                if (twins.DEN, one) in twins.links:
                    twins.unlink(twins.DEN, one)
            twins.link(twins.DEN, taker)

    took = twins.seconds_until_both_notice(take_turns)
    assert took is not None
    assert took <= limits.ANTI_ENTROPY_SECONDS
