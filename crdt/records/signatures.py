"""Stage 5 of the line: signatures, a batch at a time.

Takes (public key, message, signature), gives for each whether it holds, in order; never raises.
libsodium releases the GIL, so a pool of threads can stand behind a ``Verifier`` without touching
anything else. Refuses what libsodium refuses: S not below the group order, keys and points of
small order or not canonical. Source: RFC 8032 §5.1.7; protocol §5, 8.
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
    """Check each signature."""
    return [_holds(*job) for job in jobs]


def may_sign(pubkey: NodePubkey) -> bool:
    """Whether a key is one that a secret makes: for any other no signature of a node ever holds."""
    return bool(crypto_core_ed25519_is_valid_point(bytes(pubkey)))


def _holds(pubkey: NodePubkey, message: bytes, signature: bytes) -> bool:
    if len(signature) != limits.SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, pubkey)
    except BadSignatureError:
        return False
    return True
