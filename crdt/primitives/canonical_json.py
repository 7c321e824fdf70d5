"""RFC 8785 canonical JSON, as far as records need it: no floats, bounded nesting.

Stands under ``bodies.py``. The bytes are looked at before any parser sees them, so that depth and
control characters cannot hurt one. Source: RFC 8785; protocol §4.
"""

import re
from typing import Any, Final

import msgspec

from crdt.primitives import limits
from crdt.primitives.errors import MalformedRecord

# Raw C0 controls are no JSON; DEL and C1 controls (C2 80 to C2 9F in UTF-8) are refused here.
_C0_AND_DEL: Final = bytes((*range(0x20), 0x7F))
_C1: Final = re.compile(rb"\xc2[\x80-\x9f]")
# The only escapes that canonical JSON leaves for what records may hold; double backslashes are
# taken out first, so that what follows a backslash here is what it escapes.
_ESCAPE_REFUSED: Final = re.compile(rb'\\(?!["nt])')
# A string that is never closed ends with the data: each byte is then looked at once, whatever a
# hostile author writes.
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)')
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


def check_bytes(data: bytes) -> None:
    """Refuse what no body may hold, before it is parsed.

    Raises:
        MalformedRecord: too long, a control character, an escape that is not canonical, or too
            deep.
    """
    if len(data) > limits.BODY_BYTES_MAX:
        raise MalformedRecord("too long")
    if len(data.translate(None, _C0_AND_DEL)) != len(data):
        raise MalformedRecord("a control character")
    if not data.isascii() and _C1.search(data) is not None:
        raise MalformedRecord("a control character")
    if b"\\" in data and _ESCAPE_REFUSED.search(data.replace(b"\\\\", b"")) is not None:
        raise MalformedRecord("a control character, or an escape that is not canonical")
    # Fewer brackets than the bound, strings included, cannot nest deeper than it.
    if data.count(b"[") + data.count(b"{") > limits.NESTING_MAX:
        _check_depth(_STRING.sub(b"", data).translate(None, _NOT_BRACKETS))


def _check_depth(brackets: bytes) -> None:
    depth = 0
    for bracket in brackets:
        if bracket in b"[{":
            depth += 1
            if depth > limits.NESTING_MAX:
                raise MalformedRecord(f"nested deeper than {limits.NESTING_MAX}")
        else:
            depth -= 1


def encode(value: Any) -> bytes:
    """Builtins (``None``, bool, int, str, list, dict with str keys) in canonical form.

    Raises:
        MalformedRecord: a float, an integer past 2^53 - 1, or another type.
    """
    return msgspec.json.encode(_ordered(value))


def _ordered(value: Any) -> Any:
    """The same value with its objects' keys in the order of their UTF-16 code units (§3.2.3)."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return {str(name): _ordered(value[name]) for name in names}
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if isinstance(value, str):
        return str(value)  # our own kinds of text too, which msgspec does not know
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= limits.INTEGER_MAX:
        return value
    raise MalformedRecord("a number that is no integer within 2^53 - 1")
