"""What an address is, and which ones a node tells others, so that they can dial it.

Stands under ``settings.py``, ``daemon.py``, ``dialer.py``, ``link.py`` and the local API.
"""

import errno
import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence

from machines.values import NodePubkey

ANYWHERE = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - named so that it is never told
PORT_MAX = 65_535
NAME_MAX = 253
_ADDRESS = re.compile(r"([A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]):([0-9]{1,20})")


def fault(address: str, *, listening: bool = False) -> str | None:
    """Say what keeps a text from being an address, ``None`` where nothing does.

    Args:
        listening: to listen on, where no host is every host and port 0 any free one.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or not (_is_host(found[1]) or (listening and not found[1])):
        return f"{address!r} is no host:port, such as den.example:7467 or [2001:db8::1]:7467"
    least = 0 if listening else 1
    if not least <= int(found[2]) <= PORT_MAX:
        return f"{address!r} has no port from {least} to {PORT_MAX}"
    return None


def _is_host(host: str) -> bool:
    """Whether a resolver takes it: a name as long as DNS has them, or an IPv6 address."""
    name = host.strip("[]")
    try:
        name.encode("idna")  # as ``socket.getaddrinfo`` does, which raises what is no OSError
        if host.startswith("["):
            ipaddress.IPv6Address(name)
    except ValueError:
        return False
    return 0 < len(name) <= NAME_MAX


def is_foreign(address: str) -> bool:
    """Whether a checked address to listen on names, by number, one that this host has not now."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return False
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError as fault:
        return fault.errno == errno.EADDRNOTAVAIL
    return False


def dialable(heard: Sequence[str]) -> tuple[str, ...]:
    """Those of a peer's addresses that are addresses: it may say anything."""
    return tuple(address for address in heard if fault(address) is None)


def told(advertise: Sequence[str], listening: str) -> tuple[str, ...]:
    """Those that the config gives; else where it listens, unless that names no host."""
    if advertise:
        return tuple(advertise)
    host, _, _ = listening.rpartition(":")
    return () if host in ANYWHERE else (listening,)


def both(told: Sequence[str], given: Sequence[str]) -> tuple[str, ...]:
    """Where to dial a node: first where it says that it is, since it may have moved."""
    return (*dict.fromkeys((*told, *given)),)


def merged(
    told: Mapping[NodePubkey, Sequence[str]], given: Mapping[NodePubkey, Sequence[str]]
) -> dict[NodePubkey, tuple[str, ...]]:
    """Where to dial each node that the store, the config, or both know of."""
    return {
        node: both(told.get(node, ()), given.get(node, ()))
        for node in dict.fromkeys((*told, *given))
    }
