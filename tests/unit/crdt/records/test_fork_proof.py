from msgspec import structs

from crdt.primitives.identity import ClusterId, H, Hash, Signature
from crdt.records.bodies import Evidence, ProofSide, encode_body, evidence_key, parse_body
from crdt.records.fork_proof import (
    Proofs,
    accused,
    claimed_proof,
    proof_of,
    proof_side,
    proves_fork,
)
from crdt.records.record import sign_record, signed_bytes
from crdt.records.signatures import verify_batch
from tests.support.builders.record_author import RecordAuthor
from tests.support.builders.vectors import CLUSTER, KEYS

ONE, OTHER, *_ = KEYS.values()
AT_MS = 1_795_500_000_000


def fork(clock=4, incarnation=9):
    pen = RecordAuthor(ONE, CLUSTER, AT_MS)
    return [
        pen.story("s", title=title, clock=clock, incarnation=incarnation) for title in ("a", "b")
    ]


def prove(one, other, cluster=CLUSTER):
    proof = proof_of(one.feed, one.clock, proof_side(one.value), proof_side(other.value))
    return proves_fork(cluster, proof, verify_batch)


def test_two_records_in_one_slot_prove_a_fork():
    one, other = fork()
    assert prove(one, other)
    assert prove(other, one)


def test_order_of_sides_does_not_matter():
    one, other = (proof_side(record.value) for record in fork())
    [record, _] = fork()
    assert proof_of(record.feed, 4, one, other) == proof_of(record.feed, 4, other, one)


def test_what_proves_nothing():
    one, other = fork()
    [far, _] = fork(clock=5)
    [again, _] = fork(incarnation=8)
    stranger = sign_record(OTHER, CLUSTER, 9, 4, other.body)
    assert not prove(one, one)
    assert not prove(one, far)
    assert not prove(far, one)
    assert not prove(one, again)
    assert not prove(one, stranger)
    assert not prove(one, other, ClusterId(b"c" * 32))


def test_two_signatures_of_one_body_are_no_fork():
    # Ed25519 lets a dishonest author make many signatures of one message; ids leave them out.
    [one, _] = fork()
    first, body_hash = proof_side(one.value)
    said = signed_bytes(CLUSTER, one.feed, 4, body_hash)
    assert verify_batch([(ONE.pubkey, said, first)]) == [True]
    assert not proves_fork(
        CLUSTER, proof_of(one.feed, 4, (first, body_hash), (b"x" * 64, body_hash)), verify_batch
    )


def test_side_is_signature_and_body_hash():
    [one, _] = fork()
    assert proof_side(one.value) == (one.value[:64], H(encode_body(one.body)))


def test_evidence_carries_a_proof_without_records():
    one, other = fork()
    record = RecordAuthor(OTHER, CLUSTER, AT_MS).evidence(one, other)
    body = parse_body(record.value[64:])
    assert isinstance(body, Evidence)
    assert body.key == evidence_key(one.feed)
    assert proves_fork(CLUSTER, claimed_proof(body), verify_batch)
    # The same, whichever way round its author wrote the two.
    turned = structs.replace(body, proof=(body.proof[1], body.proof[0]))
    assert claimed_proof(turned) == claimed_proof(body)
    made_up = ProofSide(Signature(b"s" * 64), Hash(b"h" * 32))
    lie = structs.replace(body, proof=(body.proof[0], made_up))
    assert not proves_fork(CLUSTER, claimed_proof(lie), verify_batch)


def test_only_a_valid_lower_proof_is_news():
    def claimed(clock):
        one, other = fork(clock)
        return proof_of(one.feed, clock, proof_side(one.value), proof_side(other.value))

    proofs = Proofs(CLUSTER, verify_batch)
    assert proofs.is_news(claimed(4))
    assert not proofs.is_news(claimed(4)._replace(clock=3))
    proofs[accused(claimed(4))] = claimed(4)
    assert [proofs.is_news(claimed(clock)) for clock in (3, 4, 5)] == [True, False, False]
    assert proofs.is_lower(claimed(4)._replace(clock=3))
