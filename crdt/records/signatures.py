"""Stage 5 of the gate: Ed25519 signatures, verified in batches.

libsodium releases the GIL, so a ``Verifier`` may use a pool of threads. As in libsodium, S must be
below the group order; keys and points that are not canonical or of small order are invalid. Source:
RFC 8032 §5.1.7; protocol §5, 10.
"""

from collections.abc import Callable, Sequence

from machines.values import NodePubkey
from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import BadSignatureError

from crdt.primitives import limits

Job = tuple[NodePubkey, bytes, bytes]
"""Public key, message, signature."""
Verifier = Callable[[Sequence[Job]], list[bool]]


def verify_batch(jobs: Sequence[Job]) -> list[bool]:
    """Return for each job, in order, whether its signature is valid. Never raises.

    >>> from crdt.primitives.identity import SigningKey
    >>> key = SigningKey(bytes(32))
    >>> verify_batch([(key.pubkey, text, key.sign(b"yes")) for text in (b"yes", b"no")])
    [True, False]
    """
    return [_holds(*job) for job in jobs]


def is_valid_key(pubkey: NodePubkey) -> bool:
    """Whether a public key has a private key; without one, no signature is ever valid."""
    return bool(crypto_core_ed25519_is_valid_point(bytes(pubkey)))


def _holds(pubkey: NodePubkey, message: bytes, signature: bytes) -> bool:
    if len(signature) != limits.SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, pubkey)
    except BadSignatureError:
        return False
    return True
