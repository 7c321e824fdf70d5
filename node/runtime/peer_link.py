"""What the driver needs of an open link to a peer; ``node/network/link.py`` implements it.

The reasons for which a link is closed, or a hello refused, are here too, since the driver closes
links; ``node/network/disconnect_reasons.py`` has their sentences. Source: protocol §10.
"""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol

from machines.values import Instant, NodePubkey


class DisconnectReason(StrEnum):
    """Why two nodes have no session; the same word on the wire, in a log and in a table."""

    BAD_TICKET = "bad_ticket"
    EXPIRED_TICKET = "expired_ticket"
    USED_TICKET = "used_ticket"
    WITHDRAWN_TICKET = "withdrawn_ticket"
    NAME_TAKEN = "name_taken"
    NOT_AN_ADMIN = "not_an_admin"
    REVOKED = "revoked"
    NOT_A_MEMBER = "not_a_member"
    WRONG_CLUSTER = "wrong_cluster"
    WRONG_KEY = "wrong_key"
    WRONG_VERSION = "wrong_version"
    BAD_SIGNATURE = "bad_signature"
    MALFORMED_FRAME = "malformed_frame"
    BANNED = "banned"
    FULL = "full"
    READ_ONLY = "read_only"
    WRITES_AGAIN = "writes_again"
    CLOSED = "closed"
    STOPPING = "stopping"
    LOST = "lost"
    SILENT = "silent"
    LEFT = "left"
    ROTATED = "rotated"
    OUTSIDE = "outside"
    ELSEWHERE = "elsewhere"
    TOO_LARGE = "too_large"
    MALFORMED_UPDATE = "malformed_update"
    OWN_KEY = "own_key"
    DUPLICATE = "duplicate"
    LAGGING = "lagging"


class PeerLink(Protocol):
    """An open link, after the hello.

    Attributes:
        peer: the node at the other end, proven.
        peer_clock: what its clock showed at the hello.
        dialled: whether this side dialled.
        since: when the link was opened (monotonic seconds).
    """

    peer: NodePubkey
    peer_clock: Instant
    dialled: bool
    address: str
    since: float
    frames_in: int
    frames_out: int
    bytes_in: int
    bytes_out: int

    def send(self, data: bytes, then: Callable[[], Awaitable[None]] | None = None) -> None:
        """Queue one message; ``then`` runs once the peer has taken it."""

    def drop(self, reason: DisconnectReason) -> None:
        """Close the link now; what is queued is not sent."""

    def end(self, reason: DisconnectReason) -> None:
        """Close the link once what is queued is sent."""

    async def run(self, received: "Received") -> str:
        """Carry messages both ways until the link closes; returns the reason."""


Received = Callable[[PeerLink, bytes], Awaitable[None]]
"""Takes a message that arrived over a link."""
