"""What the driver needs of an open link to a peer; ``node/network/link.py`` is one."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from machines.values import Instant, NodePubkey


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

    def drop(self, reason: str) -> None:
        """Close the link now, for a reason."""

    def end(self, reason: str) -> None:
        """Close the link once what is queued is sent."""

    async def run(self, received: "Received") -> str:
        """Carry messages both ways until the link closes; returns one word for why."""


Received = Callable[[PeerLink, bytes], Awaitable[None]]
"""Takes a message that arrived over a link."""
