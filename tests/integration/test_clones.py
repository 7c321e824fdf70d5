"""One key on two hosts, a clock that is wrong: what real daemons tell, and how they heal."""

import shutil

import pytest

from tests.support.harness.daemons import Node, agree, eventually

pytestmark = pytest.mark.timeout(400)


def notices(node):
    return node.status()["notices"]


@pytest.mark.slow
def test_two_daemons_with_one_key_notice_heal_and_tell_everybody(fleet):
    den = fleet.found()
    b = fleet.join(den, "b")
    b.gangline("add", "s-1")
    agree(den, b)
    assert notices(b) == []
    b.stop()
    clone = Node(fleet.folder / "clone")
    shutil.copytree(b.home, clone.home)
    fleet.nodes.append(clone)
    b.start()
    clone.start()
    assert "copy" in clone.log()
    for node, other in ((b, clone), (clone, b)):
        address = other.status()["listen"]
        eventually(
            lambda node=node, address=address: any(
                "another daemon runs with this node's key" in one and address in one
                for one in notices(node)
            ),
            f"{node.home.name} names where the other runs",
        )
        assert node.log().count("another daemon runs") == 1, "said once"
    eventually(lambda: any("two daemons run" in one for one in notices(den)), "the peer tells it")
    b.gangline("add", "s-b")
    clone.gangline("add", "s-clone")
    clone.kill()  # the operator does what the sentence says
    agree(den, b)
    assert {s["id"] for s in b.json("stories")} >= {"s-1", "s-b"}
    b.gangline("fire", "s-1", "deps_met", "--wait-for", "1", "--timeout", "30s")


def test_a_node_that_restarts_is_not_taken_for_two(fleet):
    den = fleet.found()
    b = fleet.join(den, "b")
    for _ in range(3):
        eventually(lambda: b.status()["peers"] == 1, "linked")
        b.kill()
        b.start()
    eventually(lambda: b.status()["peers"] == 1, "linked")
    agree(den, b)
    assert not any("daemon" in one for one in (*notices(b), *notices(den)))
