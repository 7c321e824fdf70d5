"""Instants for people: local time with its offset, to the second.

Used by the command line and the log, at the point of display. JSON, records and the API keep UTC
with a Z.
"""

import re
from datetime import datetime

INSTANT = re.compile(
    r"\b\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?Z\b", re.ASCII
)


def local(instant: str) -> str:
    """``2026-11-30 17:41:22+05:30``, from an instant in RFC 3339; other text is unchanged.

    The stamp of a rejected record may hold anything, and is shown too.
    """
    try:
        return _format(datetime.fromisoformat(instant)) if INSTANT.fullmatch(instant) else instant
    except (ValueError, OverflowError):  # 30 February, or a year out of range
        return instant


def local_of(seconds: float) -> str:
    """The same, from Unix seconds."""
    return _format(datetime.fromtimestamp(seconds).astimezone())


def in_local_time(sentence: str) -> str:
    """A sentence with each RFC 3339 instant in it replaced by local time."""
    return INSTANT.sub(lambda found: local(found[0]), sentence)


def _format(at: datetime) -> str:
    return at.astimezone().isoformat(" ", "seconds")
