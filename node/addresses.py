"""Which addresses a node tells others, so that they can dial it.

Stands under ``daemon.py`` and the local API.
"""

from collections.abc import Sequence

ANYWHERE = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - named so that it is never told


def told(advertise: Sequence[str], listening: str) -> tuple[str, ...]:
    """Those that the config gives; else where it listens, unless that names no host."""
    if advertise:
        return tuple(advertise)
    host, _, _ = listening.rpartition(":")
    return () if host in ANYWHERE else (listening,)
