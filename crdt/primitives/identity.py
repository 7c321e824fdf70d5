"""Hashes, keys, feeds and references to records.

Source: protocol §3, §4; RFC 7693 (BLAKE2), RFC 8032 (Ed25519).
"""

import hashlib
import re
from typing import Annotated, ClassVar, Final, NamedTuple, NewType, NoReturn, Self

from machines.errors import InvalidValue
from machines.values import NodePubkey
from msgspec import Meta
from nacl.bindings import crypto_sign, crypto_sign_BYTES, crypto_sign_seed_keypair

from crdt.primitives import limits

ClusterId = NewType("ClusterId", bytes)
Incarnation = Annotated[int, Meta(ge=0, le=limits.INCARNATION_MAX)]
Clock = Annotated[int, Meta(ge=0, le=limits.CLOCK_MAX)]

FEED_DOMAIN: Final = b"gangline/feed/1"
CLUSTER_DOMAIN: Final = b"gangline/cluster/1"
CLIENT_ID_MASK: Final = (1 << limits.CLIENT_ID_BITS) - 1


def H(data: bytes) -> bytes:  # noqa: N802 - its name in the protocol
    """Return the BLAKE2b digest (32 bytes) without key, salt or person."""
    return hashlib.blake2b(data, digest_size=limits.HASH_BYTES).digest()


class _Hex(bytes):
    """Bytes of a fixed length; in JSON lower-case hex."""

    __slots__ = ()
    size: ClassVar[int]

    def __new__(cls, raw: bytes) -> Self:
        if not isinstance(raw, bytes) or len(raw) != cls.size:
            raise InvalidValue("bytes", f"{cls.size} long")
        return super().__new__(cls, raw)

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Decode lower-case hex.

        Raises:
            InvalidValue: not lower-case hex of the right length.
        """
        is_hex = isinstance(text, str) and len(text) == 2 * cls.size and _HEX.fullmatch(text)
        if not is_hex:
            raise InvalidValue("hex", f"{2 * cls.size} lower-case hex digits")
        return cls(bytes.fromhex(text))

    def __str__(self) -> str:
        return self.hex()


_HEX: Final = re.compile(r"[0-9a-f]*", re.ASCII)


class RecordId(_Hex):
    """H of the signed bytes of a record; the signature itself is not hashed."""

    __slots__ = ()
    size = limits.HASH_BYTES


class Hash(_Hex):
    """Any other hash, or 32 random bytes."""

    __slots__ = ()
    size = limits.HASH_BYTES


class Signature(_Hex):
    """An Ed25519 signature."""

    __slots__ = ()
    size = limits.SIGNATURE_BYTES


class FeedId(NamedTuple):
    """A feed: its author and the incarnation."""

    author: NodePubkey
    incarnation: Incarnation

    @property
    def root(self) -> str:
        """The name of the feed's root array in the Yjs document."""
        return f"feed/{self.author.hex()}/{self.incarnation}"

    def client_id(self, cluster: ClusterId) -> int:
        """The Yjs client id, below 2^53. Only Yjs uses it; two feeds may have the same."""
        data = FEED_DOMAIN + cluster + self.author + self.incarnation.to_bytes(4, "big")
        number: int = int.from_bytes(H(data)[:8], "big")
        return number & CLIENT_ID_MASK


class RecordRef(NamedTuple):
    """A record by its slot and its id; in JSON ``[pubkey, incarnation, clock, record id]``."""

    author: NodePubkey
    incarnation: Incarnation
    clock: Clock
    record_id: RecordId

    @property
    def feed(self) -> FeedId:
        """The feed of the record."""
        return FeedId(self.author, self.incarnation)


class SigningKey:
    """A node's Ed25519 private key. Never printed; cannot be pickled or copied.

    >>> SigningKey(bytes(32))
    SigningKey(***, 3b6a27bc)

    Args:
        seed: 32 secret bytes.

    Raises:
        InvalidValue: not 32 bytes.
    """

    __slots__ = ("_secret", "pubkey")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != limits.KEY_BYTES:
            raise InvalidValue("a signing key", f"{limits.KEY_BYTES} bytes")
        public, self._secret = crypto_sign_seed_keypair(seed)
        self.pubkey = NodePubkey(public)

    def sign(self, message: bytes) -> bytes:
        """Return the signature (64 bytes) of a message."""
        return crypto_sign(message, self._secret)[:crypto_sign_BYTES]

    def seed(self) -> bytes:
        """Return the secret (32 bytes); only for the key file and the certificate."""
        return self._secret[: limits.KEY_BYTES]

    def __repr__(self) -> str:
        return f"SigningKey(***, {self.pubkey.short})"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key cannot be pickled or copied")


def cluster_id_of(founder: NodePubkey, founding_body: bytes) -> ClusterId:
    """Return the id of the cluster that a founding record creates (protocol §4)."""
    return ClusterId(H(CLUSTER_DOMAIN + founder + founding_body))
