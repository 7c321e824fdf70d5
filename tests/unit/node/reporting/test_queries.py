"""What nodes are called wherever they are shown."""

from crdt.authoring.intents import AdmitNode
from crdt.records.bodies import Role
from machines import pipeline as p
from machines.values import FreeText
from node.reporting import queries, seal_report
from tests.support.builders.cluster import Cluster, key
from tests.support.builders.record_author import RecordAuthor, as_frame
from tests.support.tools.steps import steps


def called(*names):
    """What nodes that were admitted by these names are shown as, by number."""
    cluster = Cluster(1)
    keys = [key(number + 10).pubkey for number in range(len(names))]
    for node, name in zip(keys, names, strict=True):
        cluster.propose(0, AdmitNode(node, Role.MEMBER, FreeText(name)))
    shown = queries.names(cluster.replicas[0].ledger)
    return [shown.get(node.hex(), "") for node in keys]


def test_a_short_hex_name_is_a_name():
    assert called("bad2", "cafe", "dee") == ["bad2", "cafe", "dee"]


def test_a_name_like_another_nodes_key_is_hidden():
    other = key(11).pubkey.hex()
    assert called(other[:4], "b") == ["", "b"]
    assert called(other[:8], "b") == ["", "b"]
    assert called(other, "b") == ["", "b"]


def test_a_hex_name_as_long_as_a_shown_key_is_hidden():
    assert called("deadbeef") == [""]


def test_two_of_one_name_are_shown_by_their_keys():
    assert called("b", "b", "c") == ["", "", "c"]


def test_the_cost_of_a_feed_row_ignores_rejections():
    cluster = Cluster(2)
    cluster.admit_all()
    replica, peer = cluster.replicas[0], cluster.keys[1].pubkey

    def written(incarnation, *events):
        pen = RecordAuthor(cluster.keys[1], cluster.found.id, cluster.ms, incarnation=incarnation)
        story = pen.story("s")
        records = [pen.transition("s", event) for event in events] or [pen.seal(3, bytes(32))]
        replica.receive(peer, as_frame(story, *records), cluster.now)

    for incarnation in range(1, 9):
        written(incarnation)
    names = queries.names(replica.ledger)
    look = seal_report.of_file(replica.ledger, names, {})
    few = [
        feed
        for feed in queries.known_feeds(replica.ledger)
        if feed.author == peer and feed.id.incarnation
    ]
    assert all(row.shortfall for row in queries.feeds(few, names, look, replica.document.end))
    before = steps(lambda: queries.feeds(few, names, look, replica.document.end))
    written(99, *[p.Accepted()] * 200)
    assert len(replica.ledger.rejected) == 200
    # Some steps depend on what the interpreter has in its caches by then; 200 records would show.
    assert (
        abs(steps(lambda: queries.feeds(few, names, look, replica.document.end)) - before)
        < before / 20
    )
