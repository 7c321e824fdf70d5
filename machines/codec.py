"""How the values of this package cross JSON, for ``msgspec`` encoders and decoders.

Stands beside ``values.py``. Strict by default: an instant must be in its one form. ``lenient_hook``
is for callers: they may write any RFC 3339 instant, and their text is brought to NFC. In a record
that is not checked, since a verdict must not depend on a Unicode version (protocol §4).
"""

import unicodedata
from typing import Any

from machines.values import FreeText, Instant, NodePubkey


def dec_hook(kind: type, value: Any) -> Any:
    """Make one of our values from what JSON holds.

    Raises:
        InvalidValue: it breaks the rule of its type; msgspec adds where it stands.
    """
    if kind is NodePubkey:
        return NodePubkey.from_hex(value)
    return kind(value)


def lenient_hook(kind: type, value: Any) -> Any:
    """Like ``dec_hook``, for what a caller wrote."""
    if kind is Instant:
        return Instant.parse_lenient(value)
    if kind is FreeText and isinstance(value, str):
        return FreeText(unicodedata.normalize("NFC", value))
    return dec_hook(kind, value)


def enc_hook(value: Any) -> Any:
    """The JSON form of a value that msgspec does not know.

    Raises:
        NotImplementedError: not one of ours.
    """
    if isinstance(value, NodePubkey):
        return value.hex()
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(type(value).__name__)
