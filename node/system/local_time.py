"""An instant as a person reads it, wherever that is: local time with its offset, to the second.

Stands at the point of display, under the command line and the log; nothing else words a time for
people. What programs read (JSON, records, the API) keeps UTC with a Z.
"""

import re
from datetime import datetime

INSTANT = re.compile(
    r"\b\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?Z\b", re.ASCII
)


def local(instant: str) -> str:
    """``2026-11-30 17:41:22+05:30``, of an instant in RFC 3339; what is none stays as it is.

    A rejected record may hold anything in its stamp, and is shown all the same.
    """
    try:
        return _shown(datetime.fromisoformat(instant)) if INSTANT.fullmatch(instant) else instant
    except (ValueError, OverflowError):  # the thirtieth of February, or beyond any calendar
        return instant


def local_of(seconds: float) -> str:
    """The same, of seconds since 1970."""
    return _shown(datetime.fromtimestamp(seconds).astimezone())


def in_local_time(sentence: str) -> str:
    """A sentence of the daemon's or the core's, with each instant in it as a person reads it."""
    return INSTANT.sub(lambda found: local(found[0]), sentence)


def _shown(at: datetime) -> str:
    return at.astimezone().isoformat(" ", "seconds")
