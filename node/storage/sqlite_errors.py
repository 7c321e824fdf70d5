"""What SQLite says of a disk, as a failure with a sentence.

Stands under ``database.py``. SQLite has a word of its own for a full disk alone: that a user's
share of it is full, or that its file system became read-only, the system's error number says.
"""

import contextlib
import errno
import os
from pathlib import Path

import apsw

from machines.errors import InvalidValue
from node.system.errors import DiskFull, StoreDamaged, StoreFailure

DAMAGE = (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError, InvalidValue)
OF_THE_DISK = (apsw.FullError, apsw.IOError, apsw.CantOpenError)
OF_A_SYNC = (apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC)
FULL = "the disk is full (make room on it)"
WORDS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: "this user's share of the disk is full (make room, or have the quota raised)",
    errno.EROFS: (
        "its file system became read-only (the kernel's log says why; mount it to be written again)"
    ),
    errno.EFBIG: "a file may not grow so large here (raise ulimit -f, or move the home)",
    errno.EMFILE: "this process may open no more files (raise ulimit -n)",
    errno.ENFILE: "this host may open no more files (raise fs.file-max)",
    errno.ENOMEM: "this host has no memory left",
}
LOCKED = (apsw.BusyError, apsw.LockedError, apsw.ProtocolError)
OF_LOCKING = (
    apsw.SQLITE_IOERR_BLOCKED, apsw.SQLITE_IOERR_CHECKRESERVEDLOCK, apsw.SQLITE_IOERR_LOCK,
    apsw.SQLITE_IOERR_RDLOCK, apsw.SQLITE_IOERR_SHMLOCK, apsw.SQLITE_IOERR_SHMMAP,
    apsw.SQLITE_IOERR_SHMOPEN, apsw.SQLITE_IOERR_UNLOCK,
)  # fmt: skip


def failure(what: str, path: Path, fault: Exception, db: apsw.Connection | None) -> StoreFailure:
    """What an error of SQLite, of a value that it gave, or of the system means.

    Args:
        what: was being done.
        db: which met it, where it came to be open.
    """
    if isinstance(fault, DAMAGE):
        return StoreDamaged(f"{path} is damaged: {fault}")
    cannot = f"cannot {what} {path}"
    if isinstance(fault, OF_THE_DISK) and (why := _why(fault, db)):
        return (DiskFull if no_room(fault, db) else StoreFailure)(f"{cannot}: {why}")
    if isinstance(fault, OSError):
        return StoreFailure(f"{cannot}: {WORDS.get(fault.errno or 0) or fault.strerror}")
    return StoreFailure(f"{cannot}: {_in_words(fault, path)}")


def _in_words(fault: Exception, path: Path) -> str:
    """What an error means that is no damage, and of which the system's error number says nothing.

    Each sentence must be true whoever else uses the file, since SQLite does not say who does.
    """
    if isinstance(fault, LOCKED):
        return (
            "another program has locked it: a tool such as sqlite3 (end it), or a daemon that runs "
            "on it while its disk is full (make room)"
        )
    if _code(fault) in OF_LOCKING:
        return (
            "its file system does not lock or share files as SQLite needs it, as a network share "
            f"may not; keep the home on a disk of this host ({fault})"
        )
    if isinstance(fault, apsw.NoMemError) or _code(fault) == apsw.SQLITE_IOERR_NOMEM:
        return WORDS[errno.ENOMEM]
    if isinstance(fault, apsw.IOError):
        return f"the disk fails ({fault})"
    if isinstance(fault, apsw.ReadOnlyError | apsw.PermissionsError):
        return f"this user may not write it, or not in its folder ({fault})"
    return _why_not_opened(path) if isinstance(fault, apsw.CantOpenError) else str(fault)


def _code(fault: Exception) -> int:
    return getattr(fault, "extendedresult", 0)


def no_room(fault: Exception, db: apsw.Connection | None) -> bool:
    """Whether a write found no room. A sync that did not is another thing: what was lost?"""
    if _code(fault) in OF_A_SYNC:
        return False
    return isinstance(fault, OF_THE_DISK) and _why(fault, db) in {FULL, WORDS[errno.EDQUOT]}


def _why(fault: Exception, db: apsw.Connection | None) -> str:
    """In words, where the disk takes no write though nothing is broken; else empty."""
    told = ""
    with contextlib.suppress(apsw.ConnectionClosedError):  # it was closing that failed
        told = WORDS.get(db.system_errno, "") if db is not None else ""
    if isinstance(fault, apsw.FullError):
        return FULL
    if _code(fault) == apsw.SQLITE_IOERR_SHMSIZE:
        return told or FULL
    return told


def _why_not_opened(path: Path) -> str:
    if path.is_symlink():
        return "it is a symlink; move the file itself here"
    if path.is_dir():
        return "it is a folder; move it away, and the store's file here"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    try:
        os.close(os.open(path if path.exists() else path.parent, os.O_RDONLY))
    except OSError as fault:
        return WORDS.get(fault.errno or 0) or str(fault.strerror)
    return "may this user write to it, and to its folder?"
