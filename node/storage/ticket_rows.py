"""A ticket as its inviter's store keeps it."""

from typing import Final, NamedTuple

TICKET_KEPT_MS: Final = 30 * 86_400_000
"""How long after its end a ticket is still known, so that whoever shows it is told why not."""


class TicketRow(NamedTuple):
    """A ticket as its inviter keeps it: how many nodes it lets in, and until when (Unix ms)."""

    secret_hash: bytes
    role: str
    expires_ms: int
    uses: int = 1
    withdrawn: bool = False
