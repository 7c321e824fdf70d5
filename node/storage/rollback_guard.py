"""Detects that a store is not the one this node last wrote: lost, copied, restored or moved.

A small file beside the store records the host, the file and its number of commits. It is written
after each commit without fsync: after a power cut it may be behind the store, but never ahead. A
store that is behind it was rolled back, and a node that continued in its old feed would fork. It
cannot detect that a whole host was restored or cloned, store and guard together. Source: protocol
§9.
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
    """The identity of a store.

    Attributes:
        host: the host's id; empty if unknown.
        inode: of the file; a copy has another.
        token: random, new at each start, also kept in the store.
        writes: the number of commits.
    """

    host: str
    inode: int
    token: bytes
    writes: int


def mismatch(found: StoreStamp, recorded: StoreStamp | None) -> str:
    """Why a store may not be the one last written; empty if it is.

    Args:
        found: the stamp of the store.
        recorded: the stamp in the guard's file; ``None`` if missing.
    """
    if recorded is None:
        return "the store has no .witness file: it is new here, or a copy"
    if not found.token:
        return "the store has lost everything that this node had written to it"
    if recorded.host != found.host:
        return "the store was last written on another host"
    if recorded.inode != found.inode:
        return "the store is a copy of the one last written"
    if recorded.token != found.token or recorded.writes > found.writes:
        return "the store is older than the one last written: it was rolled back"
    return ""


def host_id() -> str:
    """The hashed machine id; empty if the system has none."""
    with contextlib.suppress(OSError):
        # machine-id(5): the id itself is confidential.
        return hashlib.sha256(MACHINE_ID.read_bytes().strip()).hexdigest()[:16]
    return ""


def host_name() -> str:
    """The host's name, in the characters that presence allows."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64]


class RollbackGuard:
    """The file beside a store."""

    def __init__(self, store: Path) -> None:
        self.path = store.with_name(store.name + SUFFIX)
        self._file: int | None = None
        self._head = b""

    def read(self) -> StoreStamp | None:
        """The stamp written last; ``None`` if missing or unreadable."""
        try:
            with self.path.open("rb") as file:
                host, inode, token, writes = file.read(BYTES_MAX).decode("ascii").split("\n")[:4]
            return StoreStamp(host, int(inode), bytes.fromhex(token), int(writes))
        except (OSError, ValueError):
            return None

    def open(self, stamp: StoreStamp) -> Self:
        """Start guarding a store with this stamp.

        Raises:
            OSError: the file cannot be written.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o600)
        self._head = f"{stamp.host}\n{stamp.inode}\n{stamp.token.hex()}\n".encode("ascii")
        # Overwrite, then truncate: on a full disk, a file that is emptied first stays empty.
        self.note(stamp.writes)
        os.ftruncate(self._file, len(self._head) + WRITES_BYTES)
        return self

    def note(self, writes: int) -> None:
        """Record the store's number of commits."""
        assert self._file is not None, "the guard is open"
        os.pwrite(self._file, self._head + f"{writes:0{WRITES_BYTES - 1}d}\n".encode(), 0)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
