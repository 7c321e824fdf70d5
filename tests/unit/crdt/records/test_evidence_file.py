import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, structs

from crdt.primitives import limits
from crdt.primitives.errors import MalformedEvidence
from crdt.primitives.identity import H, Hash, Signature
from crdt.records.evidence_file import (
    BodyBytes,
    EvidenceFile,
    Side,
    check,
    encode_evidence,
    evidence_file,
    parse_evidence,
)
from crdt.records.fork_proof import proof_of, proof_side
from crdt.records.signatures import verify_batch
from machines.errors import InvalidValue
from tests.support.builders.record_author import RecordAuthor
from tests.support.builders.vectors import CLUSTER, KEYS

ONE, OTHER, *_ = KEYS.values()
AT_MS = 1_795_500_000_000


def fork(signing=ONE, clock=4):
    pen = RecordAuthor(signing, CLUSTER, AT_MS)
    return [pen.story("s", title=title, clock=clock, incarnation=9) for title in ("a", "b")]


def made(*, held=2):
    pair = fork()
    one, other = (proof_side(record.value) for record in pair)
    bodies = [record.value[64:] for record in pair][:held]
    return evidence_file(CLUSTER, proof_of(pair[0].feed, 4, one, other), bodies)


def why(data):
    with pytest.raises(MalformedEvidence) as fault:
        parse_evidence(data)
    return str(fault.value)


@pytest.mark.parametrize("held", [0, 1, 2])
def test_file_alone_proves_a_fork(held):
    file = parse_evidence(encode_evidence(made(held=held)))
    assert file == made(held=held)
    assert check(file, verify_batch).proven
    assert sum(side.body is not UNSET for side in file.sides) == held
    assert file.feed == fork()[0].feed


def test_the_proof_is_the_one_that_nodes_exchange():
    one, other = fork()
    proof = proof_of(one.feed, 4, proof_side(one.value), proof_side(other.value))
    assert made(held=0).proof() == made().proof() == proof


def test_what_proves_nothing():
    good = made()
    one, other = good.sides
    stranger = next(iter(evidence_of(OTHER).sides))
    cases = {
        (True, False): [replaced(good, one, structs.replace(other, signature=one.signature))],
        (False, False): [
            structs.replace(good, cluster=Hash(b"c" * 32)),
            structs.replace(good, clock=5),
            structs.replace(good, incarnation=8),
            structs.replace(good, author=OTHER.pubkey),
        ],
        (False, True): [replaced(good, stranger, other)],
    }
    for hold, files in cases.items():
        for file in files:
            found = check(file, verify_batch)
            assert (found.hold, found.differ, found.proven) == (hold, True, False)


def test_one_record_twice_is_no_fork():
    good = made()
    found = check(replaced(good, *good.sides[:1] * 2), verify_batch)
    assert found.hold == (True, True)
    assert not found.differ
    assert not found.proven
    # Nor is it by writing the body here and its hash there.
    [one, _] = good.sides
    bare = Side(signature=one.signature, body_hash=Hash(one.hash))
    assert not check(replaced(good, one, bare), verify_batch).proven


def evidence_of(signing):
    one, other = fork(signing)
    proof = proof_of(one.feed, 4, proof_side(one.value), proof_side(other.value))
    return evidence_file(CLUSTER, proof, ())


def replaced(file, *sides):
    return structs.replace(file, sides=sides)


def test_a_side_has_its_body_or_its_hash_and_never_both():
    signature = Signature(b"s" * 64)
    with pytest.raises(InvalidValue):
        Side(signature=signature)
    with pytest.raises(InvalidValue):
        Side(signature=signature, body=BodyBytes(b"{}"), body_hash=Hash(H(b"{}")))


def test_the_largest_file_there_can_be_fits_its_bound():
    body = BodyBytes(b"\xff" * limits.BODY_BYTES_MAX)
    side = Side(signature=Signature(b"\xff" * 64), body=body)
    file = EvidenceFile(
        cluster=Hash(b"\xff" * 32), author=ONE.pubkey, incarnation=limits.INCARNATION_MAX,
        clock=limits.CLOCK_MAX, sides=(side, side),
    )  # fmt: skip
    data = encode_evidence(file)
    assert len(data) <= limits.EVIDENCE_FILE_BYTES_MAX < len(data) + limits.KIB
    assert parse_evidence(data) == file


def test_invalid_evidence_file_is_refused():
    good = encode_evidence(made())
    fields = json.loads(good)

    def said(**changed):
        return why(json.dumps(fields | changed, sort_keys=True, separators=(",", ":")).encode())

    assert "longer than" in why(good + b" " * limits.EVIDENCE_FILE_BYTES_MAX)
    assert "malformed" in why(b"\xff")
    assert "truncated" in why(good[:-2])
    assert "got `array`" in why(b"[" * 5000)
    assert "missing required field" in why(b"{}")
    assert "evidence-file/2" in said(format="gangline/evidence-file/2")
    assert "unknown field `more`" in said(more=1)
    assert ">= 0" in said(clock=-1)
    assert "<= 2147483647" in said(clock=2**31)
    assert "<= 4294967295" in said(incarnation=2**32)
    assert "64 lower-case hex" in said(cluster=fields["cluster"].upper())
    assert "64 lower-case hex" in said(author="00")
    assert "length 2" in said(sides=fields["sides"][:1])
    [one, other] = fields["sides"]
    assert "128 lower-case hex" in said(sides=[one, other | {"signature": "00"}])
    for body in ("0", "0g", "AB", "00" * (limits.BODY_BYTES_MAX + 1), 7):
        assert "lower-case hex digits" in said(sides=[one, other | {"body": body}])
    assert "either body or body_hash" in said(sides=[one, {"signature": other["signature"]}])
    assert "either body or body_hash" in said(sides=[one, other | {"body_hash": "00" * 32}])
    for other_form in (good + b"\n", b" " + good, good.replace(b":", b": ", 1)):
        assert "canonical form" in why(other_form)
    assert parse_evidence(good.removesuffix(b"\n")) == parse_evidence(good)


def test_what_a_refusal_quotes_is_short_and_plain():
    told = why(b'{"format":"' + "\u202e\x9b".encode() * 5000 + b'"}')
    assert told.isascii()
    assert len(told) < 300


@given(st.data())
def test_one_changed_byte_proves_nothing(data):
    """Whatever is changed: refused, or it proves nothing, or it says the very same."""
    good = encode_evidence(made())
    at = data.draw(st.integers(0, len(good) - 1))
    changed = good[:at] + data.draw(st.binary(min_size=1, max_size=1)) + good[at + 1 :]
    try:
        file = parse_evidence(changed)
    except MalformedEvidence:
        return
    assert file == made() or not check(file, verify_batch).proven
