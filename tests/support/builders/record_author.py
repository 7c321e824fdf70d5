"""Authors who sign whatever they are told: the honest way to make dishonest records."""

from msgspec import UNSET

from crdt.ledger.ingest import UndecodableRecord
from crdt.primitives import limits
from crdt.primitives.canonical_json import encode as canonical
from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import FeedId, H, Hash, RecordId, Signature
from crdt.records.bodies import (
    SEAL_KEY,
    Ack,
    Carried,
    Claim,
    Evidence,
    Execution,
    Member,
    ProofSide,
    Revocation,
    Seal,
    Story,
    Transition,
    encode_body,
    evidence_key,
    parse_body,
)
from crdt.records.fork_proof import proof_side
from crdt.records.record import VerifiedRecord, sign_record, signed_bytes
from crdt.wire.messages import Records, encode_frame
from machines.values import Instant, StoryId


class RecordAuthor:
    """One author's pen: writes at any slot, with any stamp, whatever the rules say."""

    def __init__(self, signing, cluster, start_ms, incarnation=0, clock=0):
        self.signing = signing
        self.node = signing.pubkey
        self.cluster = cluster
        self.ms = start_ms
        self.incarnation = incarnation
        self.clock = clock

    def at(self, ms=None):
        self.ms = self.ms + 1 if ms is None else ms
        return Instant.nearest(self.ms)

    def write(self, body, *, clock=None, incarnation=None):
        if clock is None:
            clock, self.clock = self.clock, self.clock + 1
        incarnation = self.incarnation if incarnation is None else incarnation
        return sign_record(self.signing, self.cluster, incarnation, clock, body)

    def sign_bytes(self, data, *, clock=None):
        """Any bytes in the place of a body, under a signature that holds."""
        if clock is None:
            clock, self.clock = self.clock, self.clock + 1
        feed = FeedId(self.node, self.incarnation)
        said = signed_bytes(self.cluster, feed, clock, H(data))
        return UndecodableRecord(feed, clock, self.signing.sign(said) + data, RecordId(H(said)), "")

    def raw(self, fields, *, clock=None):
        """A record of any fields at all, such as a kind that nobody knows."""
        signed = self.sign_bytes(canonical(fields), clock=clock)
        body = parse_body(signed.value[limits.SIGNATURE_BYTES :])
        return VerifiedRecord(*signed[:4], body)

    def transition(self, story, event, parent=None, *, ms=None, **where):
        ref = None if parent is None else parent.ref
        body = Transition(at=self.at(ms), n=0, story=StoryId(story), event=event, parent=ref)
        return self.write(body, **where)

    def ack(self, story, end, **where):
        return self.write(Ack(at=self.at(), n=0, story=StoryId(story), end=end.ref), **where)

    def story(self, story, *, ms=None, title=UNSET, description=UNSET, **where):
        body = Story(
            at=self.at(ms), n=0, story=StoryId(story), title=title, description=description
        )
        return self.write(body, **where)

    def execution(self, story, previous, event, state, *, ms=None, **where):
        body = Execution(
            at=self.at(ms), n=0, key=StoryId(story), previous=previous, event=event, state=state
        )
        return self.write(body, **where)

    def release(self, story, **where):
        return self.write(Claim(at=self.at(), n=0, key=StoryId(story), released=True), **where)

    def claim(self, story, since):
        """A claim since any instant, until in an hour."""
        at = self.at()
        until = Instant.nearest(at.ms + limits.CLAIM_MS_MAX)
        body = Claim(
            at=at, n=0, key=StoryId(story), since=Stamp(Instant(since), 0), until=until,
            released=UNSET,
        )  # fmt: skip
        return self.write(body)

    def seal(self, count, digest, **where):
        body = Seal(at=self.at(), n=0, key=SEAL_KEY, count=count, digest=Hash(digest))
        return self.write(body, **where)

    def accusation(self, feed, clock, value):
        """Evidence against the author of a record; it never signed the other side."""
        never = b"never said"
        forged = (self.signing.sign(never), H(never))
        return self._evidence(feed, clock, proof_side(value), forged)

    def member(self, node, role, name="node", **where):
        return self.write(Member(at=self.at(), n=0, node=node, role=role, name=name), **where)

    def revocation(self, node, admissions, keep=(), **where):
        ids = tuple(record.record_id for record in admissions)
        body = Revocation(at=self.at(), n=0, node=node, admissions=ids, keep=tuple(keep))
        return self.write(body, **where)

    def evidence(self, one, other, **where):
        sides = proof_side(one.value), proof_side(other.value)
        return self._evidence(one.feed, one.clock, *sides, **where)

    def _evidence(self, feed, clock, *sides, **where):
        sides = sorted(sides, key=lambda side: side[1])
        body = Evidence(
            at=self.at(), n=0, key=evidence_key(feed), feed=feed, clock=clock,
            proof=tuple(ProofSide(Signature(s), Hash(h)) for s, h in sides),
        )  # fmt: skip
        return self.write(body, **where)


def as_frame(*records):
    """Records of one feed, by position, as a peer sends them."""
    feed = records[0].feed
    rows = tuple((record.clock, record.value) for record in records)
    return encode_frame(Records(feed.author, feed.incarnation, rows))


__all__ = ["Carried", "RecordAuthor", "as_frame", "encode_body"]
