"""Proof of equivocation: two signatures by one author over two different records for one slot.

Stands beside ``ledger.py``, which finds forks and keeps the lowest proof for each feed. A proof
needs no record: the two signatures and the two body hashes say it all, to anybody who knows the
cluster id. Source: protocol §5, §9.
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
    """One side of a proof, from a record's value (signature ‖ body)."""
    return value[: limits.SIGNATURE_BYTES], H(value[limits.SIGNATURE_BYTES :])


def proof_of(feed: FeedId, clock: int, one: Side, other: Side) -> ProofRow:
    """The proof that two sides make, in the one order that every node writes it in."""
    first, second = sorted((one, other), key=lambda side: side[1])
    return ProofRow(feed.author, feed.incarnation, clock, (first, second))


def claimed_proof(body: Evidence) -> ProofRow:
    """What an ``evidence`` record claims to prove."""
    one, other = ((bytes(side.signature), bytes(side.body_hash)) for side in body.proof)
    return proof_of(body.feed, body.clock, one, other)


def sides_hold(cluster: ClusterId, proof: ProofRow, verifier: Verifier) -> list[bool]:
    """For each side whether its signature is the author's, for this very slot."""
    feed = accused(proof)
    return verifier(
        [
            (feed.author, signed_bytes(cluster, feed, proof.clock, body_hash), signature)
            for signature, body_hash in proof.sides
        ]
    )


def proves_fork(cluster: ClusterId, proof: ProofRow, verifier: Verifier) -> bool:
    """Whether both signatures hold for the slot and the bodies differ."""
    (_, one), (_, other) = proof.sides
    return one != other and all(sides_hold(cluster, proof, verifier))


class Proofs(dict[FeedId, ProofRow]):
    """For each accused feed the lowest proven fork."""

    def __init__(self, cluster: ClusterId, verifier: Verifier) -> None:
        super().__init__()
        self._cluster = cluster
        self._verifier = verifier

    def is_news(self, claimed: ProofRow) -> bool:
        """Whether a claimed proof is lower than what is known, and proves what it claims."""
        return self.is_lower(claimed) and self.holds(claimed)

    def holds(self, claimed: ProofRow) -> bool:
        """Whether a claimed proof proves what it claims."""
        return proves_fork(self._cluster, claimed, self._verifier)

    def is_lower(self, claimed: ProofRow) -> bool:
        """Whether it is, if it proves anything, lower than what is known."""
        known = self.get(accused(claimed))
        return known is None or claimed.clock < known.clock


def accused(proof: ProofRow) -> FeedId:
    """The feed that a proof is about."""
    return FeedId(NodePubkey(proof.author), proof.incarnation)
