"""What SQLite says of a disk, as a failure with a sentence.

Stands under ``database.py``. SQLite has a word of its own for a full disk alone: that a user's
share of it is full, or that its file system became read-only, the system's error number says.
"""

import contextlib
import errno
from pathlib import Path

import apsw

from machines.errors import InvalidValue
from node.errors import NoRoom, StoreDamaged, StoreFailure

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
}


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
        return (NoRoom if no_room(fault, db) else StoreFailure)(f"{cannot}: {why}")
    if isinstance(fault, OSError):
        return StoreFailure(f"{cannot}: {fault.strerror}")
    if isinstance(fault, apsw.IOError):
        return StoreFailure(f"{cannot}: the disk fails ({fault})")
    if isinstance(fault, apsw.BusyError):
        return StoreFailure(
            f"{cannot}: a daemon whose disk is full has it for itself; make room first"
        )
    if isinstance(fault, apsw.CantOpenError):
        return StoreFailure(f"{cannot}: {_why_not_opened(path)}")
    return StoreFailure(f"{cannot}: {fault}")


def no_room(fault: Exception, db: apsw.Connection | None) -> bool:
    """Whether a write found no room. A sync that did not is another thing: what was lost?"""
    if getattr(fault, "extendedresult", 0) in OF_A_SYNC:
        return False
    return isinstance(fault, OF_THE_DISK) and _why(fault, db) in {FULL, WORDS[errno.EDQUOT]}


def _why(fault: Exception, db: apsw.Connection | None) -> str:
    """In words, where the disk takes no write though nothing is broken; else empty."""
    told = ""
    with contextlib.suppress(apsw.ConnectionClosedError):  # it was closing that failed
        told = WORDS.get(db.system_errno, "") if db is not None else ""
    if isinstance(fault, apsw.FullError):
        return FULL
    if getattr(fault, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE:
        return told or FULL
    return told


def _why_not_opened(path: Path) -> str:
    if path.is_symlink():
        return "it is a symlink; move the file itself here"
    if path.is_dir():
        return "it is a folder; move it away, and the store's file here"
    return "is there such a folder, and may this user write to it?"
