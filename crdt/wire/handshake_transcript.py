"""The bytes that both nodes of a new link sign.

Keys, nonces, role and certificate are signed, so a hello cannot be replayed, relayed or reflected.
Source: protocol §10.
"""

from typing import Final

from machines.values import NodePubkey

from crdt.primitives.identity import ClusterId

HELLO_DOMAIN: Final = b"gangline/hello/1"
PROTOCOL_VERSION: Final = 1
DIALLED: Final = 1
LISTENED: Final = 2


def hello_bytes(
    version: int,
    cluster: ClusterId,
    role: int,
    dialer: NodePubkey,
    listener: NodePubkey,
    dialer_nonce: bytes,
    listener_nonce: bytes,
    certificate_sha256: bytes,
) -> bytes:
    """Return what the side with ``role`` signs; nonces and the hash are 32 bytes each."""
    return b"".join(
        (
            HELLO_DOMAIN,
            version.to_bytes(2, "big"),
            cluster,
            role.to_bytes(1, "big"),
            dialer,
            listener,
            dialer_nonce,
            listener_nonce,
            certificate_sha256,
        )
    )
