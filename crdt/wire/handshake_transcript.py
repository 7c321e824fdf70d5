"""What two nodes sign before they open a session, so that a hello cannot be replayed or relayed.

Stands before the line, at the link: both keys, both nonces, both roles and the certificate of the
connection are signed. Source: protocol §10.
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
    """What the side with this role (1 dialled, 2 listened) signs; nonces and hash are 32 bytes."""
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
