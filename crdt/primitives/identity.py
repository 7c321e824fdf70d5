"""Who signed what, where: the hash, keys, feeds and references that everything else is made of.

Stands under the whole line. Source: protocol §3, §4; RFC 7693 (BLAKE2), RFC 8032 (Ed25519).
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


def H(data: bytes) -> bytes:  # noqa: N802 - the design's one letter
    """BLAKE2b with a digest of 32 bytes, no key, salt or person."""
    return hashlib.blake2b(data, digest_size=limits.HASH_BYTES).digest()


class _Hex(bytes):
    """Bytes of one length that cross JSON as lower-case hex."""

    __slots__ = ()
    size: ClassVar[int]

    def __new__(cls, raw: bytes) -> Self:
        if not isinstance(raw, bytes) or len(raw) != cls.size:
            raise InvalidValue("bytes", f"{cls.size} long")
        return super().__new__(cls, raw)

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Read the one text form.

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
    """H of a record's signed bytes: of what is signed, never of the signature."""

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
    """One author's log: the author and which of its incarnations."""

    author: NodePubkey
    incarnation: Incarnation

    @property
    def root(self) -> str:
        """The root name of the feed's array in the document."""
        return f"feed/{self.author.hex()}/{self.incarnation}"

    def client_id(self, cluster: ClusterId) -> int:
        """The feed's Yjs client id, below 2^53. Only Yjs goes by it; it may collide."""
        said = FEED_DOMAIN + cluster + self.author + self.incarnation.to_bytes(4, "big")
        whole: int = int.from_bytes(H(said)[:8], "big")
        return whole & CLIENT_ID_MASK


class RecordRef(NamedTuple):
    """A record by its slot and its id; in JSON ``[pubkey, incarnation, clock, record id]``."""

    author: NodePubkey
    incarnation: Incarnation
    clock: Clock
    record_id: RecordId

    @property
    def feed(self) -> FeedId:
        """The feed it stands in."""
        return FeedId(self.author, self.incarnation)


class SigningKey:
    """A node's Ed25519 private key. Shows itself nowhere and cannot be pickled.

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
        """The signature (64 bytes) of a message."""
        return crypto_sign(message, self._secret)[:crypto_sign_BYTES]

    def seed(self) -> bytes:
        """The secret itself, for the key file and the certificate, and for nothing else."""
        return self._secret[: limits.KEY_BYTES]

    def __repr__(self) -> str:
        return f"SigningKey(***, {self.pubkey.short})"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key cannot be pickled or copied")


def cluster_id_of(founder: NodePubkey, founding_body: bytes) -> ClusterId:
    """The cluster id that a founding record makes (protocol §4)."""
    return ClusterId(H(CLUSTER_DOMAIN + founder + founding_body))
