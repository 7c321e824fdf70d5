"""One writer: a lock on the folder of a store, and one on a file in it, which names who holds both.

Stands under ``store.py`` and ``backup.py``. The folder's cannot be deleted beside the store; the
file's tells whether the pid in it is that of whoever holds the folder now.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from node.system.errors import StoreFailure


class Lock:
    """The right to write in a store's folder, until it is closed.

    Raises:
        StoreFailure: somebody has it, or the place cannot be opened.
    """

    def __init__(self, store: Path) -> None:
        self._file = store.with_name(store.name + ".lock")
        self._held: list[int] = []
        try:
            if self._taken(store.parent, os.O_RDONLY | os.O_DIRECTORY):
                raise _in_use(store, self._holder())
            if self._taken(self._file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW):
                raise _in_use(store, self._pid())
        except BaseException:
            self.close()
            raise
        pid = str(os.getpid()).encode()
        with contextlib.suppress(OSError):  # on a full disk it holds all the same, and names nobody
            os.ftruncate(self._held[-1], os.pwrite(self._held[-1], pid, 0))

    def close(self) -> None:
        """Let go."""
        while self._held:
            os.close(self._held.pop())

    def _taken(self, path: Path, flags: int) -> bool:
        """Lock a folder or a file; says whether somebody else has it."""
        try:
            self._held.append(os.open(path, flags, 0o600))
        except OSError as fault:
            raise StoreFailure(
                f"cannot open {path}: {fault.strerror}; this user must be able to write there"
            ) from fault
        try:
            fcntl.flock(self._held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as fault:
            raise StoreFailure(f"cannot lock {path}: {fault.strerror}") from fault
        return False

    def _holder(self) -> str:
        """The pid of whoever has the folder; empty where its file was deleted or replaced."""
        try:
            free = not self._taken(self._file, os.O_RDONLY | os.O_NOFOLLOW)
        except StoreFailure:
            return ""
        return "" if free else self._pid()

    def _pid(self) -> str:
        return os.pread(self._held[-1], 20, 0).decode("ascii", "replace").strip()


def _in_use(store: Path, pid: str) -> StoreFailure:
    if not pid:
        who, way = "a daemon whose lock file was deleted", ""
    else:
        who = f"the process with pid {pid}, a daemon or a restore"
        way = (
            f" (or, if that finds no daemon, with: kill {pid}; a process that is stopped heeds it "
            f"only once it goes on: kill -CONT {pid})"
        )
    return StoreFailure(f"{store} is in use by {who}; stop it with: gangline stop{way}")
