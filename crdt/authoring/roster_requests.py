"""Roster requests: a node asks an admin to revoke it, or to admit its next key in its place.

A request is sent over the link to the admin. Its signature covers the receiver, the time and a
nonce, so it cannot be forged, relayed, replayed or redirected. The admin answers by writing
ordinary records. Source: protocol §9; docs/decisions/0003.
"""

from collections.abc import Callable
from enum import StrEnum

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
from crdt.wire.roster_request import Answer, RosterRequest, request_bytes


class RequestOutcome(StrEnum):
    """What became of a request; the word of the answer (protocol §9)."""

    DONE = "done"
    NOT_DIRECT = "not_direct"
    NOT_YOURS = "not_yours"
    FOUNDER_STAYS = "founder_stays"
    STALE = "stale"
    KNOWN_KEY = "known_key"
    CANNOT_WRITE = "cannot_write"
    REVOKED = "revoked"
    TOO_SOON = "too_soon"
    BEHIND = "behind"


def make_request(
    key: SigningKey,
    ledger: Ledger,
    receiver: NodePubkey,
    successor: SigningKey | None,
    nonce: bytes,
    wall: Instant,
) -> RosterRequest:
    """Make a signed request. It lists the ends of our feeds, and is later than our admissions."""
    admissions = roster_intents.active_admissions(key.pubkey, ledger.roster)
    at_ms = max([wall.ms, *(admission.body.at.ms + 1 for admission in admissions)])
    ends = tuple(
        (feed.id.incarnation, feed.next_clock)
        for feed in sorted(ledger.feeds.values(), key=lambda feed: feed.id)
        if feed.author == key.pubkey and feed.next_clock
    )
    keys = [key] if successor is None else [key, successor]
    next_key = None if successor is None else successor.pubkey
    request = RosterRequest(key.pubkey, next_key, at_ms, nonce, ends, ())
    signed_bytes = request_bytes(ledger.cluster, receiver, request)
    return request._replace(signatures=tuple(bytes(one.sign(signed_bytes)) for one in keys))


class RequestPace:
    """The rate limit on new keys: every old key keeps its weight and its bounds for ever.

    Nodes are identified by name, which a new key keeps.
    """

    def __init__(self) -> None:
        self._buckets: dict[str, TokenBucket] = {}

    def allows(self, name: str, mono: float) -> bool:
        """Whether the node with this name may take a new key now."""
        bucket = self._buckets.get(name)
        if bucket is None:
            burst, rate = limits.NEW_KEYS_BURST, limits.NEW_KEYS_PER_SECOND
            bucket = self._buckets[name] = TokenBucket(burst, rate, mono)
        return bucket.take(mono)


def answer(
    request: RosterRequest,
    peer: NodePubkey,
    ledger: Ledger,
    own: NodePubkey,
    now: Now,
    pace: RequestPace,
    write: Callable[[roster_intents.Step], Receipt],
) -> Answer:
    """Do what a request asks; the answer is ``done`` or the reason why not.

    Args:
        write: writes a record.

    Raises:
        PeerFault: a signature is invalid.
    """
    word = _refusal(request, peer, ledger, own, now.wall) or RequestOutcome.DONE
    if word is RequestOutcome.DONE:
        intent: roster_intents.RosterIntent = roster_intents.Revoke(request.node)
        if request.successor is not None and not ledger.roster.belongs(request.successor):
            if not pace.allows(ledger.roster.name(peer), now.mono):
                return Answer(request.nonce, RequestOutcome.TOO_SOON)
            intent = roster_intents.Replace(request.node, request.successor)
        try:
            roster_intents.carry_out(intent, ledger, own, write)
        except ProposalRefused:
            word = RequestOutcome.CANNOT_WRITE
    return Answer(request.nonce, word)


def _refusal(
    request: RosterRequest, peer: NodePubkey, ledger: Ledger, own: NodePubkey, wall: Instant
) -> RequestOutcome | None:
    roster = ledger.roster
    if request.node != peer:
        return RequestOutcome.NOT_DIRECT
    if not _is_signed(request, own, ledger.cluster, ledger.verifier):
        raise PeerFault(Reason.BAD_SIGNATURE, "a roster request that its node did not sign")
    admissions = roster_intents.active_admissions(peer, roster)
    if not admissions:
        return RequestOutcome.REVOKED
    if peer == roster.founder:
        return RequestOutcome.FOUNDER_STAYS
    if own != roster.founder and all(one.ref.author != own for one in admissions):
        return RequestOutcome.NOT_YOURS
    newest_ms = max(one.body.at.ms for one in admissions)
    if request.at_ms <= newest_ms or abs(request.at_ms - wall.ms) > limits.STAMP_AHEAD_MS_MAX:
        return RequestOutcome.STALE
    if request.successor is not None:
        is_known = roster.on_roster(request.successor)
        is_known = is_known and not _is_in_place(request.successor, peer, roster)
        return RequestOutcome.KNOWN_KEY if is_known else None
    ends = {
        feed.id.incarnation: feed.next_clock
        for feed in ledger.feeds.values()
        if feed.author == peer
    }
    behind = any(ends.get(number, 0) < end for number, end in request.ends)
    return RequestOutcome.BEHIND if behind else None


def _is_in_place(successor: NodePubkey, node: NodePubkey, roster: Roster) -> bool:
    """Whether another admin has already admitted the next key in place of the node."""
    same_role = roster.role(successor) is roster.role(node)
    return successor != node and same_role and roster.name(successor) == roster.name(node)


def _is_signed(
    request: RosterRequest, own: NodePubkey, cluster: ClusterId, verifier: Verifier
) -> bool:
    signed_bytes = request_bytes(cluster, own, request)
    keys = [request.node] if request.successor is None else [request.node, request.successor]
    jobs = [
        (key, signed_bytes, signature)
        for key, signature in zip(keys, request.signatures, strict=True)
    ]
    return all(verifier(jobs))
