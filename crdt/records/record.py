"""Stage 4 of the line: a record, from its bytes and its position.

Takes a value (signature ‖ body) and the slot it was found in from ``ingest.py``; what is signed
binds cluster, author, incarnation and clock, which are not stored, so a record replayed elsewhere
fails. Source: protocol §4.
"""

from typing import Final, NamedTuple

import msgspec
from machines.values import NodePubkey

from crdt.primitives import limits
from crdt.primitives.errors import MalformedRecord, PeerFault, Reason
from crdt.primitives.hlc import Stamp
from crdt.primitives.identity import ClusterId, FeedId, H, RecordId, RecordRef, SigningKey
from crdt.records.bodies import Body, Known, encode_body, stored_body

RECORD_DOMAIN: Final = b"gangline/record/1"
BODY_BYTES_MIN: Final = 2


class SignedRecord(NamedTuple):
    """A record as somebody brought it: nothing about it is verified."""

    feed: FeedId
    clock: int
    value: bytes

    @property
    def signature(self) -> bytes:
        """The first 64 bytes."""
        return self.value[: limits.SIGNATURE_BYTES]

    @property
    def body_bytes(self) -> bytes:
        """The rest."""
        return self.value[limits.SIGNATURE_BYTES :]


class VerifiedRecord(msgspec.Struct, eq=False, gc=False):
    """A record whose signature holds and whose body is well formed.

    Made by ``ingest.py`` and ``sign_record``, and from the own store; nowhere else. It refers to
    nothing that refers back, so the garbage collector need not walk over it (``gc=False``).
    """

    feed: FeedId
    clock: int
    value: bytes
    record_id: RecordId
    body: Body

    @property
    def ref(self) -> RecordRef:
        """Where it stands, and its id."""
        return RecordRef(self.feed.author, self.feed.incarnation, self.clock, self.record_id)

    @property
    def stamp(self) -> Stamp:
        """When its author says it was written."""
        return Stamp(self.body.at, self.body.n)

    def __repr__(self) -> str:
        feed = f"{self.feed.author.short}/{self.feed.incarnation}"
        return f"VerifiedRecord({feed} #{self.clock} {self.body.kind} {self.record_id.hex()[:8]})"


def signed_record(feed: FeedId, clock: int, value: bytes) -> SignedRecord:
    """Take a value as a record.

    Raises:
        PeerFault: too short or too long to be anybody's.
    """
    if not limits.SIGNATURE_BYTES + BODY_BYTES_MIN <= len(value) <= limits.RECORD_BYTES_MAX:
        raise PeerFault(Reason.BAD_SIGNATURE, f"{len(value)} bytes cannot be a record")
    return SignedRecord(feed, clock, value)


def signed_bytes(cluster: ClusterId, feed: FeedId, clock: int, body_hash: bytes) -> bytes:
    """What an author signs (protocol §4)."""
    return b"".join(
        (
            RECORD_DOMAIN,
            cluster,
            feed.author,
            feed.incarnation.to_bytes(4, "big"),
            clock.to_bytes(8, "big"),
            body_hash,
        )
    )


def signed_bytes_and_id(cluster: ClusterId, record: SignedRecord) -> tuple[bytes, RecordId]:
    """What the author of a record must have signed, and the id that makes."""
    said = signed_bytes(cluster, record.feed, record.clock, H(record.body_bytes))
    return said, RecordId(H(said))


def record_id_of(cluster: ClusterId, feed: FeedId, clock: int, body: bytes) -> RecordId:
    """A record's id."""
    return RecordId(H(signed_bytes(cluster, feed, clock, H(body))))


def sign_record(
    key: SigningKey, cluster: ClusterId, incarnation: int, clock: int, body: Known
) -> VerifiedRecord:
    """Write a record.

    Raises:
        MalformedRecord: the body breaks a bound.
    """
    feed = FeedId(key.pubkey, incarnation)
    data = encode_body(body)
    said = signed_bytes(cluster, feed, clock, H(data))
    return VerifiedRecord(feed, clock, key.sign(said) + data, RecordId(H(said)), body)


def stored_record(
    author: NodePubkey, incarnation: int, clock: int, record_id: bytes, value: bytes
) -> VerifiedRecord:
    """Take a row of the own store, whose signature was checked before it was written.

    Raises:
        MalformedRecord: the row is damaged.
    """
    if len(record_id) != limits.HASH_BYTES:
        raise MalformedRecord("a row whose record id is no hash")
    body = stored_body(value[limits.SIGNATURE_BYTES :])
    return VerifiedRecord(FeedId(author, incarnation), clock, value, RecordId(record_id), body)
