"""The bytes of a roster request and of its answer.

With a roster request a node asks an admin to revoke it, or to admit its next key in its place;
``roster_requests.py`` makes and answers them. Source: protocol §9, §10.
"""

from typing import Final, NamedTuple

from machines.values import NodePubkey

from crdt.primitives import limits
from crdt.primitives.identity import ClusterId
from crdt.primitives.varint import Reader, uint
from crdt.wire.yjs_update import CLOCK_END

REQUEST_DOMAIN: Final = b"gangline/petition/1"
NOBODY: Final = bytes(limits.KEY_BYTES)
WORD_BYTES_MAX: Final = 40
NONCE_BYTES: Final = 32
INSTANT_MS_MAX: Final = 2**53 - 1


class RosterRequest(NamedTuple):
    """``node`` asks the receiver to revoke it, or to admit ``successor`` in its place.

    Attributes:
        at_ms: milliseconds since 1970.
        nonce: 32 random bytes, repeated in the answer.
        ends: (incarnation, next clock) of each feed of ``node``, rising.
        signatures: one by ``node``, then one by ``successor`` if there is one.
    """

    node: NodePubkey
    successor: NodePubkey | None
    at_ms: int
    nonce: bytes
    ends: tuple[tuple[int, int], ...]
    signatures: tuple[bytes, ...]


class Answer(NamedTuple):
    """The result of a request, in one word."""

    nonce: bytes
    word: str


def request_bytes(cluster: ClusterId, receiver: NodePubkey, request: RosterRequest) -> bytes:
    """Return what ``node`` and its successor sign."""
    parts = [
        REQUEST_DOMAIN, cluster, request.node, receiver, request.successor or NOBODY,
        request.at_ms.to_bytes(8, "big"), request.nonce, len(request.ends).to_bytes(4, "big"),
    ]  # fmt: skip
    for incarnation, end in request.ends:
        parts += [incarnation.to_bytes(4, "big"), end.to_bytes(8, "big")]
    return b"".join(parts)


def encode_request(request: RosterRequest) -> bytes:
    """Encode a request, without its message number."""
    out = [request.node, uint(len(request.signatures) - 1), request.successor or b""]
    out += [uint(request.at_ms), request.nonce]
    out.append(uint(len(request.ends)))
    for incarnation, end in request.ends:
        out += [uint(incarnation), uint(end)]
    return b"".join((*out, *request.signatures))


def read_request(reader: Reader) -> RosterRequest:
    """Decode a request.

    Raises:
        InvalidValue: not a request.
    """
    node = NodePubkey(reader.take(limits.KEY_BYTES))
    has_successor = reader.uint(1)
    successor = NodePubkey(reader.take(limits.KEY_BYTES)) if has_successor else None
    at_ms, nonce = reader.uint(INSTANT_MS_MAX), reader.take(NONCE_BYTES)
    count = reader.count(2, limits.FEEDS_PER_FRAME_MAX)
    ends = tuple(
        (reader.uint(limits.INCARNATION_MAX), reader.uint(CLOCK_END)) for _ in range(count)
    )
    signatures = tuple(reader.take(limits.SIGNATURE_BYTES) for _ in range(has_successor + 1))
    return RosterRequest(node, successor, at_ms, nonce, ends, signatures)


def read_answer(reader: Reader) -> Answer:
    """Decode an answer.

    Raises:
        InvalidValue: not an answer.
    """
    return Answer(reader.take(NONCE_BYTES), reader.text(WORD_BYTES_MAX))
