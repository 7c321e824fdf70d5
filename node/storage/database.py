"""The SQLite file under a store: opened, checked, brought up to date, kept small, locked.

Stands under ``store.py``, which knows the tables. WAL and ``synchronous=FULL``: what was committed
is on disk. One writer, by a lock on its folder. On a full disk the file is
opened to be read, and anew once there is room. Source: protocol §11.
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
    defined,
    definitions,
    hurt_pages,
    migrate,
)
from node.storage.store_lock import Lock
from node.system.errors import DiskFull, StoreDamaged, StoreFailure
from node.system.plurals import counted

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
PRIVATE = 0o600


class Database:
    """One open file.

    Args:
        path: the file.
        readonly: look, and take no lock.
        lock: taken by the caller already, who lets it go.
        vfs: which of SQLite's file systems holds it; empty: the default one.

    Attributes:
        version: of the file's tables; less than today's only where it was opened to look.
        no_room: why nothing can be written, though the file can be read; empty where it can.

    Raises:
        StoreDamaged: it is no database, or fails SQLite's quick check.
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
        self._least = 0  # bytes: the file has no business being shorter
        self._cut = ""
        self._lock = None if readonly or lock else Lock(path)
        self._commits = 0
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        """Open the file to be written; on a full disk, to be read."""
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
        with self._speaking("open"):
            self._db = self._connect(self._vfs)
            self._migrate()
            if not self.readonly:
                self._settle()
            self._ready()
            if not (self.readonly or self.no_room):
                there = self.path.stat()
                self._inode = there.st_ino
                self._least, self._cut = min(there.st_size, self._bytes_in_use()), ""

    def _ready(self) -> None:
        """The file is open: read from it what must be known."""

    def _connect(self, vfs: str) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READONLY
        if not self.readonly:
            flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
            self._mend_mode()
        # O_NOFOLLOW: what a link points at is not ours to write.
        db = apsw.Connection(
            str(self.path), flags=flags | apsw.SQLITE_OPEN_NOFOLLOW, vfs=vfs or None
        )
        self._db = db
        db.set_busy_timeout(BUSY_MS)
        add_functions(db)
        if not self.readonly:
            self.path.chmod(PRIVATE)
        if self.no_room:
            # Alone with the file SQLite keeps the WAL's index in memory, not in a file beside it.
            db.pragma("locking_mode", "exclusive")
        elif not self.readonly:
            db.pragma("auto_vacuum", AUTO_VACUUM_INCREMENTAL)  # before anything is in the file
            db.pragma("journal_mode", "wal")
            # An acknowledged write survives a power cut; NORMAL loses it.
            db.pragma("synchronous", "full")
            db.pragma("wal_autocheckpoint", WAL_PAGES)
            db.pragma("journal_size_limit", WAL_BYTES_MAX)
        if not self.readonly and (damage := hurt_pages(db)):
            raise StoreDamaged(f"{self.path} is damaged: {damage}")
        return db

    def _mend_mode(self) -> None:
        """Who owns the file may write to it again."""
        with contextlib.suppress(FileNotFoundError):
            mode = self.path.lstat().st_mode
            if stat.S_ISREG(mode) and not mode & stat.S_IWUSR:
                self.path.chmod(PRIVATE)
                told = "%s was not to be written (mode %04o); now it is again (0600)"
                log.warning(told, self.path, stat.S_IMODE(mode))

    def _migrate(self) -> None:
        self.version = version = self._db.pragma("user_version")
        if version > len(MIGRATIONS):
            raise StoreFailure(
                f"{self.path} was written by a newer Gangline (version {version}, this one knows "
                f"{len(MIGRATIONS)}); run that one"
            )
        if version or not self.readonly:
            self._check_tables()
        if self.readonly or self.no_room:
            if not version:
                raise (
                    DiskFull(self.no_room)
                    if self.no_room
                    else StoreFailure(f"{self.path} is no store")
                )
            return
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            with self._transaction():
                migrate(self._db, number, script)
            self.version = number

    def _check_tables(self) -> None:
        """The tables are those of the version that the file says: no sum is kept of either."""
        if self.version < 0 or definitions(self._db) != defined(MIGRATIONS[: self.version]):
            raise StoreDamaged(f"{self.path} is damaged: its tables are not as they were made")

    def _settle(self) -> None:
        """Bring what the last run left into the file, and the file into today's form."""
        # A commit that failed at its fsync may be in the WAL all the same, and not on the disk: it
        # must be before anybody is shown it.
        try:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except apsw.Error as fault:
            if not (self.no_room and sqlite_errors.no_room(fault, self._db)):
                raise
            return  # the WAL is synced first: what is in it is on disk
        if not self.no_room and self._db.pragma("auto_vacuum") != AUTO_VACUUM_INCREMENTAL:
            try:
                self._db.pragma("auto_vacuum", AUTO_VACUUM_INCREMENTAL)
                self._db.execute("VACUUM")
            except apsw.Error as fault:
                if not sqlite_errors.no_room(fault, self._db):
                    raise
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
                self._lock.close()

    def probe(self) -> bool:
        """See whether the disk takes writes: as much as a commit of some records needs.

        Says whether the file was opened anew, because it could only be read before.

        Raises:
            StoreFailure: it does not.
        """
        if self.no_room:
            self._look_for_room()
            self._open_anew()
            return True
        for size in (PROBE_BYTES, 0):
            with self._speaking("write to"), self._transaction():
                self._db.execute(SET_META, (MetaKey.PROBE, bytes(size)))
        return False

    def _look_for_room(self) -> None:
        """Try the disk with another file, so that the store is not closed for nothing."""
        try:
            with tempfile.TemporaryFile(dir=self.path.parent) as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError as fault:
            raise DiskFull(f"cannot write to {self.path}: {fault.strerror}") from fault

    def _open_anew(self) -> None:
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

    def _must_be_in_place(self) -> None:
        """What is written to a file that was deleted meanwhile would go with this process.

        Raises:
            StoreFailure: another file stands in the store's place, or none.
        """
        with contextlib.suppress(FileNotFoundError):
            there = self.path.stat()
            if there.st_ino == self._inode:
                self._must_be_whole(there.st_size)
                self._wal_must_be_in_place()
                return
        raise StoreFailure(
            f"{self.path} was taken away while in use: put it back; or let peers have what this "
            "node wrote (gangline status: unshared), stop it, and start it again"
        )

    def _must_be_whole(self, size: int) -> None:
        """The WAL goes on taking writes beside a file that was cut off, and is no use without it.

        What was cut off stays so: what is put back in place is not what SQLite has in memory.
        """
        if size < self._least and not self._cut:
            self._cut = (
                f"{self.path} was cut off while in use ({counted(size, 'byte')} left): let peers "
                "have what this node wrote (gangline status: unshared), or save the board "
                "(gangline export FILE); then stop it, and start it again, or put a backup back "
                "with: gangline restore FILE --force"
            )
        if self._cut:
            raise StoreFailure(self._cut)

    def _bytes_in_use(self) -> int:
        pages: int = self._db.pragma("page_count")
        size: int = self._db.pragma("page_size")
        return pages * size

    def _wal_must_be_in_place(self) -> None:
        if not self.path.with_name(self.path.name + "-wal").exists():
            # SQLite has it open still: what it holds is carried over into the file.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._open_anew()
            log.warning("%s-wal was deleted while in use; nothing of it is lost", self.path)

    def _tidy(self) -> None:
        """Now and then, give pages that hold nothing back to the file system."""
        self._commits += 1
        if self._commits % TIDY_EVERY == 0:
            # What fails here fails at the next commit too, which says so.
            with contextlib.suppress(apsw.Error):
                if self._db.pragma("freelist_count") >= FREE_PAGES_MIN:
                    self._db.execute(f"PRAGMA incremental_vacuum({FREE_PAGES_AT_ONCE})").fetchall()
                    self._least = min(self._least, self._bytes_in_use())

    def _read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._speaking("read"):
            return list(self._db.execute(query, values))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        if self._inode is not None:
            self._must_be_in_place()
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
        except (apsw.Error, OSError, *sqlite_errors.DAMAGE) as fault:
            raise sqlite_errors.failure(
                what, self.path, fault, getattr(self, "_db", None)
            ) from fault
