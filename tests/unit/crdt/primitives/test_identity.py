import copy
import pickle

import pytest

from crdt.primitives.identity import (
    ClusterId,
    FeedId,
    H,
    Hash,
    RecordId,
    RecordRef,
    Signature,
    SigningKey,
    cluster_id_of,
)
from machines.errors import InvalidValue
from machines.values import NodePubkey
from tests.support.builders.vectors import CLUSTER, KEYS, RECORDS, feed_of

SEED = b"\x07" * 32


def test_h_is_plain_blake2b_of_32_bytes():
    # `b2sum -l 256` of nothing and of "abc".
    assert H(b"").hex() == "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"
    assert H(b"abc").hex() == "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"


@pytest.mark.parametrize(("kind", "size"), [(RecordId, 32), (Hash, 32), (Signature, 64)])
def test_hashes_have_one_length_and_text_form(kind, size):
    value = kind(b"\xab" * size)
    assert str(value) == "ab" * size
    assert kind.from_hex("ab" * size) == value
    wrong = [b"", b"x" * (size - 1), b"x" * (size + 1), "x" * size, bytearray(size), None, size]
    for raw in wrong:
        with pytest.raises(InvalidValue):
            kind(raw)
    texts = ["", "AB" * size, "ab" * (size - 1), "ab" * size + "a", " " + "ab" * size, "ag" * size]
    for text in (*texts, "a" * (2 * size - 1) + "\n", b"ab" * size, None):
        with pytest.raises(InvalidValue):
            kind.from_hex(text)


@pytest.mark.parametrize("row", RECORDS["client_ids"], ids=lambda row: row["root"][-20:])
def test_a_feed_has_a_root_and_a_client_id(row):
    assert feed_of(row).root == row["root"]
    assert feed_of(row).client_id(CLUSTER) == row["client_id"] < 2**53


def test_client_id_depends_on_all_its_inputs():
    one, other = NodePubkey(b"a" * 32), NodePubkey(b"b" * 32)
    ids = {
        FeedId(node, incarnation).client_id(ClusterId(cluster))
        for node in (one, other)
        for incarnation in (0, 2**32 - 1)
        for cluster in (b"c" * 32, b"d" * 32)
    }
    assert len(ids) == 8


def test_a_reference_names_its_feed():
    ref = RecordRef(NodePubkey(b"a" * 32), 3, 9, RecordId(b"r" * 32))
    assert ref.feed == FeedId(NodePubkey(b"a" * 32), 3)


def test_cluster_id_hashes_founder_and_founding_body():
    founder = NodePubkey.from_hex(RECORDS["cluster"]["founder"])
    body = RECORDS["cluster"]["founding_body"].encode()
    assert cluster_id_of(founder, body) == CLUSTER
    assert cluster_id_of(founder, body + b" ") != CLUSTER


@pytest.mark.parametrize("node", RECORDS["nodes"], ids=lambda node: node["pubkey"][:8])
def test_a_key_is_made_from_its_seed(node):
    key = SigningKey(bytes.fromhex(node["seed"]))
    assert key.pubkey.hex() == node["pubkey"]
    assert key.seed().hex() == node["seed"]
    assert len(key.sign(b"message")) == 64
    assert key.sign(b"message") == KEYS[node["pubkey"]].sign(b"message")


@pytest.mark.parametrize("seed", [b"", b"x" * 31, b"x" * 33, b"x" * 64])
def test_a_seed_has_32_bytes(seed):
    with pytest.raises(InvalidValue):
        SigningKey(seed)


def test_signing_key_is_never_shown():
    key = SigningKey(SEED)
    for shown in (repr(key), str(key), f"{key}", f"{key!s:>80}", f"{key:x}", f"{[key]}"):
        assert SEED.hex() not in shown
        assert repr(SEED)[2:-1] not in shown
        assert "***" in shown
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(key)
    assert not hasattr(key, "__dict__")
