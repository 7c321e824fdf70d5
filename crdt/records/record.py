"""Stage 4 of the gate: records, from their bytes and position.

A value is signature ‖ body. The signature also covers cluster, author, incarnation and clock, which
are not stored in it, so a record replayed elsewhere is invalid. Source: protocol §4.
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
    """A record as a peer sent it; nothing is verified."""

    feed: FeedId
    clock: int
    value: bytes

    @property
    def signature(self) -> bytes:
        """The first 64 bytes."""
        return self.value[: limits.SIGNATURE_BYTES]

    @property
    def body_bytes(self) -> bytes:
        """The bytes after the signature."""
        return self.value[limits.SIGNATURE_BYTES :]


class VerifiedRecord(msgspec.Struct, eq=False, gc=False):
    """A record with a valid signature and a well-formed body.

    Made only by ``ingest.py``, ``sign_record`` and ``stored_record``. It is never part of a
    reference cycle, so the garbage collector skips it (``gc=False``).
    """

    feed: FeedId
    clock: int
    value: bytes
    record_id: RecordId
    body: Body

    @property
    def ref(self) -> RecordRef:
        """Its slot and its id."""
        return RecordRef(self.feed.author, self.feed.incarnation, self.clock, self.record_id)

    @property
    def stamp(self) -> Stamp:
        """When it was written, according to its author."""
        return Stamp(self.body.at, self.body.n)

    def __repr__(self) -> str:
        feed = f"{self.feed.author.short}/{self.feed.incarnation}"
        return f"VerifiedRecord({feed} #{self.clock} {self.body.kind} {self.record_id.hex()[:8]})"


def signed_record(feed: FeedId, clock: int, value: bytes) -> SignedRecord:
    """Make a record from its slot and value, and check the length.

    Raises:
        PeerFault: too short or too long for any record.
    """
    if not limits.SIGNATURE_BYTES + BODY_BYTES_MIN <= len(value) <= limits.RECORD_BYTES_MAX:
        raise PeerFault(Reason.BAD_SIGNATURE, f"{len(value)} bytes cannot be a record")
    return SignedRecord(feed, clock, value)


def signed_bytes(cluster: ClusterId, feed: FeedId, clock: int, body_hash: bytes) -> bytes:
    """Return the bytes that an author signs (protocol §4)."""
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
    """Return the bytes that the author must have signed, and the id of the record."""
    signed = signed_bytes(cluster, record.feed, record.clock, H(record.body_bytes))
    return signed, RecordId(H(signed))


def record_id_of(cluster: ClusterId, feed: FeedId, clock: int, body: bytes) -> RecordId:
    """Return the id of a record."""
    return RecordId(H(signed_bytes(cluster, feed, clock, H(body))))


def sign_record(
    key: SigningKey, cluster: ClusterId, incarnation: int, clock: int, body: Known
) -> VerifiedRecord:
    """Sign a body as the record at ``clock`` of a feed of ``key``.

    Raises:
        MalformedRecord: the body exceeds a limit.
    """
    feed = FeedId(key.pubkey, incarnation)
    data = encode_body(body)
    signed = signed_bytes(cluster, feed, clock, H(data))
    return VerifiedRecord(feed, clock, key.sign(signed) + data, RecordId(H(signed)), body)


def stored_record(
    author: NodePubkey, incarnation: int, clock: int, record_id: bytes, value: bytes
) -> VerifiedRecord:
    """Make a record from a row of our own store; its signature was checked before it was stored.

    Raises:
        MalformedRecord: the row is damaged.
    """
    if len(record_id) != limits.HASH_BYTES:
        raise MalformedRecord("a row whose record id is not a hash")
    body = stored_body(value[limits.SIGNATURE_BYTES :])
    return VerifiedRecord(FeedId(author, incarnation), clock, value, RecordId(record_id), body)
