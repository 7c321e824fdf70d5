import contextlib
import json
import re

import apsw
import pytest
from typer.testing import CliRunner

from machines import pipeline as p
from node.cli.main import app
from node.reporting import store_audit
from node.storage.migrations import add_functions
from node.storage.store import Store
from node.system.errors import OperatorError
from tests.support.builders.cluster import Cluster
from tests.support.builders.record_author import RecordAuthor, as_frame
from tests.support.builders.stores import write


@pytest.fixture
def stores(tmp_path):
    cluster = Cluster(2)
    cluster.admit_all()
    cluster.link_all()
    cluster.deliver()
    cluster.add(0, "s-1")
    cluster.fire(0, "s-1", p.DepsMet())
    cluster.deliver()
    cluster.settle(3)
    return cluster, [write(cluster, n, tmp_path / f"{n}.db") for n in (0, 1)]


def inspect(*args):
    return CliRunner().invoke(app, ["inspect", *map(str, args)])


def test_a_good_store_has_the_daemons_digest(stores):
    cluster, (one, _) = stores
    held = store_audit.audit(one)
    assert held.faults == []
    assert held.digest == cluster.replicas[0].document_digest().hex()
    told = inspect("verify", "--store", one, "--json")
    assert told.exit_code == 0
    assert json.loads(told.output)["digest"] == held.digest


def test_two_that_agree_and_two_that_do_not(stores, tmp_path):
    cluster, (one, other) = stores
    assert inspect("diff", one, other).exit_code == 0
    cluster.wire.clear()
    cluster.add(0, "only-here")
    ahead = write(cluster, 0, tmp_path / "ahead.db")
    told = inspect("diff", ahead, other, "--json")
    assert told.exit_code == 5
    assert [(row["what"], row["only_in"]) for row in json.loads(told.output)] == [("story", "A")]
    assert "story" in inspect("diff", other, ahead).output


def test_what_does_not_verify_is_no_agreement(stores):
    _, (one, other) = stores
    with contextlib.closing(apsw.Connection(str(one))) as database:
        # As a member could leave it whose config named another cluster: a row with its right sum.
        add_functions(database)
        database.execute(
            "INSERT INTO records SELECT feed, clock + 50, record_id, value, 0 FROM records LIMIT 1"
        )
    told = inspect("diff", one, other)
    assert (told.exit_code, "they agree" in told.output) == (5, False)
    assert re.search(r"A: \w+/0#\d+: its signature is invalid", told.output)
    told = inspect("diff", other, one)
    assert (told.exit_code, "B: " in told.output) == (5, True)


def test_a_store_is_found_through_any_link(stores, tmp_path):
    _, (one, other) = stores
    home = tmp_path / "home"
    home.mkdir()
    one.rename(home / "store.db")
    (tmp_path / "folder").symlink_to(home)
    (tmp_path / "file").symlink_to(home / "store.db")
    for link in ("folder", "file"):
        assert inspect("verify", "--store", tmp_path / link).exit_code == 0
        assert inspect("diff", tmp_path / link, other).exit_code == 0


def test_a_flipped_bit_is_found(stores):
    _, (one, _) = stores
    database = apsw.Connection(str(one))
    feed, clock, value = database.execute(
        "SELECT feed, clock, value FROM records ORDER BY clock DESC LIMIT 1"
    ).fetchone()
    spoiled = value[:-2] + bytes([value[-2] ^ 1]) + value[-1:]
    database.execute(
        "UPDATE records SET value = ? WHERE feed = ? AND clock = ?", (spoiled, feed, clock)
    )
    database.close()
    told = inspect("verify", "--store", one)
    assert told.exit_code == 5
    assert "signature is invalid" in told.output


def test_a_row_taken_out_is_found_by_the_seal(stores):
    _, (one, _) = stores
    database = apsw.Connection(str(one))
    database.execute("DELETE FROM records WHERE clock = 1")
    database.close()
    told = inspect("verify", "--store", one)
    assert told.exit_code == 5
    assert "does not match its author's seal" in told.output
    assert "the store: rows are missing" in told.output


def test_what_is_no_store(tmp_path):
    with pytest.raises(OperatorError, match="no store"):
        store_audit.audit(tmp_path / "nothing")
    Store(tmp_path / "empty.db").close()
    with pytest.raises(OperatorError, match="no founding record"):
        store_audit.audit(tmp_path / "empty.db")
    assert inspect("verify", "--store", tmp_path / "empty.db").exit_code == 5
    with contextlib.closing(apsw.Connection(str(tmp_path / "other.db"))) as other:
        other.execute("CREATE TABLE t (x); PRAGMA user_version = 1")
    (tmp_path / "text").write_text("root:x:0:0\n")
    (tmp_path / "bytes").write_bytes(b"")
    for name in ("other.db", "text", "bytes"):
        told = inspect("verify", "--store", tmp_path / name)
        assert (told.exit_code, "is not a store of Gangline" in told.output) == (65, True)


def test_damaged_pages_fail_the_verification(stores, tmp_path):
    _, (one, _) = stores
    damaged = tmp_path / "damaged.db"
    with contextlib.closing(apsw.Connection(str(one))) as whole:
        whole.execute("VACUUM INTO ?", (str(damaged),))
    with damaged.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (damaged.stat().st_size - 4096))
    told = inspect("verify", "--store", damaged)
    assert (told.exit_code, "is damaged" in told.output) == (5, True)


def test_document_feed_and_record_are_shown(stores):
    cluster, (one, _) = stores
    rows = json.loads(inspect("doc", "--store", one, "--json").output)
    assert [row["body"]["kind"] for row in rows] == [
        "member", "member", "story", "transition", "seal",
    ]  # fmt: skip
    founder = cluster.keys[0].pubkey.hex()
    feed = json.loads(inspect("feed", founder[:8], "--store", one, "--json").output)
    assert feed == rows
    shown = inspect("record", rows[3]["record"][:12], "--store", one).output
    assert "holds for this position" in shown
    assert "deps_met" in shown
    for bad in (("feed", "00000000"), ("record", "zzzz"), ("feed", "")):
        assert inspect(*bad, "--store", one).exit_code == 4


def test_evidence_shows_both_sides_and_what_it_voids(tmp_path):
    cluster = Cluster(2)
    cluster.admit_all()
    pen = RecordAuthor(cluster.keys[1], cluster.found.id, cluster.ms)
    left, right = pen.story("left", clock=0), pen.story("right", clock=0)
    for twin in (left, right):
        cluster.hand(1, 0, as_frame(twin))
    path = write(cluster, 0, tmp_path / "forked.db")
    [proof] = json.loads(inspect("evidence", "--store", path, "--json").output)
    assert (proof["author"], proof["clock"], proof["counts"]) == (pen.node.hex(), 0, True)
    assert len({side["body_hash"] for side in proof["sides"]}) == 2
    rows = json.loads(inspect("feed", pen.node.hex(), "--store", path, "--json").output)
    assert {row["verdict"] for row in rows} == {"void_fork"}
    assert "yes" in inspect("evidence", "--store", path).output


def test_an_invalid_stored_proof_is_a_fault(stores):
    cluster, (one, _) = stores
    with contextlib.closing(apsw.Connection(str(one))) as database:
        database.execute(
            "INSERT INTO proofs SELECT author, incarnation, 1, randomblob(192) FROM feeds"
        )
    held = store_audit.audit(one)
    assert len(held.faults) == 1
    assert held.faults[0].endswith("#1: its stored proof proves no fork")
    assert held.digest == cluster.replicas[0].document_digest().hex()
    assert inspect("verify", "--store", one).exit_code == 5
    assert json.loads(inspect("evidence", "--store", one, "--json").stdout) == []


def test_a_damaged_row_of_a_small_table_is_a_fault(stores):
    _, (one, _) = stores
    with contextlib.closing(apsw.Connection(str(one))) as database:
        database.execute("UPDATE feeds SET rendered = rendered + 1")
    [fault] = store_audit.audit(one).faults
    assert fault == "the store: 1 damaged row in table feeds"
