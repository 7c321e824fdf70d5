"""Tickets as stored by the node that issued them."""

from typing import Final, NamedTuple

TICKET_KEPT_MS: Final = 30 * 86_400_000
"""How long an expired ticket is kept, so that a node that presents it gets the reason."""


class TicketRow(NamedTuple):
    """A ticket: how many nodes it admits, and until when (Unix ms)."""

    secret_hash: bytes
    role: str
    expires_ms: int
    uses: int = 1
    withdrawn: bool = False
