"""The lock that admits one writer: on a store's folder, and on a file that holds the writer's pid.

Used by ``store.py`` and ``backup.py``. A lock file can be deleted while the store stays, the folder
cannot; the lock on the file shows that its pid is current. By hand: lock libraries lock a file.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from node.system.errors import StoreFailure


class Lock:
    """The exclusive right to write in a store's folder, until closed.

    Raises:
        StoreFailure: another process has it, or the folder cannot be opened.
    """

    def __init__(self, store: Path) -> None:
        self._file = store.with_name(store.name + ".lock")
        self._descriptors: list[int] = []
        try:
            if self._is_locked(store.parent, os.O_RDONLY | os.O_DIRECTORY):
                raise _in_use(store, self._holder_pid())
            if self._is_locked(self._file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW):
                raise _in_use(store, self._read_pid())
        except BaseException:
            self.close()
            raise
        pid = str(os.getpid()).encode()
        with contextlib.suppress(OSError):  # on a full disk the lock holds, but the pid is missing
            os.ftruncate(self._descriptors[-1], os.pwrite(self._descriptors[-1], pid, 0))

    def close(self) -> None:
        """Release the lock."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _is_locked(self, path: Path, flags: int) -> bool:
        """Try to lock a folder or a file; returns whether another process holds it."""
        try:
            self._descriptors.append(os.open(path, flags, 0o600))
        except OSError as fault:
            raise StoreFailure(
                f"cannot open {path}: {fault.strerror}; this user must be able to write there"
            ) from fault
        try:
            fcntl.flock(self._descriptors[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as fault:
            raise StoreFailure(f"cannot lock {path}: {fault.strerror}") from fault
        return False

    def _holder_pid(self) -> str:
        """The pid that holds the folder; empty if the lock file was deleted or replaced."""
        try:
            free = not self._is_locked(self._file, os.O_RDONLY | os.O_NOFOLLOW)
        except StoreFailure:
            return ""
        return "" if free else self._read_pid()

    def _read_pid(self) -> str:
        return os.pread(self._descriptors[-1], 20, 0).decode("ascii", "replace").strip()


def _in_use(store: Path, pid: str) -> StoreFailure:
    if not pid:
        who, way = "a daemon whose lock file was deleted", ""
    else:
        who = f"the process with pid {pid}, a daemon or a restore"
        way = (
            f" (or, if that finds no daemon, with: kill {pid}; a suspended one ends only after: "
            f"kill -CONT {pid})"
        )
    return StoreFailure(f"{store} is in use by {who}; stop it with: gangline stop{way}")
