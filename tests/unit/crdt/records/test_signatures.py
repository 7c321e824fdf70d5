import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.primitives.identity import SigningKey
from crdt.records.signatures import is_valid_key, verify_batch
from machines.values import NodePubkey

KEY = SigningKey(b"k" * 32)
OTHER = SigningKey(b"o" * 32)
SAID = b"what was said"
SIGNATURE = KEY.sign(SAID)
# The order of the group (RFC 8032 §5.1).
L = 2**252 + 27742317777372353535851937790883648493
P = 2**255 - 19
# Points of small order, in every encoding that has fewer than 256 bits: of order 1, 2, 4 and 8, and
# the same written with a y that is not below p (eprint 2020/1244, table 1).
SMALL = [
    bytes.fromhex(point)
    for point in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
]


RFC_8032 = [
    # §7.1: key, message, signature; TEST 1, 2, 3 and SHA(abc). TEST 1024 is in Wycheproof's too.
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        (
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ),
        (
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
            "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"
        ),
    ),
]
WYCHEPROOF = json.loads(
    (Path(__file__).parents[3] / "wycheproof" / "ed25519_test.json").read_text()
)
POLICY = {"SmallOrderPublicKey": False, "MixedOrderPublicKey": True}
"""Of what a verifier may take or leave: a key of small order signs nothing; one that only has a
part of small order signs for itself alone, as libsodium has it on every host."""


@pytest.mark.parametrize("row", RFC_8032, ids=lambda row: row[0][:8])
def test_the_examples_of_the_rfc(row):
    key, said, signature = map(bytes.fromhex, row)
    jobs = [(NodePubkey(key), said, signature), (NodePubkey(key), said + b"!", signature)]
    assert verify_batch(jobs) == [True, False]


@pytest.mark.parametrize("result", ["valid", "invalid", "acceptable"])
def test_every_vector_of_wycheproof(result):
    tests = [
        (group["publicKey"]["pk"], test)
        for group in WYCHEPROOF["testGroups"]
        for test in group["tests"]
        if test["result"] == result
    ]
    jobs = [
        (NodePubkey.from_hex(key), bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]))
        for key, test in tests
    ]
    expected = [
        POLICY[test["flags"][0]] if result == "acceptable" else result == "valid"
        for _, test in tests
    ]
    assert len(tests) == {"valid": 117, "invalid": 64, "acceptable": 29}[result]
    wrong = zip(tests, verify_batch(jobs), expected, strict=True)
    assert not [(test["tcId"], test["flags"]) for (_, test), got, want in wrong if got != want]


def test_results_come_in_the_order_of_the_jobs():
    good = (KEY.pubkey, SAID, SIGNATURE)
    bad = (KEY.pubkey, SAID + b"!", SIGNATURE)
    stranger = (OTHER.pubkey, SAID, SIGNATURE)
    assert verify_batch([good, bad, good, stranger]) == [True, False, True, False]
    assert verify_batch([]) == []


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 128])
def test_signature_of_wrong_length_is_invalid(size):
    assert verify_batch([(KEY.pubkey, SAID, (SIGNATURE + SIGNATURE)[:size])]) == [False]


def test_shifted_signature_is_invalid():
    # Signature and message are joined for libsodium; a byte moved from one to the other must tell.
    job = (KEY.pubkey, SIGNATURE[63:] + SAID, SIGNATURE[:63])
    assert verify_batch([job, (KEY.pubkey, SAID[1:], SIGNATURE + SAID[:1])]) == [False, False]


def test_the_second_form_of_a_signature_is_refused():
    # S + L verifies with the same equation: RFC 8032 §5.1.7 wants S in 0 <= S < L.
    s = int.from_bytes(SIGNATURE[32:], "little")
    forms = [SIGNATURE[:32] + (s + k * L).to_bytes(32, "little") for k in range(8)]
    assert verify_batch([(KEY.pubkey, SAID, form) for form in forms]) == [True] + [False] * 7


@pytest.mark.parametrize("point", SMALL, ids=lambda point: point.hex()[:8])
def test_points_of_small_order_sign_nothing(point):
    # With such a key, R = that point and S = 0 would hold for one message in a few, or for all.
    zero = bytes(32)
    messages = [bytes([byte]) for byte in range(32)]
    jobs = [(NodePubkey(point), said, r + zero) for said in messages for r in (point, SMALL[0])]
    assert not any(verify_batch(jobs))
    assert verify_batch([(KEY.pubkey, SAID, point + zero)]) == [False]
    assert verify_batch([(KEY.pubkey, SAID, point + SIGNATURE[32:])]) == [False]
    assert not is_valid_key(NodePubkey(point))


@pytest.mark.parametrize("y", [P, P + 1, P + 3, P + 18, 2**255 - 1, 2])
def test_keys_that_are_no_point_or_not_canonical(y):
    for sign in (0, 2**255):
        key = NodePubkey((y | sign).to_bytes(32, "little"))
        assert verify_batch([(key, SAID, SIGNATURE)]) == [False]
        assert not is_valid_key(key)


@given(st.binary(min_size=32, max_size=32))
def test_every_key_that_a_seed_makes_may_sign(seed):
    assert is_valid_key(SigningKey(seed).pubkey)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=80), st.binary(max_size=70))
def test_nothing_raises_and_chance_signs_nothing(key, said, signature):
    assert verify_batch([(NodePubkey(key), said, signature)]) == [False]


@given(st.binary(max_size=200), st.integers(0, 511))
def test_one_bit_is_enough(said, bit):
    signature = KEY.sign(said)
    spoilt = bytearray(signature)
    spoilt[bit // 8] ^= 1 << bit % 8
    jobs = [(KEY.pubkey, said, signature), (KEY.pubkey, said, bytes(spoilt))]
    assert verify_batch(jobs) == [True, False]
