"""Tickets: one line that lets one node in, once, for a while.

Stands beside ``founding.py`` and ``daemon.py``. Holds where to dial, which key to meet there, which
cluster it is, and a secret whose hash the inviter keeps; a checksum tells a typing mistake. Source:
protocol §9.
"""

import base64
import binascii

import msgspec

from crdt.identity import ClusterId, H
from machines.errors import InvalidValue
from machines.values import NodePubkey
from node.cli.exits import Exit
from node.errors import Trouble

PREFIX = "gangline1-"
CHECK_BYTES = 4
SECRET_BYTES = 16
TEXT_MAX = 1024


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """What a ticket says. Its secret is shown nowhere but in ``text``."""

    address: str
    cluster: bytes
    inviter: bytes
    secret: bytes
    expires_ms: int

    def __repr__(self) -> str:
        return f"Ticket({self.address}, ***)"

    def text(self) -> str:
        """The one line."""
        packed = msgspec.msgpack.encode(self)
        whole = packed + H(packed)[:CHECK_BYTES]
        return PREFIX + base64.b32encode(whole).decode().rstrip("=").lower()

    @property
    def cluster_id(self) -> ClusterId:
        """The cluster's id."""
        return ClusterId(self.cluster)


def read_ticket(text: str) -> Ticket:
    """Read a ticket.

    Raises:
        Trouble: it is none, cut short, mistyped, or of another version.
    """
    line = text.strip()
    if not line.startswith(PREFIX) or len(line) > TEXT_MAX:
        raise Trouble(f"this is no ticket: one starts with {PREFIX}", Exit.MALFORMED)
    coded = line.removeprefix(PREFIX).upper()
    try:
        whole = base64.b32decode(coded + "=" * (-len(coded) % 8))
        packed, check = whole[:-CHECK_BYTES], whole[-CHECK_BYTES:]
        if H(packed)[:CHECK_BYTES] != check:
            raise ValueError("checksum")
        ticket = msgspec.msgpack.decode(packed, type=Ticket)
        NodePubkey(ticket.inviter)
    except (binascii.Error, ValueError, msgspec.MsgspecError, InvalidValue):
        raise Trouble(
            "this ticket is cut short or mistyped; copy the whole line again", Exit.MALFORMED
        ) from None
    return ticket
