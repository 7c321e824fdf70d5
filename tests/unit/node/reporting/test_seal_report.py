"""What is told of a feed that is not held as its author sealed it."""

import json

import pytest
from typer.testing import CliRunner

from crdt.contract.ready import Persist, RowKey
from crdt.primitives.identity import FeedId
from node.cli.main import app
from node.reporting import queries, seal_report
from node.runtime import operator_notices
from node.storage.store import Store
from tests.support.builders.cluster import Cluster
from tests.support.builders.record_author import RecordAuthor, as_frame


@pytest.fixture
def liar():
    """A cluster of three, and the third's pen: its seal counts what it never showed."""
    cluster = Cluster(3)
    cluster.admit_all()
    cluster.link(0, 1)
    cluster.deliver()
    cluster.settle(3)
    return cluster, RecordAuthor(cluster.keys[2], cluster.found.id, cluster.ms)


def show(cluster, *records):
    for record in records:
        cluster.hand(2, 0, as_frame(record))


def told(cluster, pen, number=0, addresses=None):
    replica = cluster.replicas[number]
    names = queries.names(replica.ledger)
    look = seal_report.of_daemon(replica, names, addresses or {}, cluster.mono)
    return look(replica.ledger.feeds[FeedId(pen.node, 0)])


def test_who_was_asked_and_who_is_not_linked_is_said(liar):
    cluster, pen = liar
    story, seal = pen.story("s-1", clock=2), pen.seal(2, bytes(32), clock=5)
    show(cluster, story, seal)
    found = told(cluster, pen, addresses={pen.node: ("bad.example:7467", "10.0.0.9:7467")})
    assert found.says == (
        f"{pen.node.short}/0 does not match its author's seal: the seal at #5 counts 2 live below "
        "it, 1 here; unknown: #0 to #1, #3 to #4; linked, not compared yet: "
        f"{cluster.keys[1].pubkey.short}; not linked, may have it: {pen.node.short} (its author, "
        "bad.example:7467)"
    )


def test_peers_are_named_by_what_they_hold(liar):
    cluster, pen = liar
    story, other = pen.story("s-1"), pen.story("s-2")
    seal = pen.seal(3, bytes(32), clock=3)
    show(cluster, story, seal)
    cluster.hand(2, 1, as_frame(other))
    cluster.wire.clear()  # the peers never hear of it but by comparing
    cluster.settle(70)
    found = told(cluster, pen)
    assert [row.road for row in found.sources] == ["not_linked", "same"]
    session = cluster.replicas[0].sessions.all()[0]
    session.agrees = False
    session.may_compare(FeedId(pen.node, 0), b"", b"another", cluster.mono - 12)
    assert "asked, holding something else: " in told(cluster, pen).says
    assert "(12 s ago)" in told(cluster, pen).says


def test_a_seal_that_fits_nothing_is_said_to(liar):
    cluster, pen = liar
    show(cluster, pen.story("s-1"), pen.seal(7, bytes(32)))
    found = told(cluster, pen)
    assert found.false
    assert "no further records could make that seal match" in found.says


def test_long_lists_are_cut_short(liar):
    cluster, pen = liar
    show(cluster, *(pen.story("s-1", clock=2 * n) for n in range(50)))
    show(cluster, pen.seal(99, bytes(32), clock=100))
    found = told(cluster, pen)
    assert len(found.unknown) == seal_report.RUNS_SHOWN
    assert "#1, #3, #5, #7, 46 more" in found.says
    rows = [seal_report.SourceRow(f"{n:064x}", "", "not_linked", None, ()) for n in range(9)]
    assert list(seal_report._source_parts(rows, "")) == [
        "not linked, may have it: 00000000, 00000000, 00000000, 6 more"
    ]


def test_what_is_as_sealed_has_no_such_sentence(liar):
    cluster, _ = liar
    replica = cluster.replicas[0]
    own = RecordAuthor(cluster.keys[0], cluster.found.id, cluster.ms)
    assert told(cluster, own) is None
    assert not operator_notices.standing(replica, cluster.now)


def test_status_says_it_while_it_stands(liar):
    cluster, pen = liar
    replica = cluster.replicas[0]
    show(cluster, pen.story("s-1"), pen.seal(7, bytes(32)))
    [said] = operator_notices.standing(replica, cluster.now)
    assert said == f"not as its author sealed it: {pen.node.short}/0; see: gangline inspect feeds"
    other = RecordAuthor(cluster.keys[2], cluster.found.id, cluster.ms, incarnation=5)
    show(cluster, other.seal(7, bytes(32)))
    [said] = operator_notices.standing(replica, cluster.now)
    assert "/0 and 1 more; see" in said


def stored(cluster, path):
    """The first node's store as its daemon would have written it."""
    persist = Persist()
    persist.rows.update({RowKey(*row[:4]): row for row in cluster.stores[0].values()})
    persist.rendered.update(cluster.rendered[0])
    persist.addresses[cluster.keys[1].pubkey] = ("b.example:7467",)
    with Store(path) as store:
        store.commit(persist, [], 0)
    return path


def inspect(*args):
    return CliRunner().invoke(app, ["inspect", *map(str, args)])


def test_a_file_tells_what_is_missing_but_not_who_has_it(liar, tmp_path):
    cluster, pen = liar
    show(cluster, pen.story("s-1"), pen.seal(2, bytes(32), clock=2))
    path = stored(cluster, tmp_path / "store.db")
    for command in (("verify",), ("feeds",), ("feed", pen.node.hex())):
        shown = inspect(*command, "--store", path)
        assert "counts 2 live below it, 1 here; unknown: #1;" in shown.output
        assert "(b.example:7467)" in shown.output
        assert shown.exit_code == (5 if command == ("verify",) else 0)
    rows = json.loads(inspect("feeds", "--store", path, "--json").stdout)
    [row] = [row for row in rows if row["shortfall"] is not None]
    assert row["author"] == pen.node.hex()
    assert row["shortfall"]["unknown"] == [[1, 2]]
    assert {one["road"] for one in row["shortfall"]["sources"]} == {"unknown"}


def test_an_unsatisfiable_seal_is_no_fault(liar, tmp_path):
    cluster, pen = liar
    show(cluster, pen.story("s-1"), pen.seal(7, bytes(32)))
    path = stored(cluster, tmp_path / "store.db")
    shown = inspect("verify", "--store", path)
    assert shown.exit_code == 0
    assert "not a fault of this store: " in shown.output
    assert " 0 faults" in shown.output
    plain = json.loads(inspect("verify", "--store", path, "--json").stdout)
    assert (plain["faults"], len(plain["observed"])) == ([], 1)
