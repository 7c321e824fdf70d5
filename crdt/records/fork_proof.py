"""Fork proofs: signatures by one author of two different records for one slot.

A proof needs no records: anyone who knows the cluster id can check the two signatures and body
hashes. Source: protocol §5, §9.
"""

from machines.values import NodePubkey

from crdt.contract.ready import ProofRow
from crdt.primitives import limits
from crdt.primitives.identity import ClusterId, FeedId, H
from crdt.records.bodies import Evidence
from crdt.records.record import signed_bytes
from crdt.records.signatures import Verifier

Side = tuple[bytes, bytes]
"""A signature (64 bytes) and H(body) (32 bytes)."""


def proof_side(value: bytes) -> Side:
    """Return one side of a proof, from the value of a record (signature ‖ body)."""
    return value[: limits.SIGNATURE_BYTES], H(value[limits.SIGNATURE_BYTES :])


def proof_of(feed: FeedId, clock: int, one: Side, other: Side) -> ProofRow:
    """Make a proof from two sides; their order is the same on every node."""
    first, second = sorted((one, other), key=lambda side: side[1])
    return ProofRow(feed.author, feed.incarnation, clock, (first, second))


def claimed_proof(body: Evidence) -> ProofRow:
    """Return the proof in an ``evidence`` record, unchecked."""
    one, other = ((bytes(side.signature), bytes(side.body_hash)) for side in body.proof)
    return proof_of(body.feed, body.clock, one, other)


def valid_sides(cluster: ClusterId, proof: ProofRow, verifier: Verifier) -> list[bool]:
    """Return for each side whether its signature is valid for the author and the slot."""
    feed = accused(proof)
    return verifier(
        [
            (feed.author, signed_bytes(cluster, feed, proof.clock, body_hash), signature)
            for signature, body_hash in proof.sides
        ]
    )


def proves_fork(cluster: ClusterId, proof: ProofRow, verifier: Verifier) -> bool:
    """Whether both signatures are valid for the slot and the bodies differ."""
    (_, one), (_, other) = proof.sides
    return one != other and all(valid_sides(cluster, proof, verifier))


class Proofs(dict[FeedId, ProofRow]):
    """The lowest proven fork of each accused feed."""

    def __init__(self, cluster: ClusterId, verifier: Verifier) -> None:
        super().__init__()
        self._cluster = cluster
        self._verifier = verifier

    def is_news(self, claimed: ProofRow) -> bool:
        """Whether a proof is valid, and lower than the known one."""
        return self.is_lower(claimed) and self.is_valid(claimed)

    def is_valid(self, claimed: ProofRow) -> bool:
        """Whether a proof is valid."""
        return proves_fork(self._cluster, claimed, self._verifier)

    def is_lower(self, claimed: ProofRow) -> bool:
        """Whether a proof is lower than the known one; does not check signatures."""
        known = self.get(accused(claimed))
        return known is None or claimed.clock < known.clock


def accused(proof: ProofRow) -> FeedId:
    """Return the feed that a proof accuses."""
    return FeedId(NodePubkey(proof.author), proof.incarnation)
