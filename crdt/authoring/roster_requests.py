"""A node asks to be taken off the roster, or to have its next key put in its place.

Stands beside ``replica.py``. Asked over the link to one who may do it, and of nobody else: the
asking key signs the receiver, the instant and a nonce with the rest, so that nobody can make,
relay, replay or redirect a petition. What follows from one are ordinary records of the receiver.
Source: protocol §9; docs/decisions/0003.
"""

from collections.abc import Callable
from typing import Final

from machines.values import Instant, NodePubkey

from crdt.authoring import roster_intents
from crdt.authoring.intents import Receipt
from crdt.contract.ready import Now
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.errors import PeerFault, ProposalRefused, Reason
from crdt.primitives.identity import ClusterId, SigningKey
from crdt.primitives.token_bucket import TokenBucket
from crdt.records.signatures import Verifier
from crdt.views.roster import Roster
from crdt.wire.roster_request import Answer, RosterRequest, petition_bytes

DONE: Final = "done"
TOO_SOON: Final = "too_soon"
BEHIND: Final = "behind"


def petition(
    key: SigningKey,
    ledger: Ledger,
    receiver: NodePubkey,
    successor: SigningKey | None,
    nonce: bytes,
    wall: Instant,
) -> RosterRequest:
    """Ask, saying how far the own feeds go; later than the word by which this node belongs."""
    standing = roster_intents.active_admissions(key.pubkey, ledger.roster)
    at_ms = max([wall.ms, *(admission.body.at.ms + 1 for admission in standing)])
    ends = tuple(
        (feed.id.incarnation, feed.next_clock)
        for feed in sorted(ledger.feeds.values(), key=lambda feed: feed.id)
        if feed.author == key.pubkey and feed.next_clock
    )
    keys = [key] if successor is None else [key, successor]
    named = None if successor is None else successor.pubkey
    asked = RosterRequest(key.pubkey, named, at_ms, nonce, ends, ())
    said = petition_bytes(ledger.cluster, receiver, asked)
    return asked._replace(signatures=tuple(bytes(one.sign(said)) for one in keys))


class RequestPace:
    """How often a node may take a new key: each old one keeps its weight and its rooms for good.

    By name, which a new key keeps.
    """

    def __init__(self) -> None:
        self._buckets: dict[str, TokenBucket] = {}

    def allows(self, name: str, mono: float) -> bool:
        """Whether the node of this name may have a new key now."""
        bucket = self._buckets.get(name)
        if bucket is None:
            many, each = limits.NEW_KEYS_BURST, limits.NEW_KEYS_PER_SECOND
            bucket = self._buckets[name] = TokenBucket(many, each, mono)
        return bucket.take(mono)


def answer(
    asked: RosterRequest,
    peer: NodePubkey,
    ledger: Ledger,
    own: NodePubkey,
    now: Now,
    pace: RequestPace,
    write: Callable[[roster_intents.Step], Receipt],
) -> Answer:
    """Do what a petition asks, or say in one word why not.

    Raises:
        PeerFault: a signature does not hold.
    """
    word = _why_not(asked, peer, ledger, own, now.wall)
    if not word:
        word = DONE
        wish: roster_intents.RosterIntent = roster_intents.Revoke(asked.node)
        if asked.successor is not None and not ledger.roster.belongs(asked.successor):
            if not pace.allows(ledger.roster.name(peer), now.mono):
                return Answer(asked.nonce, TOO_SOON)
            wish = roster_intents.Replace(asked.node, asked.successor)
        try:
            roster_intents.carry_out(wish, ledger, own, write)
        except ProposalRefused:
            word = "cannot_write"
    return Answer(asked.nonce, word)


def _why_not(
    asked: RosterRequest, peer: NodePubkey, ledger: Ledger, own: NodePubkey, wall: Instant
) -> str:
    roster = ledger.roster
    if asked.node != peer:
        return "not_direct"
    if not _is_signed(asked, own, ledger.cluster, ledger.verifier):
        raise PeerFault(Reason.BAD_SIGNATURE, "a petition that its node did not sign")
    standing = roster_intents.active_admissions(peer, roster)
    if not standing:
        return "revoked"
    if peer == roster.founder:
        return "founder_stays"
    if own != roster.founder and all(one.ref.author != own for one in standing):
        return "not_yours"
    oldest = max(one.body.at.ms for one in standing)
    if asked.at_ms <= oldest or abs(asked.at_ms - wall.ms) > limits.STAMP_AHEAD_MS_MAX:
        return "stale"
    if asked.successor is not None:
        known = roster.on_roster(asked.successor)
        return "known_key" if known and not _is_in_place(asked.successor, peer, roster) else ""
    held = {
        feed.id.incarnation: feed.next_clock
        for feed in ledger.feeds.values()
        if feed.author == peer
    }
    return BEHIND if any(held.get(number, 0) < end for number, end in asked.ends) else ""


def _is_in_place(successor: NodePubkey, node: NodePubkey, roster: Roster) -> bool:
    """Whether another who admitted the node put its next key in its place already."""
    same_role = roster.role(successor) is roster.role(node)
    return successor != node and same_role and roster.name(successor) == roster.name(node)


def _is_signed(
    asked: RosterRequest, own: NodePubkey, cluster: ClusterId, verifier: Verifier
) -> bool:
    said = petition_bytes(cluster, own, asked)
    keys = [asked.node] if asked.successor is None else [asked.node, asked.successor]
    jobs = [(key, said, signature) for key, signature in zip(keys, asked.signatures, strict=True)]
    return all(verifier(jobs))
