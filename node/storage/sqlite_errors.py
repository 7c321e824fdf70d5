"""Turns errors of SQLite into a ``StoreFailure`` with a message.

SQLite has a code of its own for a full disk only; a full quota or a file system that became
read-only shows in the system's error number.
"""

import contextlib
import errno
import os
from pathlib import Path

import apsw

from machines.errors import InvalidValue
from node.system.errors import DiskFull, StoreDamaged, StoreFailure

DAMAGE = (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError, InvalidValue)
DISK_ERRORS = (apsw.FullError, apsw.IOError, apsw.CantOpenError)
SYNC_CODES = (apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC)
FULL = "the disk is full (make room on it)"
MESSAGES = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: "this user's disk quota is full (make room, or have the quota raised)",
    errno.EROFS: ("its file system became read-only (see the kernel's log; remount it writable)"),
    errno.EFBIG: "the file size limit is reached (raise ulimit -f, or move the home)",
    errno.EMFILE: "this process can open no more files (raise ulimit -n)",
    errno.ENFILE: "this host can open no more files (raise fs.file-max)",
    errno.ENOMEM: "this host has no memory left",
}
LOCKED = (apsw.BusyError, apsw.LockedError, apsw.ProtocolError)
LOCKING_CODES = (
    apsw.SQLITE_IOERR_BLOCKED, apsw.SQLITE_IOERR_CHECKRESERVEDLOCK, apsw.SQLITE_IOERR_LOCK,
    apsw.SQLITE_IOERR_RDLOCK, apsw.SQLITE_IOERR_SHMLOCK, apsw.SQLITE_IOERR_SHMMAP,
    apsw.SQLITE_IOERR_SHMOPEN, apsw.SQLITE_IOERR_UNLOCK,
)  # fmt: skip


def failure(what: str, path: Path, fault: Exception, db: apsw.Connection | None) -> StoreFailure:
    """The failure for an error of SQLite, of a value it returned, or of the system.

    Args:
        what: the verb for the message: ``open``, ``read``, ``write to``.
        db: the connection, if it was opened.
    """
    if isinstance(fault, DAMAGE):
        return StoreDamaged(f"{path} is damaged: {fault}")
    cannot = f"cannot {what} {path}"
    if isinstance(fault, DISK_ERRORS) and (why := _why(fault, db)):
        return (DiskFull if is_disk_full(fault, db) else StoreFailure)(f"{cannot}: {why}")
    if isinstance(fault, OSError):
        return StoreFailure(f"{cannot}: {MESSAGES.get(fault.errno or 0) or fault.strerror}")
    return StoreFailure(f"{cannot}: {_explain(fault, path)}")


def _explain(fault: Exception, path: Path) -> str:
    """Explain an error that is neither damage nor has a system error number.

    SQLite does not report who else uses the file, so each sentence allows for any user.
    """
    if isinstance(fault, LOCKED):
        return (
            "another program has locked it: a tool such as sqlite3 (end it), or a daemon that runs "
            "while its disk is full (make room)"
        )
    if _code(fault) in LOCKING_CODES:
        return (
            "its file system does not support the locking that SQLite needs, as on some network "
            f"shares; keep the home on a local disk ({fault})"
        )
    if isinstance(fault, apsw.NoMemError) or _code(fault) == apsw.SQLITE_IOERR_NOMEM:
        return MESSAGES[errno.ENOMEM]
    if isinstance(fault, apsw.IOError):
        return f"the disk failed ({fault})"
    if isinstance(fault, apsw.ReadOnlyError | apsw.PermissionsError):
        return f"this user may not write to it or its folder ({fault})"
    return _why_not_opened(path) if isinstance(fault, apsw.CantOpenError) else str(fault)


def _code(fault: Exception) -> int:
    return getattr(fault, "extendedresult", 0)


def is_disk_full(fault: Exception, db: apsw.Connection | None) -> bool:
    """Whether a write failed for lack of room.

    A failed fsync is excluded: what it lost is unknown.
    """
    if _code(fault) in SYNC_CODES:
        return False
    return isinstance(fault, DISK_ERRORS) and _why(fault, db) in {FULL, MESSAGES[errno.EDQUOT]}


def _why(fault: Exception, db: apsw.Connection | None) -> str:
    """Why the disk refuses a write though nothing is broken; empty for other errors."""
    reason = ""
    with contextlib.suppress(apsw.ConnectionClosedError):  # closing failed
        reason = MESSAGES.get(db.system_errno, "") if db is not None else ""
    if isinstance(fault, apsw.FullError):
        return FULL
    if _code(fault) == apsw.SQLITE_IOERR_SHMSIZE:
        return reason or FULL
    return reason


def _why_not_opened(path: Path) -> str:
    if path.is_symlink():
        return "it is a symlink; put the file itself here"
    if path.is_dir():
        return "it is a folder; move it away, and put the store's file here"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    try:
        os.close(os.open(path if path.exists() else path.parent, os.O_RDONLY))
    except OSError as fault:
        return MESSAGES.get(fault.errno or 0) or str(fault.strerror)
    return "may this user write to it, and to its folder?"
