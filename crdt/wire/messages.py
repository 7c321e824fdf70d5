"""Stage 2 of the gate: one websocket message, decoded and encoded.

Sync and awareness are unchanged y-protocols. Messages for anti-entropy and roster requests are ours
and have numbers from 100 up. Every count is checked against the bytes left before it is used.
Source: y-protocols ``sync.js``, ``awareness.js``; protocol §10.
"""

from typing import Final, NamedTuple, assert_never

from machines.errors import InvalidValue
from machines.values import NodePubkey

from crdt.primitives import limits
from crdt.primitives.errors import PeerFault, Reason
from crdt.primitives.varint import Reader, block, uint
from crdt.wire.roster_request import (
    Answer,
    RosterRequest,
    encode_request,
    read_answer,
    read_request,
)
from crdt.wire.yjs_update import CLIENT_MAX, CLOCK_END, decode_state_vector, encode_state_vector

Sides = tuple[tuple[bytes, bytes], tuple[bytes, bytes]]


class SyncStep1(NamedTuple):
    """The state vector of the sender's document: client id → next clock."""

    state_vector: dict[int, int]


class SyncStep2(NamedTuple):
    """The update from the receiver's state vector to the sender's document."""

    update: bytes


class Update(NamedTuple):
    """A new change."""

    update: bytes


class AwarenessEntry(NamedTuple):
    """One node's presence: Yjs client id, awareness clock, state as JSON text."""

    client: int
    clock: int
    state: str


class Awareness(NamedTuple):
    """The presence of some nodes."""

    entries: tuple[AwarenessEntry, ...]


class QueryAwareness(NamedTuple):
    """A request for the presence of all nodes."""


class DigestOffer(NamedTuple):
    """The sender's document digest."""

    document: bytes


class FeedDigest(NamedTuple):
    """One feed's digest, and its lowest proven fork."""

    author: NodePubkey
    incarnation: int
    digest: bytes
    fork: int | None


class FeedDigests(NamedTuple):
    """Digests of the sender's feeds; ``last`` if no more frames follow."""

    feeds: tuple[FeedDigest, ...]
    last: bool


class RangeDigest(NamedTuple):
    """The live records with clocks in ``[start, end)``: how many, and their digest."""

    start: int
    end: int
    size: int
    digest: bytes


class RangeDigests(NamedTuple):
    """Digests of ranges of one feed's clocks."""

    author: NodePubkey
    incarnation: int
    ranges: tuple[RangeDigest, ...]


class RecordsWanted(NamedTuple):
    """A request for the live records of one feed with clocks in these ranges."""

    author: NodePubkey
    incarnation: int
    ranges: tuple[tuple[int, int], ...]


class Records(NamedTuple):
    """Records of one feed by position: (clock, value)."""

    author: NodePubkey
    incarnation: int
    records: tuple[tuple[int, bytes], ...]


class Proof(NamedTuple):
    """A proof of a fork: two pairs (signature, H(body)) for one slot."""

    author: NodePubkey
    incarnation: int
    clock: int
    sides: Sides


class HaveUpTo(NamedTuple):
    """The sender has all records of a feed below ``end`` on disk."""

    author: NodePubkey
    incarnation: int
    end: int


Frame = (
    SyncStep1
    | SyncStep2
    | Update
    | Awareness
    | QueryAwareness
    | DigestOffer
    | FeedDigests
    | RangeDigests
    | RecordsWanted
    | Records
    | Proof
    | HaveUpTo
    | RosterRequest
    | Answer
)

SYNC: Final = 0
AWARENESS: Final = 1
QUERY_AWARENESS: Final = 3
STEP1, STEP2, UPDATE = 0, 1, 2
DIGEST, FEEDS, RANGES, WANTED, RECORDS, PROOF, HAVE, REQUEST, ANSWER = range(100, 109)
FEED_BYTES: Final = limits.KEY_BYTES + 1
STATE_BYTES_MAX: Final = 2 * limits.PRESENCE_BYTES_MAX


def encode_frame(frame: Frame) -> bytes:
    """Encode a message.

    >>> encode_frame(Update(b"abc")).hex()
    '000203616263'
    >>> decode_frame(bytes.fromhex("000203616263"))
    Update(update=b'abc')
    """
    match frame:
        case SyncStep1(vector):
            return bytes([SYNC, STEP1]) + block(encode_state_vector(vector))
        case SyncStep2(update):
            return bytes([SYNC, STEP2]) + block(update)
        case Update(update):
            return bytes([SYNC, UPDATE]) + block(update)
        case Awareness(entries):
            out = [uint(len(entries))]
            for entry in entries:
                out += [uint(entry.client), uint(entry.clock), block(entry.state.encode())]
            return bytes([AWARENESS]) + block(b"".join(out))
        case QueryAwareness():
            return bytes([QUERY_AWARENESS])
        case _:
            return _encode_own(frame)


def _encode_own(
    frame: DigestOffer
    | FeedDigests
    | RangeDigests
    | RecordsWanted
    | Records
    | Proof
    | HaveUpTo
    | RosterRequest
    | Answer,
) -> bytes:
    match frame:
        case DigestOffer(document):
            return bytes([DIGEST]) + document
        case FeedDigests(feeds, last):
            out = [bytes([FEEDS, last]), uint(len(feeds))]
            for feed in feeds:
                fork = 0 if feed.fork is None else feed.fork + 1
                out += [feed.author, uint(feed.incarnation), feed.digest, uint(fork)]
        case RangeDigests(author, incarnation, ranges):
            out = [bytes([RANGES]), author, uint(incarnation), uint(len(ranges))]
            for row in ranges:
                out += [uint(row.start), uint(row.end), uint(row.size), row.digest]
        case RecordsWanted(author, incarnation, wanted):
            out = [bytes([WANTED]), author, uint(incarnation), uint(len(wanted))]
            for start, end in wanted:
                out += [uint(start), uint(end)]
        case Records(author, incarnation, records):
            out = [bytes([RECORDS]), author, uint(incarnation), uint(len(records))]
            for clock, value in records:
                out += [uint(clock), block(value)]
        case Proof(author, incarnation, clock, sides):
            out = [bytes([PROOF]), author, uint(incarnation), uint(clock)]
            for signature, body_hash in sides:
                out += [signature, body_hash]
        case HaveUpTo(author, incarnation, end):
            out = [bytes([HAVE]), author, uint(incarnation), uint(end)]
        case RosterRequest():
            out = [bytes([REQUEST]), encode_request(frame)]
        case Answer(nonce, word):
            out = [bytes([ANSWER]), nonce, block(word.encode())]
        case _:
            assert_never(frame)
    return b"".join(out)


def decode_frame(data: bytes) -> Frame:
    """Decode a message.

    Raises:
        PeerFault: ``too_large``, ``malformed_frame``, or ``malformed_update`` for a state vector.
    """
    if len(data) > limits.FRAME_BYTES_MAX:
        raise PeerFault(Reason.TOO_LARGE, f"a frame of {len(data)} bytes")
    reader = Reader(data)
    try:
        frame = _read_frame(reader)
        reader.finish()
    except InvalidValue as fault:
        raise PeerFault(Reason.MALFORMED_FRAME, str(fault)) from fault
    return frame


def _read_frame(reader: Reader) -> Frame:
    match reader.uint():
        case 0:
            return _read_sync(reader)
        case 1:
            return _read_awareness(Reader(reader.block(limits.FRAME_BYTES_MAX)))
        case 3:
            return QueryAwareness()
        case 100:
            return DigestOffer(reader.take(limits.HASH_BYTES))
        case 101:
            last = bool(reader.uint(1))
            weight = FEED_BYTES + limits.HASH_BYTES + 1
            count = reader.count(weight, limits.FEEDS_PER_FRAME_MAX)
            return FeedDigests(tuple(_read_feed_digest(reader) for _ in range(count)), last)
        case 102:
            author, incarnation = _read_feed(reader)
            count = reader.count(3 + limits.HASH_BYTES, limits.RANGES_PER_FRAME_MAX)
            ranges = tuple(_read_range(reader) for _ in range(count))
            _check_rising([(row.start, row.end) for row in ranges])
            return RangeDigests(author, incarnation, ranges)
        case 103:
            author, incarnation = _read_feed(reader)
            count = reader.count(2, limits.RANGES_PER_FRAME_MAX)
            wanted = tuple((reader.uint(CLOCK_END), reader.uint(CLOCK_END)) for _ in range(count))
            _check_rising(wanted)
            return RecordsWanted(author, incarnation, wanted)
        case 104:
            author, incarnation = _read_feed(reader)
            count = reader.count(limits.SIGNATURE_BYTES, limits.RECORDS_PER_FRAME_MAX)
            records = tuple(
                (reader.uint(limits.CLOCK_MAX), reader.block(limits.RECORD_BYTES_MAX))
                for _ in range(count)
            )
            return Records(author, incarnation, records)
        case 105:
            author, incarnation = _read_feed(reader)
            clock = reader.uint(limits.CLOCK_MAX)
            return Proof(author, incarnation, clock, (_read_side(reader), _read_side(reader)))
        case 106:
            author, incarnation = _read_feed(reader)
            return HaveUpTo(author, incarnation, reader.uint(CLOCK_END))
        case 107:
            return read_request(reader)
        case 108:
            return read_answer(reader)
    raise InvalidValue("message", "of a known type")


def _read_sync(reader: Reader) -> Frame:
    match reader.uint():
        case 0:
            return SyncStep1(decode_state_vector(reader.block(limits.FRAME_BYTES_MAX)))
        case 1:
            return SyncStep2(reader.block(limits.FRAME_BYTES_MAX))
        case 2:
            return Update(reader.block(limits.FRAME_BYTES_MAX))
    raise InvalidValue("sync message", "step 1, step 2 or update")


def _read_awareness(reader: Reader) -> Awareness:
    count = reader.count(3, limits.AWARENESS_ENTRIES_MAX)
    entries = tuple(
        AwarenessEntry(
            reader.uint(CLIENT_MAX), reader.uint(2**32 - 1), reader.text(STATE_BYTES_MAX)
        )
        for _ in range(count)
    )
    reader.finish()
    return Awareness(entries)


def _read_feed(reader: Reader) -> tuple[NodePubkey, int]:
    return NodePubkey(reader.take(limits.KEY_BYTES)), reader.uint(limits.INCARNATION_MAX)


def _read_feed_digest(reader: Reader) -> FeedDigest:
    author, incarnation = _read_feed(reader)
    digest = reader.take(limits.HASH_BYTES)
    fork = reader.uint(CLOCK_END)
    return FeedDigest(author, incarnation, digest, fork - 1 if fork else None)


def _read_range(reader: Reader) -> RangeDigest:
    start, end = reader.uint(CLOCK_END), reader.uint(CLOCK_END)
    return RangeDigest(start, end, reader.uint(CLOCK_END), reader.take(limits.HASH_BYTES))


def _read_side(reader: Reader) -> tuple[bytes, bytes]:
    return reader.take(limits.SIGNATURE_BYTES), reader.take(limits.HASH_BYTES)


def _check_rising(ranges: tuple[tuple[int, int], ...] | list[tuple[int, int]]) -> None:
    last = 0
    for start, end in ranges:
        if not last <= start < end:
            raise InvalidValue("ranges", "rising, none empty")
        last = end
