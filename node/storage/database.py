"""The SQLite file of a store: opens, locks, checks, upgrades and shrinks it.

``store.py`` knows the tables. WAL and ``synchronous=FULL``: a commit is on disk when it returns. A
lock on the folder admits one writer. On a full disk the file is opened read-only, and reopened once
there is room. Source: protocol §11.
"""

import contextlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from node.storage import sqlite_errors
from node.storage.meta_keys import MetaKey
from node.storage.migrations import (
    MIGRATIONS,
    SET_META,
    add_functions,
    damaged_pages,
    defined,
    definitions,
    migrate,
)
from node.storage.store_lock import Lock
from node.system.errors import DiskFull, StoreDamaged, StoreFailure
from node.system.plurals import counted

log = logging.getLogger("gangline.store")

PROBE_BYTES = 256 * 1024
WAL_PAGES = 1000
"""Pages in the WAL after which SQLite moves them into the file."""
WAL_BYTES_MAX = 4 * 1024 * 1024
"""The WAL's size after that; a burst may need more for a moment."""
VACUUM_EVERY = 256
"""Commits between two returns of free pages to the file system."""
FREE_PAGES_MIN = 64
FREE_PAGES_AT_ONCE = 512
AUTO_VACUUM_INCREMENTAL = 2
BUSY_MS = 5000
PRIVATE = 0o600


class Database:
    """One open file.

    Args:
        path: the file.
        readonly: only read, and take no lock.
        lock: held by the caller, who releases it.
        vfs: the name of SQLite's VFS; empty: the default.

    Attributes:
        version: of the file's tables; older than today's only if opened read-only.
        no_room: why the file can be read but not written; empty if it can.

    Raises:
        StoreDamaged: it is not a database, or fails SQLite's quick check.
        StoreFailure: it cannot be opened, is in use, or was written by a newer version.
    """

    def __init__(
        self, path: Path, *, readonly: bool = False, lock: Lock | None = None, vfs: str = ""
    ) -> None:
        self.path = path
        self.readonly = readonly
        self.no_room = ""
        self._vfs = vfs
        self._inode: int | None = None
        self._size_min = 0  # bytes: a shorter file was truncated
        self._truncated = ""
        self._lock = None if readonly or lock else Lock(path)
        self._commits = 0
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        """Open the file for writing; on a full disk, for reading."""
        try:
            self._try_open()
        except DiskFull as full:
            if self.readonly or not hasattr(self, "_db"):
                raise
            with contextlib.suppress(apsw.Error):
                self._db.close()
            self.no_room = str(full)
            self._try_open()

    def _try_open(self) -> None:
        with self._wrapping_errors("open"):
            self._db = self._connect(self._vfs)
            self._migrate()
            if not self.readonly:
                self._finish_last_run()
            self._ready()
            if not (self.readonly or self.no_room):
                there = self.path.stat()
                self._inode = there.st_ino
                self._size_min, self._truncated = min(there.st_size, self._bytes_in_use()), ""

    def _ready(self) -> None:
        """Called when the file is open: load what later calls need."""

    def _connect(self, vfs: str) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READONLY
        if not self.readonly:
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
            self._restore_write_mode()
        # NOFOLLOW: the target of a symlink is not ours to write.
        db = apsw.Connection(
            str(self.path), flags=flags | apsw.SQLITE_OPEN_NOFOLLOW, vfs=vfs or None
        )
        self._db = db
        db.set_busy_timeout(BUSY_MS)
        add_functions(db)
        if not self.readonly:
            self.path.chmod(PRIVATE)
        if self.no_room:
            # In exclusive mode SQLite keeps the WAL's index in memory, not in a file.
            db.pragma("locking_mode", "exclusive")
        elif not self.readonly:
            db.pragma("auto_vacuum", AUTO_VACUUM_INCREMENTAL)  # only works in an empty file
            db.pragma("journal_mode", "wal")
            # An acknowledged write survives a power cut; NORMAL loses it.
            db.pragma("synchronous", "full")
            db.pragma("wal_autocheckpoint", WAL_PAGES)
            db.pragma("journal_size_limit", WAL_BYTES_MAX)
        if not self.readonly and (damage := damaged_pages(db)):
            raise StoreDamaged(f"{self.path} is damaged: {damage}")
        return db

    def _restore_write_mode(self) -> None:
        """Let the owner write to the file again."""
        with contextlib.suppress(FileNotFoundError):
            mode = self.path.lstat().st_mode
            if stat.S_ISREG(mode) and not mode & stat.S_IWUSR:
                self.path.chmod(PRIVATE)
                log.warning(
                    "%s was write-protected (mode %04o); its mode is 0600 again",
                    self.path,
                    stat.S_IMODE(mode),
                )

    def _migrate(self) -> None:
        self.version = version = self._db.pragma("user_version")
        if version > len(MIGRATIONS):
            raise StoreFailure(
                f"{self.path} was written by a newer Gangline (version {version}, this one knows "
                f"{len(MIGRATIONS)}); use the newer one"
            )
        if version or not self.readonly:
            self._check_tables()
        if self.readonly or self.no_room:
            if not version:
                raise (
                    DiskFull(self.no_room)
                    if self.no_room
                    else StoreFailure(f"{self.path} is not a store")
                )
            return
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            with self._transaction():
                migrate(self._db, number, script)
            self.version = number

    def _check_tables(self) -> None:
        """Compare the tables with those of the file's version: no checksum covers either."""
        if self.version < 0 or definitions(self._db) != defined(MIGRATIONS[: self.version]):
            raise StoreDamaged(f"{self.path} is damaged: its tables are not those of its version")

    def _finish_last_run(self) -> None:
        """Move the last run's WAL into the file, and enable incremental vacuum in an old file."""
        # A commit whose fsync failed may be in the WAL but not on disk: sync it before it is read.
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except apsw.Error as fault:
            if not (self.no_room and sqlite_errors.is_disk_full(fault, self._db)):
                raise
            return  # SQLite syncs the WAL first, so it is on disk
        if not self.no_room and self._db.pragma("auto_vacuum") != AUTO_VACUUM_INCREMENTAL:
            try:
                self._db.pragma("auto_vacuum", AUTO_VACUUM_INCREMENTAL)
                self._db.execute("VACUUM")
            except apsw.Error as fault:
                if not sqlite_errors.is_disk_full(fault, self._db):
                    raise
                log.warning("no room to rewrite %s; will try again at the next start", self.path)

    def close(self) -> None:
        """Close the file and release the lock.

        Raises:
            StoreFailure: the disk failed; earlier commits are on it.
        """
        try:
            if hasattr(self, "_db"):
                with self._wrapping_errors("close"):
                    self._db.close()
        finally:
            if self._lock is not None:
                self._lock.close()

    def probe(self) -> bool:
        """Check that the disk accepts a write as large as a commit of some records.

        Returns whether the file was reopened, because it was read-only before.

        Raises:
            StoreFailure: it does not.
        """
        if self.no_room:
            self._probe_other_file()
            self._reopen()
            return True
        for size in (PROBE_BYTES, 0):
            with self._wrapping_errors("write to"), self._transaction():
                self._db.execute(SET_META, (MetaKey.PROBE, bytes(size)))
        return False

    def _probe_other_file(self) -> None:
        """Try another file first, so that the store is not closed in vain."""
        try:
            with tempfile.TemporaryFile(dir=self.path.parent) as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError as fault:
            raise DiskFull(f"cannot write to {self.path}: {fault.strerror}") from fault

    def _reopen(self) -> None:
        why, self.no_room = self.no_room, ""
        self._inode = None
        with contextlib.suppress(apsw.Error):
            self._db.close()
        try:
            self._open()
        except BaseException:
            self.no_room = why
            raise
        if self.no_room:
            raise DiskFull(self.no_room)

    def _check_in_place(self) -> None:
        """Refuse to write if the file was deleted or replaced: the write would be lost.

        Raises:
            StoreFailure: another file is in the store's place, or none.
        """
        with contextlib.suppress(FileNotFoundError):
            there = self.path.stat()
            if there.st_ino == self._inode:
                self._check_size(there.st_size)
                self._check_wal()
                return
        raise StoreFailure(
            f"{self.path} was removed or replaced while in use: put it back; or wait until peers "
            "have what this node wrote (gangline status: unshared), and restart it"
        )

    def _check_size(self, size: int) -> None:
        """Refuse to write if the file was truncated: SQLite would write to the WAL, in vain.

        The refusal is final: a file that is put back does not match SQLite's memory.
        """
        if size < self._size_min and not self._truncated:
            self._truncated = (
                f"{self.path} was truncated while in use ({counted(size, 'byte')} left): wait "
                "until peers have what this node wrote (gangline status: unshared), or save the "
                "board (gangline export FILE); then stop the daemon, and start it again or restore "
                "a backup with: gangline restore FILE --force"
            )
        if self._truncated:
            raise StoreFailure(self._truncated)

    def _bytes_in_use(self) -> int:
        pages: int = self._db.pragma("page_count")
        size: int = self._db.pragma("page_size")
        return pages * size

    def _check_wal(self) -> None:
        if not self.path.with_name(self.path.name + "-wal").exists():
            # SQLite still has it open, and moves its content into the file.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._reopen()
            log.warning("%s-wal was deleted while in use; nothing is lost", self.path)

    def _vacuum_now_and_then(self) -> None:
        """Every ``VACUUM_EVERY`` commits, return free pages to the file system."""
        self._commits += 1
        if self._commits % VACUUM_EVERY == 0:
            # A failure here fails the next commit too, which reports it.
            with contextlib.suppress(apsw.Error):
                if self._db.pragma("freelist_count") >= FREE_PAGES_MIN:
                    self._db.execute(f"PRAGMA incremental_vacuum({FREE_PAGES_AT_ONCE})").fetchall()
                    self._size_min = min(self._size_min, self._bytes_in_use())

    def _read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._wrapping_errors("read"):
            return list(self._db.execute(query, values))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit on success, roll back on any exception."""
        if self._inode is not None:
            self._check_in_place()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled back already; a second error must not hide that.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _wrapping_errors(self, what: str) -> Iterator[None]:
        """Turn errors of SQLite and the system into a ``StoreFailure`` with a message."""
        try:
            yield
        except (apsw.Error, OSError, *sqlite_errors.DAMAGE) as fault:
            raise sqlite_errors.failure(
                what, self.path, fault, getattr(self, "_db", None)
            ) from fault
