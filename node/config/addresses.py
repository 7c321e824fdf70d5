"""Addresses: their syntax, those that a node advertises, and where to dial a node."""

import errno
import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence

from machines.values import NodePubkey

ANYWHERE = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - listed so that they are never advertised
PORT_MAX = 65_535
NAME_MAX = 253
_ADDRESS = re.compile(r"([A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\]):([0-9]{1,20})")


def fault(address: str, *, listening: bool = False) -> str | None:
    """Why a text is not an address; ``None`` if it is one.

    Args:
        listening: check an address to listen on: an empty host is every host, port 0 any free port.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or not (_is_host(found[1]) or (listening and not found[1])):
        return f"{address!r} is not host:port, such as den.example:7467 or [2001:db8::1]:7467"
    least = 0 if listening else 1
    if not least <= int(found[2]) <= PORT_MAX:
        return f"the port of {address!r} is not from {least} to {PORT_MAX}"
    return None


def _is_host(host: str) -> bool:
    """Whether it is a name short enough for DNS, or an IPv6 address."""
    name = host.strip("[]")
    try:
        name.encode("idna")  # as ``socket.getaddrinfo`` does, whose error is not an OSError
        if host.startswith("["):
            ipaddress.IPv6Address(name)
    except ValueError:
        return False
    return 0 < len(name) <= NAME_MAX


def is_foreign(address: str) -> bool:
    """Whether a valid listen address has an IP address that this host does not have now."""
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


def dialable(received: Sequence[str]) -> tuple[str, ...]:
    """The valid ones of the addresses that a peer sent, which may be any text."""
    return tuple(address for address in received if fault(address) is None)


def advertised(advertise: Sequence[str], listening: str) -> tuple[str, ...]:
    """The configured addresses; else the listen address, unless its host is every host."""
    if advertise:
        return tuple(advertise)
    host, _, _ = listening.rpartition(":")
    return () if host in ANYWHERE else (listening,)


def in_dial_order(received: Sequence[str], configured: Sequence[str]) -> tuple[str, ...]:
    """The addresses to dial: first those that the node itself sent, since it may have moved."""
    return (*dict.fromkeys((*received, *configured)),)


def merged(
    received: Mapping[NodePubkey, Sequence[str]], configured: Mapping[NodePubkey, Sequence[str]]
) -> dict[NodePubkey, tuple[str, ...]]:
    """The addresses to dial, for each node in the store or the config."""
    return {
        node: in_dial_order(received.get(node, ()), configured.get(node, ()))
        for node in dict.fromkeys((*received, *configured))
    }
