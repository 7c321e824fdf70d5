import json

import pytest
from msgspec import structs
from typer.testing import CliRunner

from crdt.contract.ready import Persist, RowKey
from crdt.primitives.identity import H, Signature
from crdt.records.evidence_file import Side, encode_evidence, parse_evidence
from crdt.records.record import signed_bytes
from crdt.wire.messages import Records, encode_frame
from node.cli.main import app
from node.storage.store import Store
from tests.support.builders.cluster import Cluster
from tests.support.builders.record_author import RecordAuthor, as_frame

HOSTILE = "that \x1b[31mred\u202e"


def write(cluster, path):
    """The first node's store as its daemon would have written it."""
    persist = Persist()
    persist.rows.update({RowKey(*row[:4]): row for row in cluster.stores[0].values()})
    persist.proofs += cluster.proofs[0].values()
    with Store(path) as store:
        store.commit(persist, cluster.quarantined[0], 0)
    return path


@pytest.fixture
def forked(tmp_path):
    """A member that signed two records for clock 3 of its feed, and one node's store."""
    cluster = Cluster(2)
    cluster.admit_all()
    pen = RecordAuthor(cluster.keys[1], cluster.found.id, cluster.ms)
    pair = [pen.story("s-1", title=title, clock=3) for title in ("this", "that [bold]é")]
    for record in pair:
        cluster.hand(1, 0, as_frame(record))
    return cluster, pen, write(cluster, tmp_path / "store.db")


def inspect(*args, stdin=None):
    return CliRunner().invoke(app, ["inspect", *map(str, args)], input=stdin)


def test_evidence_file_is_checked_without_a_node(forked, tmp_path):
    _, pen, store = forked
    file = tmp_path / "bad.evidence"
    told = inspect("evidence", pen.node.short, "--store", store, "--out", file)
    assert told.exit_code == 0, told.output
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_size < 1500

    store.unlink()
    told = inspect("proof", file)
    assert told.exit_code == 0, told.output
    shown = " ".join(told.output.split())
    assert "proven this key signed two different records for one place" in shown
    assert f"key {pen.node.hex()}" in shown
    assert "place incarnation 0, clock 3" in shown
    assert "not shown that the key belongs to this cluster" in shown
    assert '1 title "th' in shown
    assert '2 title "th' in shown
    assert '  story "s-1"' in told.output

    assert inspect("proof", "-", stdin=file.read_bytes()).output == told.output
    plain = json.loads(inspect("proof", file, "--json").output)
    assert (plain["proven"], plain["hold"]) == (True, [True, True])
    assert {body["title"] for body in plain["bodies"]} == {"this", "that [bold]é"}


def test_nothing_is_overwritten_unless_one_says_so(forked, tmp_path):
    _, _, store = forked
    file = tmp_path / "bad.evidence"
    file.write_text("dear")
    told = inspect("evidence", "--store", store, "--out", file)
    assert told.exit_code == 1
    assert "--force overwrites it" in told.output
    assert file.read_text() == "dear"
    assert inspect("evidence", "--store", store, "--out", file, "--force").exit_code == 0
    assert inspect("proof", file).exit_code == 0


def test_which_fork_is_meant(forked, tmp_path):
    cluster, pen, store = forked
    name = cluster.replicas[0].ledger.roster.name(pen.node)
    for wanted in (name, f"{name}/0", pen.node.hex(), f"{pen.node.short}/0"):
        assert inspect("evidence", wanted, "--store", store).exit_code == 0
    for unknown in ("nobody", f"{name}/1", f"{name}/x"):
        told = inspect("evidence", unknown, "--store", store)
        assert told.exit_code == 4
        assert f"no fork of {unknown} was proven here" in told.output
    for clock in (5, 5):
        record = pen.story("s-2", clock=clock, incarnation=8)
        cluster.hand(1, 0, as_frame(record))
    store = write(cluster, tmp_path / "two.db")
    told = inspect("evidence", name, "--store", store, "--out", tmp_path / "x")
    assert told.exit_code == 4
    assert f"name one: {name}/0, {name}/8" in told.output
    assert inspect("evidence", f"{name}/8", "--store", store).exit_code == 0


def test_evidence_shows_sides_without_a_valid_body(tmp_path):
    cluster = Cluster(2)
    cluster.admit_all()
    pen = RecordAuthor(cluster.keys[1], cluster.found.id, cluster.ms)
    good = pen.story("s-1", clock=0)
    cluster.hand(1, 0, as_frame(good))
    body = b'{"kind":"story","no":"body"}'
    signed = pen.signing.sign(signed_bytes(cluster.found.id, good.feed, 0, H(body)))
    cluster.hand(1, 0, encode_frame(Records(*good.feed, ((0, signed + body),))))
    file = tmp_path / "bad.evidence"
    store = write(cluster, tmp_path / "store.db")
    assert inspect("evidence", "--store", store, "--out", file).exit_code == 0
    told = inspect("proof", file)
    assert told.exit_code == 0
    assert '{"kind":"story","no":"body"}' in told.output
    assert "no longer held" not in told.output


def test_what_is_not_held_is_said_to_be_missing(forked, tmp_path):
    cluster, pen, _ = forked
    file = tmp_path / "bad.evidence"
    cluster.stores[0] = {
        key: row for key, row in cluster.stores[0].items() if row.author != pen.node
    }
    store = write(cluster, tmp_path / "bare.db")
    assert inspect("evidence", "--store", store, "--out", file).exit_code == 0
    told = inspect("proof", file)
    assert told.exit_code == 0
    assert told.output.count("its content was no longer held") == 2


def test_exit_code_of_failed_and_malformed_evidence(forked, tmp_path):
    _, _, store = forked
    file = tmp_path / "bad.evidence"
    inspect("evidence", "--store", store, "--out", file)
    good = parse_evidence(file.read_bytes())
    one, other = good.sides
    for sides, why in (
        ((one, one), "both sides are the same record"),
        ((one, structs.replace(other, signature=one.signature)), "the second signature is not"),
        (
            (Side(signature=Signature(b"x" * 64), body=one.body), other),
            "the first signature is not",
        ),
    ):
        file.write_bytes(encode_evidence(structs.replace(good, sides=sides)))
        told = inspect("proof", file)
        assert told.exit_code == 5
        assert why in told.output
        assert "NOT PROVEN" in told.output
        assert "not shown" not in told.output
    for data in (b"", b"{}", b"\x00" * 10**6, b"[" * 10**5):
        file.write_bytes(data)
        told = inspect("proof", file)
        assert told.exit_code == 65
        assert len(told.output.splitlines()) == 1
    assert inspect("proof", tmp_path / "nothing").exit_code == 1
    assert inspect("proof", tmp_path).exit_code == 1
    assert inspect("proof").exit_code == 2


def test_nothing_in_a_file_reaches_a_terminal(forked, tmp_path):
    _, _, store = forked
    file = tmp_path / "bad.evidence"
    inspect("evidence", "--store", store, "--out", file)
    good = parse_evidence(file.read_bytes())
    one, other = good.sides
    for text in (json.dumps({"kind": HOSTILE}, ensure_ascii=False), HOSTILE, "a\nproven  b\r"):
        nasty = Side(signature=one.signature, body=type(one.body)(text.encode()))
        file.write_bytes(encode_evidence(structs.replace(good, sides=(nasty, other))))
        told = inspect("proof", file)
        assert told.exit_code == 5
        assert not {"\x1b", "\u202e", "\r"} & set(told.output)
        assert not any(line.startswith("proven") for line in told.output.splitlines())
    file.write_bytes(b'{"format":"' + HOSTILE.encode() + b'"}')
    assert "\x1b" not in inspect("proof", file).output
