"""What an address is, and which ones a node tells others, so that they can dial it.

Stands under ``config.py``, ``daemon.py`` and the local API.
"""

import re
from collections.abc import Sequence

ANYWHERE = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - named so that it is never told
PORT_MAX = 65_535
_ADDRESS = re.compile(r"([A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]):([0-9]{1,20})")


def fault(address: str, *, listening: bool = False) -> str | None:
    """Say what keeps a text from being an address, ``None`` where nothing does.

    Args:
        listening: to listen on, where no host is every host and port 0 any free one.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or not (found[1] or listening):
        return f"{address!r} is no host:port, such as den.example:7467 or [2001:db8::1]:7467"
    least = 0 if listening else 1
    if not least <= int(found[2]) <= PORT_MAX:
        return f"{address!r} has no port from {least} to {PORT_MAX}"
    return None


def told(advertise: Sequence[str], listening: str) -> tuple[str, ...]:
    """Those that the config gives; else where it listens, unless that names no host."""
    if advertise:
        return tuple(advertise)
    host, _, _ = listening.rpartition(":")
    return () if host in ANYWHERE else (listening,)
