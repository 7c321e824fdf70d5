"""The hashes that two nodes compare, and the one an author seals its feed with.

Stands beside ``feed.py``. Source: protocol §8.
"""

from collections.abc import Iterable
from typing import Final

from machines.values import NodePubkey

from crdt.primitives.identity import H

SEAL_DOMAIN: Final = b"gangline/seal/1"
LIVE_DOMAIN: Final = b"gangline/live/1"
DOCUMENT_DOMAIN: Final = b"gangline/document/1"
NO_FORK: Final = 2**64 - 1


def seal_digest(record_ids: Iterable[bytes | bytearray]) -> bytes:
    """What a seal states of the ids of a feed's live records, in order of clock.

    Args:
        record_ids: each by itself, or any number side by side.
    """
    return H(SEAL_DOMAIN + b"".join(record_ids))


def feed_digest(record_ids: Iterable[bytes | bytearray]) -> bytes:
    """The digest of a feed's (or a range's) live records, in order of clock, then id.

    Args:
        record_ids: each by itself, or any number side by side.
    """
    return H(LIVE_DOMAIN + b"".join(record_ids))


def document_digest(feeds: Iterable[tuple[NodePubkey, int, bytes, int | None]]) -> bytes:
    """The answer to "do these two nodes agree?".

    Args:
        feeds: (pubkey, incarnation, feed digest, lowest proven fork) in order of the first two,
            for every feed of a key on the roster that has a live record or a proven fork.
    """
    said = [DOCUMENT_DOMAIN]
    for author, incarnation, digest, fork in feeds:
        cut = NO_FORK if fork is None else fork
        said += [author, incarnation.to_bytes(4, "big"), digest, cut.to_bytes(8, "big")]
    return H(b"".join(said))
