"""That the checkers of real daemons notice what they are there for, and networks leave nothing."""

import contextlib

import msgspec
import pytest

from crdt.primitives.identity import RecordId
from tests.support.builders.cluster import Cluster
from tests.support.faults import network_namespaces
from tests.support.harness.daemons import Node
from tests.support.harness.workload import Acked
from tests.support.invariants import fleet_laws
from tests.support.invariants.laws import Broken


@pytest.fixture
def cluster():
    cluster = Cluster(2)
    cluster.admit_all()
    return cluster


def test_an_acknowledged_write_that_is_nowhere_is_lost(cluster):
    receipt = cluster.add(0, "s-1")
    ledger = cluster.replicas[0].ledger
    fleet_laws.accounted("den", ledger, [Acked("den", receipt, None)])
    other = msgspec.structs.replace(receipt, record_id=RecordId(bytes(32)))
    for lost in (other, msgspec.structs.replace(receipt, clock=receipt.clock + 1)):
        with pytest.raises(Broken, match=r"^L2: b lost "):
            fleet_laws.accounted("b", ledger, [Acked("den", lost, ("claim", "s-1"))])


@pytest.mark.parametrize(
    ("line", "law"),
    [
        ("Traceback (most recent call last):", "L9"),
        ("ERROR asyncio: Task exception was never retrieved", "L9"),
        ("INFO gangline: a title with \x1b[31m colour", "L10"),
        ("INFO gangline: a title with \x9b31m colour", "L10"),
        ("INFO gangline: over\rwritten", "L10"),
    ],
)
def test_a_log_that_is_not_clean_is_noticed(tmp_path, line, law):
    node = Node(tmp_path / "den")
    node.log_path.write_bytes(b"INFO gangline: all is well\n")
    fleet_laws.clean_log(node)
    node.log_path.write_bytes(f"INFO gangline: all is well\n{line}\n".encode())
    with pytest.raises(Broken, match=f"^{law}: "):
        fleet_laws.clean_log(node)


def test_a_network_leaves_nothing_behind_whatever_becomes_of_the_test():
    if missing := network_namespaces.missing():
        pytest.skip(missing)

    def ours():
        return [
            line
            for line in network_namespaces.run("ip", "netns", "list").split()
            if network.name in line
        ]

    with contextlib.suppress(ZeroDivisionError), network_namespaces.Network() as network:
        network.cut([network.host()], [network.host()])
        assert len(ours()) == 3
        raise ZeroDivisionError
    assert not ours()
