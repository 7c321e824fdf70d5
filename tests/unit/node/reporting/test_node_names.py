"""A name belongs to who belongs."""

import pytest

from crdt.authoring.intents import AdmitNode, RevokeNode
from crdt.authoring.roster_intents import Replace
from crdt.primitives.errors import ProposalRefused
from crdt.records.bodies import Role
from machines.values import FreeText
from node.api.membership import find, must_be_free
from node.reporting import queries
from node.reporting.node_names import free_name, named_nodes, taken_by
from tests.support.builders.cluster import Cluster, key


@pytest.fixture
def cluster():
    cluster = Cluster(1)
    cluster.propose(0, AdmitNode(key(11).pubkey, Role.MEMBER, FreeText("b")))
    return cluster


def rotated(cluster, old, new):
    ready, _ = cluster.replicas[0].change_roster(
        Replace(key(old).pubkey, key(new).pubkey), cluster.now
    )
    cluster.carry(0, ready)
    return cluster.replicas[0].ledger.roster


def test_a_rotated_node_keeps_its_name(cluster):
    rotated(cluster, 11, 12)
    roster = rotated(cluster, 12, 13)
    assert named_nodes(roster)[key(13).pubkey] == "b"
    assert find(roster, "b") == key(13).pubkey
    names = queries.names(cluster.replicas[0].ledger)
    assert [names.get(key(number).pubkey.hex()) for number in (11, 12, 13)] == [None, None, "b"]


def test_a_revoked_node_keeps_a_name_that_is_free(cluster):
    cluster.propose(0, RevokeNode(key(11).pubkey))
    roster = cluster.replicas[0].ledger.roster
    assert find(roster, "b") == key(11).pubkey
    assert taken_by(roster, key(12).pubkey, "b") is None
    cluster.propose(0, AdmitNode(key(12).pubkey, Role.MEMBER, FreeText("b")))
    assert find(cluster.replicas[0].ledger.roster, "b") == key(12).pubkey


def test_a_name_of_two_current_nodes_means_neither(cluster):
    cluster.propose(0, AdmitNode(key(12).pubkey, Role.MEMBER, FreeText("b")))
    with pytest.raises(ProposalRefused, match="no node of the roster"):
        find(cluster.replicas[0].ledger.roster, "b")


def test_a_taken_name_is_refused_with_a_free_one(cluster):
    roster, new = cluster.replicas[0].ledger.roster, key(12).pubkey
    assert taken_by(roster, new, "b") == key(11).pubkey
    assert taken_by(roster, key(11).pubkey, "b") is None
    assert free_name(roster, new, "b") == "b-2"
    with pytest.raises(ProposalRefused, match="such as b-2"):
        must_be_free(roster, new, "b")
    cluster.propose(0, AdmitNode(key(13).pubkey, Role.MEMBER, FreeText("b-2")))
    roster = cluster.replicas[0].ledger.roster
    assert free_name(roster, new, "b") == "b-3"
    start = key(11).pubkey.hex()[:8]
    assert taken_by(roster, new, start) == key(11).pubkey
    cluster.propose(0, AdmitNode(key(14).pubkey, Role.MEMBER, FreeText("n" * 64)))
    assert free_name(cluster.replicas[0].ledger.roster, new, "n" * 64) == "n" * 62 + "-2"
