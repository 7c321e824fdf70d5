"""Every vector made outside the project: the bytes of records, and of Yjs updates."""

import json
from pathlib import Path

import pytest
from pycrdt import Array, Doc

from crdt.presence.signed_presence import presence_bytes
from crdt.primitives import limits
from crdt.primitives.errors import MalformedRecord, PeerFault
from crdt.primitives.identity import FeedId, H, SigningKey, cluster_id_of
from crdt.records.bodies import Carried, encode_body, parse_body
from crdt.records.digests import document_digest, feed_digest, seal_digest
from crdt.records.record import SignedRecord, sign_record, signed_bytes_and_id, signed_record
from crdt.records.signatures import verify_batch
from crdt.wire.handshake_transcript import hello_bytes
from crdt.wire.yjs_update import decode_update, encode_update
from machines.values import NodePubkey

VECTORS = Path(__file__).parents[2] / "vectors"
UPDATES = json.loads((VECTORS / "yjs_updates.json").read_text())
RECORDS = json.loads((VECTORS / "records.json").read_text())
CLUSTER = bytes.fromhex(RECORDS["cluster"]["cluster_id"])
KEYS = {node["pubkey"]: SigningKey(bytes.fromhex(node["seed"])) for node in RECORDS["nodes"]}


def named(rows):
    return [pytest.param(row, id=row["name"]) for row in rows]


def feed_of(row):
    return FeedId(NodePubkey.from_hex(row["pubkey"]), row["incarnation"])


def verify(cluster, row):
    record = SignedRecord(feed_of(row), row["clock"], bytes.fromhex(row["value"]))
    message, record_id = signed_bytes_and_id(cluster, record)
    [holds] = verify_batch([(record.feed.author, message, record.signature)])
    return holds, message, record_id


@pytest.mark.parametrize("row", named(UPDATES))
def test_an_update(row):
    data = bytes.fromhex(row["update"])
    if row["verdict"] == "reject":
        with pytest.raises(PeerFault):
            decode_update(data, bytes_max=limits.CATCHUP_BYTES_MAX)
        return
    slices = decode_update(data, bytes_max=limits.CATCHUP_BYTES_MAX)
    found = {piece.client: piece for piece in slices}
    assert len(found) == len(row["feeds"])
    for feed in row["feeds"]:
        piece = found[feed["client"]]
        assert (piece.root, piece.start, piece.end) == (feed["root"], feed["start"], feed["end"])
        records = [[clock, value.hex()] for clock, value in piece.records]
        if feed.get("superseded_may_remain"):
            assert all(record in records for record in feed["records"])
        else:
            assert records == feed["records"]
    again = decode_update(encode_update(slices), bytes_max=limits.CATCHUP_BYTES_MAX)
    assert {piece.client: piece for piece in again} == found


@pytest.mark.parametrize("row", named(r for r in UPDATES if r["verdict"] == "accept"))
def test_what_we_encode_pycrdt_reads_the_same_and_what_it_encodes_we_read(row):
    slices = decode_update(bytes.fromhex(row["update"]), bytes_max=limits.CATCHUP_BYTES_MAX)
    if any(piece.start for piece in slices):
        return  # pycrdt keeps these back until what comes before is there
    doc = Doc()
    doc.apply_update(encode_update(slices))
    for piece in slices:
        shown = [bytes(value) for value in doc.get(piece.root, type=Array)]
        assert shown == [value for _, value in piece.records]
    again = decode_update(doc.get_update(), bytes_max=limits.CATCHUP_BYTES_MAX)
    assert sorted(again) == sorted(slices)


def test_the_cluster_id():
    founder = NodePubkey.from_hex(RECORDS["cluster"]["founder"])
    body = RECORDS["cluster"]["founding_body"].encode()
    assert cluster_id_of(founder, body) == CLUSTER


@pytest.mark.parametrize("row", RECORDS["client_ids"], ids=lambda row: row["root"][-20:])
def test_a_client_id(row):
    assert feed_of(row).client_id(CLUSTER) == row["client_id"]
    assert feed_of(row).root == row["root"]


@pytest.mark.parametrize("row", named(RECORDS["records"]))
def test_a_record(row):
    holds, message, record_id = verify(CLUSTER, row)
    assert holds
    assert message.hex() == row["signed_bytes"]
    assert record_id.hex() == row["record_id"]
    record = signed_record(feed_of(row), row["clock"], bytes.fromhex(row["value"]))
    body = parse_body(record.body_bytes)
    if isinstance(body, Carried):
        return
    assert encode_body(body) == record.body_bytes
    key = KEYS[row["pubkey"]]
    signed = sign_record(key, CLUSTER, row["incarnation"], row["clock"], body)
    assert signed.value == record.value  # Ed25519 is deterministic
    assert signed.record_id == record_id


@pytest.mark.parametrize("row", named(RECORDS["wrong_signatures"]))
def test_a_record_moved_elsewhere(row):
    assert not verify(bytes.fromhex(row["cluster_id"]), row)[0]


@pytest.mark.parametrize("row", named(RECORDS["bodies"]))
def test_a_body(row):
    data = bytes.fromhex(row["body_hex"])
    if row["verdict"] == "ok":
        parse_body(data)
    else:
        with pytest.raises(MalformedRecord):
            parse_body(data)


def test_digests():
    digests = RECORDS["digests"]
    assert seal_digest(map(bytes.fromhex, digests["seal_over"])).hex() == digests["seal_digest"]
    superseded = {"execution"}
    ids = {}
    for row in RECORDS["records"]:
        if row["name"] not in superseded:
            ids.setdefault(feed_of(row), []).append((row["clock"], bytes.fromhex(row["record_id"])))
    rows = []
    for row in digests["feeds"]:
        live = [record_id for _, record_id in sorted(ids.get(feed_of(row), []))]
        if row["lowest_fork"] is None:
            assert feed_digest(live).hex() == row["feed_digest"]
        feed = feed_of(row)
        rows.append(
            (feed.author, feed.incarnation, bytes.fromhex(row["feed_digest"]), row["lowest_fork"])
        )
    assert document_digest(rows).hex() == digests["document_digest"]
    assert document_digest([]).hex() == digests["empty_document"]


def test_presence():
    row = RECORDS["presence"]
    node = NodePubkey.from_hex(row["pubkey"])
    said = presence_bytes(CLUSTER, node, row["awareness_clock"], row["state"])
    assert said.hex() == row["signed_bytes"]
    assert KEYS[row["pubkey"]].sign(said).hex() == row["signature"]


def test_hello():
    row = RECORDS["hello"]
    dialer, listener = (NodePubkey.from_hex(row[name]) for name in ("dialer", "listener"))
    nonces = [bytes.fromhex(row[name]) for name in ("dialer_nonce", "listener_nonce")]
    certificate = bytes.fromhex(row["certificate_sha256"])
    for role, name in ((1, "dialer"), (2, "listener")):
        said = hello_bytes(
            row["protocol_version"], CLUSTER, role, dialer, listener, *nonces, certificate
        )
        assert said.hex() == row[f"{name}_signs"]
        assert KEYS[row[name]].sign(said).hex() == row[f"{name}_signature"]


def test_h_is_blake2b_256():
    # RFC 7693 gives no 256-bit example; this is b2sum -l 256 of nothing.
    empty = "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"
    assert H(b"").hex() == empty
