"""The bytes of a petition, with which a node asks to leave the roster, and of its answer.

Stands under ``messages.py``; ``roster_requests.py`` makes and judges them. Source: protocol §9,
§10.
"""

from typing import Final, NamedTuple

from machines.values import NodePubkey

from crdt.primitives import limits
from crdt.primitives.identity import ClusterId
from crdt.primitives.varint import Reader, uint
from crdt.wire.yjs_update import CLOCK_END

PETITION_DOMAIN: Final = b"gangline/petition/1"
NOBODY: Final = bytes(limits.KEY_BYTES)
WORD_BYTES_MAX: Final = 40
NONCE_BYTES: Final = 32
INSTANT_MS_MAX: Final = 2**53 - 1


class RosterRequest(NamedTuple):
    """A node asks the receiver to take it off the roster, or to put ``successor`` in its place.

    ``ends``: per own incarnation the next clock, rising. One signature of each key that is named.
    """

    node: NodePubkey
    successor: NodePubkey | None
    at_ms: int
    nonce: bytes
    ends: tuple[tuple[int, int], ...]
    signatures: tuple[bytes, ...]


class Answer(NamedTuple):
    """What became of a petition, in one word."""

    nonce: bytes
    word: str


def petition_bytes(cluster: ClusterId, receiver: NodePubkey, asked: RosterRequest) -> bytes:
    """What the asking key signs, and its successor where there is one."""
    parts = [
        PETITION_DOMAIN, cluster, asked.node, receiver, asked.successor or NOBODY,
        asked.at_ms.to_bytes(8, "big"), asked.nonce, len(asked.ends).to_bytes(4, "big"),
    ]  # fmt: skip
    for incarnation, end in asked.ends:
        parts += [incarnation.to_bytes(4, "big"), end.to_bytes(8, "big")]
    return b"".join(parts)


def encode_petition(asked: RosterRequest) -> bytes:
    """Write one, without the number of its message type."""
    named = b"" if asked.successor is None else asked.successor
    out = [asked.node, uint(len(asked.signatures) - 1), named, uint(asked.at_ms), asked.nonce]
    out.append(uint(len(asked.ends)))
    for incarnation, end in asked.ends:
        out += [uint(incarnation), uint(end)]
    return b"".join((*out, *asked.signatures))


def read_petition(reader: Reader) -> RosterRequest:
    """Read one.

    Raises:
        InvalidValue: the bytes are none.
    """
    node = NodePubkey(reader.take(limits.KEY_BYTES))
    named = reader.uint(1)
    successor = NodePubkey(reader.take(limits.KEY_BYTES)) if named else None
    at_ms, nonce = reader.uint(INSTANT_MS_MAX), reader.take(NONCE_BYTES)
    count = reader.count(2, limits.FEEDS_PER_FRAME_MAX)
    ends = tuple(
        (reader.uint(limits.INCARNATION_MAX), reader.uint(CLOCK_END)) for _ in range(count)
    )
    signatures = tuple(reader.take(limits.SIGNATURE_BYTES) for _ in range(named + 1))
    return RosterRequest(node, successor, at_ms, nonce, ends, signatures)


def read_answer(reader: Reader) -> Answer:
    """Read an answer.

    Raises:
        InvalidValue: the bytes are none.
    """
    return Answer(reader.take(NONCE_BYTES), reader.text(WORD_BYTES_MAX))
