"""All that can be told of one record, whatever became of it."""

import json

import pytest
from typer.testing import CliRunner

from crdt.authoring.intents import ClaimStory
from crdt.contract.ready import Persist
from machines import execution as e
from machines import pipeline as p
from machines.values import AgentName, StoryId
from node.cli.main import app
from node.reporting import record_report, store_audit
from node.storage.store import Store
from tests.support.builders.cluster import Cluster, key
from tests.support.builders.record_author import RecordAuthor, as_frame
from tests.support.builders.stores import write


@pytest.fixture
def cluster():
    cluster = Cluster(2)
    cluster.admit_all()
    cluster.link_all()
    cluster.deliver()
    cluster.add(0, "s-1")
    for seconds in (60, 120):
        cluster.propose(0, ClaimStory(StoryId("s-1"), seconds))
    cluster.fire(0, "s-1", p.DepsMet())
    cluster.deliver()
    return cluster


def held(cluster, tmp_path, quarantined=()):
    path = write(cluster, 0, tmp_path / "0.db")
    if quarantined:
        with Store(path) as store:
            store.commit(Persist(), list(quarantined), cluster.ms)
    return path


def show(path, wanted):
    told = CliRunner().invoke(app, ["inspect", "record", wanted, "--store", str(path), "--json"])
    return json.loads(told.output) if told.exit_code == 0 else told


def test_a_live_record_says_why_and_what_it_superseded(cluster, tmp_path):
    path = held(cluster, tmp_path)
    rows = list(record_report.held_rows(store_audit.audit(path)))
    claim = next(row for row in rows if row.kind == "claim")
    assert (claim.verdict, claim.signature) == ("live", True)
    assert f"every claim of s-1 below #{claim.clock}" in claim.supersedes
    assert "no later claim of s-1" in claim.superseded
    moved = next(row for row in rows if row.kind == "transition")
    assert "backlog accepts deps_met" in moved.why
    assert moved.supersedes == "nothing"
    assert show(path, moved.record[:12])["record"] == moved.record


def test_a_record_is_found_by_its_place(cluster, tmp_path):
    path = held(cluster, tmp_path)
    founder = cluster.keys[0].pubkey.hex()
    shown = show(path, f"{founder[:8]}/0#0")
    assert (shown["kind"], shown["clock"]) == ("member", 0)
    plain = CliRunner().invoke(
        app, ["inspect", "record", f"{founder[:8]}/0#0", "--store", str(path)]
    )
    assert "signature   holds for this position and cluster" in plain.output
    assert '"kind": "member"' in plain.output


def test_the_place_of_a_superseded_record_explains_it(cluster, tmp_path):
    path = held(cluster, tmp_path)
    feed = next(iter(store_audit.audit(path).ledger.feeds.values()))
    [gap] = [clock for start, end in feed.gaps() for clock in range(start, end)][:1]
    told = show(path, f"{feed.author.hex()[:8]}/0#{gap}")
    assert told.exit_code == 4
    assert "its content is gone" in told.output
    assert "(claim s-1)" in told.output
    assert "ends before" in show(path, f"{feed.author.hex()[:8]}/0#999").output
    assert "no such feed" in show(path, "abcd1234/0#1").output
    assert "four digits" in show(path, "ab").output


def test_a_quarantined_record_is_found_with_its_reason(cluster, tmp_path):
    pen = RecordAuthor(key(2), cluster.found.id, cluster.ms, clock=5)
    bad = pen.transition("s-1", p.Accepted())
    cluster.hand(1, 0, as_frame(bad))
    path = held(cluster, tmp_path, cluster.quarantined[0])
    shown = show(path, bad.record_id.hex()[:16])
    assert (shown["verdict"], shown["signature"]) == ("rejected", True)
    assert "illegal_transition" in shown["why"]
    assert shown["body"]["event"] == {"event": "accepted"}


def test_what_is_void_says_so(cluster, tmp_path):
    one = RecordAuthor(key(2), cluster.found.id, cluster.ms, clock=0)
    first, second = one.story("s-1", title="a", clock=0), one.story("s-1", title="b", clock=0)
    cluster.hand(1, 0, as_frame(first))
    cluster.hand(1, 0, as_frame(second))
    path = held(cluster, tmp_path)
    assert "at or after a proven fork" in show(path, first.record_id.hex())["why"]


def test_each_kind_says_what_its_verdict_rests_on(cluster, tmp_path):
    pen = RecordAuthor(key(2), cluster.found.id, cluster.ms, clock=0)
    end = cluster.replicas[0].ledger.board.state("s-1").fold.last
    pending = e.Pending(agent=AgentName("a"), since=pen.at())
    spawn = e.SpawnRequested(agent=AgentName("a"))
    records = [
        pen.transition("s-1", p.GatesStarted(), end),
        pen.execution("s-1", e.Idle(), spawn, pending, ms=pending.since.ms),
        pen.story("s-2", title="x"),
        pen.ack("s-1", end),
        pen.raw({"kind": "later", "at": str(pen.at()), "n": 0}),
    ]
    cluster.hand(1, 0, as_frame(*records))
    path = held(cluster, tmp_path)
    rows = record_report.held_rows(store_audit.audit(path))
    told = {row.kind: row.why for row in rows if row.author == pen.node.hex()}
    assert "coding (after" in told["transition"]
    assert ") accepts gates_started" in told["transition"]
    assert "leads from idle to pending" in told["execution"]
    assert "needs nothing more" in told["story"]
    assert "always admitted" in told["ack"]
    assert "passed on unread" in told["later"]
