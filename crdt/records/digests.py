"""The digests that nodes compare, and the digest in a seal. Source: protocol §8."""

from collections.abc import Iterable
from typing import Final

from machines.values import NodePubkey

from crdt.primitives.identity import H

SEAL_DOMAIN: Final = b"gangline/seal/1"
LIVE_DOMAIN: Final = b"gangline/live/1"
DOCUMENT_DOMAIN: Final = b"gangline/document/1"
NO_FORK: Final = 2**64 - 1


def seal_digest(record_ids: Iterable[bytes | bytearray]) -> bytes:
    """Return the digest in a seal.

    Args:
        record_ids: ids of the live records in order of clock; an item may hold several.
    """
    return H(SEAL_DOMAIN + b"".join(record_ids))


def feed_digest(record_ids: Iterable[bytes | bytearray]) -> bytes:
    """Return the digest of a feed, or of a range of its clocks.

    >>> feed_digest([b"one", b"two"]) == feed_digest([b"onetwo"])
    True

    Args:
        record_ids: ids of the live records in order of clock, then id; an item may hold several.
    """
    return H(LIVE_DOMAIN + b"".join(record_ids))


def document_digest(feeds: Iterable[tuple[NodePubkey, int, bytes, int | None]]) -> bytes:
    """Return the document digest, which is equal on two nodes that agree.

    Args:
        feeds: (pubkey, incarnation, feed digest, lowest proven fork) of every feed that has a live
            record or a proven fork and whose author is on the roster, in order of the first two.
    """
    parts = [DOCUMENT_DOMAIN]
    for author, incarnation, digest, fork in feeds:
        cut = NO_FORK if fork is None else fork
        parts += [author, incarnation.to_bytes(4, "big"), digest, cut.to_bytes(8, "big")]
    return H(b"".join(parts))
