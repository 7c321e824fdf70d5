"""Notices that a store is not the one this node last wrote: lost, copied, restored, moved.

A small file beside the store says which file, on which host, at how many writes it was left. It is
written after each commit and needs no fsync: it may fall behind the store in a power cut, and never
runs ahead of it. A store that is behind its witness was put back; a node that went on in its old
feed then would fork. What it cannot notice is a whole host put back or cloned with everything on
it, store and witness alike. Source: protocol §9.
"""

import contextlib
import hashlib
import os
import re
import socket
from pathlib import Path
from typing import NamedTuple, Self

MACHINE_ID = Path("/etc/machine-id")
SUFFIX = ".witness"
BYTES_MAX = 512
WRITES_BYTES = 21


class StoreStamp(NamedTuple):
    """What a witness says of a store.

    Attributes:
        host: the host's id; empty where it has none.
        inode: the file's number: a copy has another.
        token: drawn anew at each start, and kept in the store too.
        writes: how many commits the store held.
    """

    host: str
    inode: int
    token: bytes
    writes: int


def mismatch(found: StoreStamp, said: StoreStamp | None) -> str:
    """Why a store cannot be taken for the one last written; empty where it can.

    Args:
        found: what the store is.
        said: what the witness says it should be.
    """
    if said is None:
        return "nothing vouches for the store: it is new here, or a copy"
    if not found.token:
        return "nothing is left in the store of what this node had written to it"
    if said.host != found.host:
        return "the store was last written on another host"
    if said.inode != found.inode:
        return "the store is a copy of the one last written"
    if said.token != found.token or said.writes > found.writes:
        return "the store is older than the one last written: it was put back"
    return ""


def host_id() -> str:
    """What tells this host from another, hashed; empty where the system does not say."""
    with contextlib.suppress(OSError):
        # machine-id(5) asks that its text be shown to nobody.
        return hashlib.sha256(MACHINE_ID.read_bytes().strip()).hexdigest()[:16]
    return ""


def host_name() -> str:
    """What this host is called, in the letters that presence carries."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64]


class RollbackGuard:
    """The file beside a store."""

    def __init__(self, store: Path) -> None:
        self.path = store.with_name(store.name + SUFFIX)
        self._file: int | None = None
        self._head = b""

    def read(self) -> StoreStamp | None:
        """What was written last; ``None`` where there is none, or none that can be read."""
        try:
            with self.path.open("rb") as file:
                host, inode, token, writes = file.read(BYTES_MAX).decode("ascii").split("\n")[:4]
            return StoreStamp(host, int(inode), bytes.fromhex(token), int(writes))
        except (OSError, ValueError):
            return None

    def open(self, vouch: StoreStamp) -> Self:
        """Begin anew for a store.

        Raises:
            OSError: it cannot be written.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o600)
        self._head = f"{vouch.host}\n{vouch.inode}\n{vouch.token.hex()}\n".encode("ascii")
        # Over what is there: on a full disk a file that was emptied first would stay empty.
        self.note(vouch.writes)
        os.ftruncate(self._file, len(self._head) + WRITES_BYTES)
        return self

    def note(self, writes: int) -> None:
        """The store holds this many writes now."""
        assert self._file is not None, "an opened witness"
        os.pwrite(self._file, self._head + f"{writes:0{WRITES_BYTES - 1}d}\n".encode(), 0)

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
