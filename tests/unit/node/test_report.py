"""What nodes are called wherever they are shown."""

from crdt.bodies import Role
from crdt.intents import AdmitNode
from machines.values import FreeText
from node import report
from tests.support.cluster import Cluster, key


def called(*names):
    """What nodes that were admitted by these names are shown as, by number."""
    cluster = Cluster(1)
    keys = [key(number + 10).pubkey for number in range(len(names))]
    for node, name in zip(keys, names, strict=True):
        cluster.propose(0, AdmitNode(node, Role.MEMBER, FreeText(name)))
    shown = report.names(cluster.replicas[0].ledger)
    return [shown.get(node.hex(), "") for node in keys]


def test_a_name_that_could_be_a_key_only_by_its_letters_is_a_name():
    assert called("bad2", "cafe", "dee") == ["bad2", "cafe", "dee"]


def test_a_name_that_passes_for_the_key_of_another_is_not_shown():
    other = key(11).pubkey.hex()
    assert called(other[:4], "b") == ["", "b"]
    assert called(other[:8], "b") == ["", "b"]
    assert called(other, "b") == ["", "b"]


def test_what_is_as_long_as_a_key_is_shown_passes_for_a_strangers():
    assert called("deadbeef") == [""]


def test_two_of_one_name_are_shown_by_their_keys():
    assert called("b", "b", "c") == ["", "", "c"]
