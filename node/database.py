"""The SQLite file under a store: opened, checked, brought up to date, kept small, locked.

Stands under ``store.py``, which knows the tables. WAL and ``synchronous=FULL``: what was committed
is on disk. One writer, by a lock on a file beside it that names who. Source: protocol §11.
"""

import contextlib
import logging
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from node.errors import StoreDamaged, StoreFailure
from node.lock import take_lock
from node.schema import APPLICATION_ID, MIGRATIONS

log = logging.getLogger("gangline.store")

PROBE_BYTES = 256 * 1024
WAL_PAGES = 1000
"""After so many pages in the WAL, SQLite carries them over into the file."""
WAL_BYTES_MAX = 4 * 1024 * 1024
"""What is left of the WAL after that; a burst may need more for a moment."""
TIDY_EVERY = 256
"""So many commits apart, free pages are given back to the file system."""
FREE_PAGES_MIN = 64
FREE_PAGES_AT_ONCE = 512
AUTO_VACUUM_INCREMENTAL = 2
BUSY_MS = 5000


class Database:
    """One open file.

    Args:
        path: the file.
        readonly: look, and take no lock.
        vfs: which of SQLite's file systems holds it; empty: the default one.

    Attributes:
        version: of the file's tables; less than today's only where it was opened to look.

    Raises:
        StoreDamaged: it is no database, or fails SQLite's quick check.
        StoreFailure: it cannot be opened, is in use, or was written by a newer version.
    """

    def __init__(self, path: Path, *, readonly: bool = False, vfs: str = "") -> None:
        self.path = path
        self.readonly = readonly
        self._lock = None if readonly else take_lock(path)
        self._commits = 0
        try:
            with self._speaking("open"):
                self._db = self._connect(vfs)
                self._migrate()
                if not readonly:
                    self._settle()
                self._ready()
        except BaseException:
            self.close()
            raise

    def _ready(self) -> None:
        """The file is open: read from it what must be known."""

    def _connect(self, vfs: str) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READONLY
        if not self.readonly:
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        # O_NOFOLLOW: what a link points at is not ours to write.
        db = apsw.Connection(
            str(self.path), flags=flags | apsw.SQLITE_OPEN_NOFOLLOW, vfs=vfs or None
        )
        self._db = db
        db.set_busy_timeout(BUSY_MS)
        db.create_scalar_function("row_sum", _row_sum, 5, deterministic=True)
        if not self.readonly:
            self.path.chmod(0o600)
            db.pragma("auto_vacuum", AUTO_VACUUM_INCREMENTAL)  # before anything is in the file
            db.pragma("journal_mode", "wal")
            # An acknowledged write survives a power cut; NORMAL loses it.
            db.pragma("synchronous", "full")
            db.pragma("wal_autocheckpoint", WAL_PAGES)
            db.pragma("journal_size_limit", WAL_BYTES_MAX)
            ((told,),) = db.execute("PRAGMA quick_check(1)").fetchall()
            if told != "ok":
                raise StoreDamaged(f"{self.path} is damaged: {told}")
        return db

    def _migrate(self) -> None:
        self.version = version = self._db.pragma("user_version")
        if version > len(MIGRATIONS):
            raise StoreFailure(
                f"{self.path} was written by a newer Gangline (version {version}, this one knows "
                f"{len(MIGRATIONS)}); run that one"
            )
        if self.readonly:
            if not version:
                raise StoreFailure(f"{self.path} is no store")
            return
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            with self._transaction():
                self._db.execute(script)
                self._db.pragma("application_id", APPLICATION_ID)
                self._db.pragma("user_version", number)
            self.version = number

    def _settle(self) -> None:
        """Bring what the last run left into the file, and the file into today's form."""
        # A commit that failed at its fsync may be in the WAL all the same, and not on the disk: it
        # must be before anybody is shown it.
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if self._db.pragma("auto_vacuum") != AUTO_VACUUM_INCREMENTAL:
            try:
                self._db.pragma("auto_vacuum", AUTO_VACUUM_INCREMENTAL)
                self._db.execute("VACUUM")
            except apsw.FullError:
                log.warning("no room to rewrite %s; tried again at the next start", self.path)

    def close(self) -> None:
        """Close the file and let the lock go.

        Raises:
            StoreFailure: the disk failed meanwhile; what was committed is on it all the same.
        """
        try:
            if hasattr(self, "_db"):
                with self._speaking("close"):
                    self._db.close()
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def probe(self) -> None:
        """See whether the disk takes writes: as much as a commit of some records needs.

        Raises:
            StoreFailure: it does not.
        """
        for size in (PROBE_BYTES, 0):
            with self._speaking("write to"), self._transaction():
                self._db.execute(
                    "INSERT OR REPLACE INTO meta VALUES ('probe', zeroblob(?))", (size,)
                )

    def _tidy(self) -> None:
        """Now and then, give pages that hold nothing back to the file system."""
        self._commits += 1
        if self._commits % TIDY_EVERY == 0:
            # What fails here fails at the next commit too, which says so.
            with contextlib.suppress(apsw.Error):
                if self._db.pragma("freelist_count") >= FREE_PAGES_MIN:
                    self._db.execute(f"PRAGMA incremental_vacuum({FREE_PAGES_AT_ONCE})").fetchall()

    def _read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._speaking("read"):
            return list(self._db.execute(query, values))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled it back already, and must not be hidden by saying so.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _speaking(self, what: str) -> Iterator[None]:
        """Turn SQLite's errors into a sentence."""
        try:
            yield
        except (apsw.CorruptError, apsw.NotADBError) as fault:
            raise StoreDamaged(f"{self.path} is damaged: {fault}") from fault
        except apsw.FullError as fault:
            raise StoreFailure(f"cannot {what} {self.path}: the disk is full") from fault
        except apsw.IOError as fault:
            raise StoreFailure(f"cannot {what} {self.path}: the disk fails ({fault})") from fault
        except apsw.CantOpenError as fault:
            raise StoreFailure(f"cannot {what} {self.path}: {_why_not(self.path)}") from fault
        except apsw.Error as fault:
            raise StoreFailure(f"cannot {what} {self.path}: {fault}") from fault


def row_sum(author: bytes, incarnation: int, clock: int, record_id: bytes, value: bytes) -> int:
    """What tells a row that was damaged from the one that was written (docs/decisions)."""
    place = author + incarnation.to_bytes(4, "big") + clock.to_bytes(8, "big") + record_id
    return zlib.crc32(value, zlib.crc32(place))


def _row_sum(*values: Any) -> int:
    """The same, as the migrations call it."""
    return row_sum(*values)


def _why_not(path: Path) -> str:
    if path.is_symlink():
        return "it is a symlink; move the file itself here"
    return "is there such a folder, and may this user write to it?"
