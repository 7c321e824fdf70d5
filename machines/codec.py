"""Hooks with which ``msgspec`` encodes and decodes the values of this package.

``dec_hook`` is strict. ``lenient_hook`` is for local callers: it accepts any RFC 3339 instant in
UTC and normalizes text to NFC. Records are not normalized, because a verdict must not depend on a
Unicode version (protocol §4).
"""

import unicodedata
from typing import Any

from machines.values import FreeText, Instant, NodePubkey


def dec_hook(kind: type, value: Any) -> Any:
    """Make a value of type ``kind`` from its JSON form.

    >>> import msgspec
    >>> from machines.values import StoryId
    >>> msgspec.json.decode(b'["s-1"]', type=list[StoryId], dec_hook=dec_hook)
    ['s-1']

    Raises:
        InvalidValue: it breaks the rule of its type; msgspec adds the path.
    """
    if kind is NodePubkey:
        return NodePubkey.from_hex(value)
    return kind(value)


def lenient_hook(kind: type, value: Any) -> Any:
    """Make a value like ``dec_hook``, from the input of a local caller.

    >>> lenient_hook(Instant, "2026-01-01t12:00:00z")
    '2026-01-01T12:00:00.000Z'

    Raises:
        InvalidValue: it breaks the rule of its type.
    """
    if kind is Instant:
        return Instant.parse_lenient(value)
    if kind is FreeText and isinstance(value, str):
        return FreeText(unicodedata.normalize("NFC", value))
    return dec_hook(kind, value)


def enc_hook(value: Any) -> Any:
    """Return the JSON form of a value of this package.

    Raises:
        NotImplementedError: another type.
    """
    if isinstance(value, NodePubkey):
        return value.hex()
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(type(value).__name__)
