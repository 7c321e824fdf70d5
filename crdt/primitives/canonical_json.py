"""The part of RFC 8785 canonical JSON that records use: no floats, bounded nesting.

``check_bytes`` runs before any parser, so that deep nesting and control characters cannot harm it.
Source: RFC 8785; protocol §4.
"""

import re
from typing import Any, Final

import msgspec

from crdt.primitives import limits
from crdt.primitives.errors import MalformedRecord

# JSON forbids raw C0 controls; records also forbid DEL and C1 (C2 80 to C2 9F in UTF-8).
_C0_AND_DEL: Final = bytes((*range(0x20), 0x7F))
_C1: Final = re.compile(rb"\xc2[\x80-\x9f]")
# In canonical form a record needs no escapes but \" \\ \n \t. Pairs of backslashes are removed
# first, so that each backslash left starts an escape.
_ESCAPE_REFUSED: Final = re.compile(rb'\\(?!["nt])')
# An unclosed string ends with the data, so the search stays linear for any input.
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)')
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


def check_bytes(data: bytes) -> None:
    """Check the bytes of a body before it is parsed.

    Raises:
        MalformedRecord: too long, a control character, a non-canonical escape, or nested too deep.
    """
    if len(data) > limits.BODY_BYTES_MAX:
        raise MalformedRecord("too long")
    if len(data.translate(None, _C0_AND_DEL)) != len(data):
        raise MalformedRecord("a control character")
    if not data.isascii() and _C1.search(data) is not None:
        raise MalformedRecord("a control character")
    if b"\\" in data and _ESCAPE_REFUSED.search(data.replace(b"\\\\", b"")) is not None:
        raise MalformedRecord("a control character, or an escape that is not canonical")
    # Nesting cannot be deeper than the number of opening brackets, in strings or not.
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
    """Encode builtins (``None``, bool, int, str, list, dict with str keys) in canonical form.

    >>> encode({"b": [1, None], "a": "é"}).decode()
    '{"a":"é","b":[1,null]}'

    Raises:
        MalformedRecord: a float, an integer outside ±(2^53 - 1), or another type.
    """
    return msgspec.json.encode(_ordered(value))


def _ordered(value: Any) -> Any:
    """Sort the keys of every object by UTF-16 code units (RFC 8785 §3.2.3)."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return {str(name): _ordered(value[name]) for name in names}
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if isinstance(value, str):
        return str(value)  # msgspec does not know our subclasses of str
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= limits.INTEGER_MAX:
        return value
    raise MalformedRecord("a number that is not an integer within 2^53 - 1")
