"""One writer: the lock beside a store, which names who holds it.

Stands under ``store.py`` and ``backup.py``.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from node.errors import StoreFailure


def take_lock(store: Path) -> int:
    """One writer: whoever holds the lock file, which says its pid; closing it lets go.

    Raises:
        StoreFailure: somebody holds it, or it cannot be opened.
    """
    path = store.with_name(store.name + ".lock")
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as fault:
        raise StoreFailure(
            f"cannot open {path}: {fault.strerror}; this user must be able to write there"
        ) from fault
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        pid = os.read(lock, 20).decode("ascii", "replace").strip()
        os.close(lock)
        if not isinstance(fault, BlockingIOError):
            raise StoreFailure(f"cannot lock {path}: {fault.strerror}") from fault
        raise StoreFailure(
            f"{store} is in use by the daemon with pid {pid}; stop it with: gangline stop"
        ) from None
    with contextlib.suppress(OSError):  # on a full disk it holds all the same, and names nobody
        os.ftruncate(lock, os.pwrite(lock, str(os.getpid()).encode(), 0))
    return lock
