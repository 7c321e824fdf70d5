"""Tickets: one line with which one or a few nodes may join, for a limited time.

A ticket has the inviter's address and key, the cluster, a secret whose hash the inviter keeps, and
a checksum that detects typing errors. Source: protocol §9.
"""

import base64
import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from crdt.presence.signed_presence import Address
from crdt.primitives.identity import ClusterId, H
from node.system.errors import OperatorError
from node.system.exit_codes import Exit

PREFIX: Final = "gangline1-"
LENGTH_BYTES: Final = 2
CHECK_BYTES: Final = 4
SECRET_BYTES: Final = 16
TEXT_MAX: Final = 1024
_ANY_VERSION: Final = re.compile(r"gangline[0-9]{1,4}-")
_BASE32: Final = re.compile(r"[A-Za-z2-7]*")
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """The content of a ticket. Its secret appears only in ``text``."""

    address: Annotated[Address, Meta(min_length=1)]
    cluster: Bytes32
    inviter: Bytes32
    secret: Annotated[bytes, Meta(min_length=SECRET_BYTES, max_length=32)]
    expires_ms: Annotated[int, Meta(ge=0, lt=2**53)]

    def __repr__(self) -> str:
        return f"Ticket({self.address}, ***)"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        """Hides the secret from Rich; msgspec's own method would show it."""
        return [("address", self.address)]

    def text(self) -> str:
        """The line: base32 of a length, the content, and a checksum of both."""
        packed = msgspec.msgpack.encode(self)
        framed = len(packed).to_bytes(LENGTH_BYTES, "big") + packed
        return PREFIX + _letters(framed + H(framed)[:CHECK_BYTES])

    @property
    def cluster_id(self) -> ClusterId:
        """The cluster's id."""
        return ClusterId(self.cluster)


def read_ticket(text: str) -> Ticket:
    """Read a ticket.

    Raises:
        OperatorError: it is not a ticket, or cut short, mistyped, or of another version.
    """
    line = text.strip()
    if not line.startswith(PREFIX):
        other = _ANY_VERSION.match(line)
        raise _unreadable(
            f"this is not a ticket; a ticket starts with {PREFIX}"
            if other is None
            else f"this ticket is of another version of Gangline: it starts with {other[0]}, but "
            f"this version reads {PREFIX}; install the same version on both hosts"
        )
    coded = line.removeprefix(PREFIX)
    if len(line) > TEXT_MAX:
        raise _unreadable("this is longer than a ticket; copy only the one line")
    if _BASE32.fullmatch(coded) is None:
        raise _unreadable("this ticket is mistyped: it has characters that no ticket has")
    whole = _from_letters(coded)
    size = LENGTH_BYTES + int.from_bytes(whole[:LENGTH_BYTES], "big") + CHECK_BYTES
    if len(whole) < size:
        raise _unreadable("this ticket is cut short; copy the whole line")
    framed, check = whole[:-CHECK_BYTES], whole[-CHECK_BYTES:]
    if _letters(whole) != coded.lower() or H(framed)[:CHECK_BYTES] != check:
        raise _unreadable("this ticket is mistyped; copy the line again")
    try:
        return msgspec.msgpack.decode(framed[LENGTH_BYTES:], type=Ticket)
    except (msgspec.MsgspecError, UnicodeError):
        raise _unreadable("this ticket was not made by Gangline; ask for another") from None


def _letters(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def _from_letters(coded: str) -> bytes:
    # Bytes end after 2, 4, 5, 7 or 8 letters; one letter more is part of a byte that was cut off.
    whole = coded[: len(coded) - (len(coded) % 8 in (1, 3, 6))]
    return base64.b32decode(whole + "=" * (-len(whole) % 8), casefold=True)


def _unreadable(sentence: str) -> OperatorError:
    return OperatorError(sentence, Exit.MALFORMED)
