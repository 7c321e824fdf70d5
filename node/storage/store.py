"""The store: one SQLite file for one node in one cluster.

A batch is committed in one transaction and is on disk when ``commit`` returns; a start reads
everything back (``reader.py``). One process writes, one thread at a time. Source: protocol §11.
"""

import contextlib
import errno
import secrets
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import apsw

from crdt.contract.ready import Observation, Persist, Quarantined, RowKey
from crdt.primitives.identity import FeedId
from node.storage import history
from node.storage.history import BOUNDS, HistoryBounds
from node.storage.meta_keys import MetaKey
from node.storage.migrations import SET_ADDRESSES, SET_META, SUMMED, expected_sum, row_sum
from node.storage.quarantine import Quarantine
from node.storage.reader import OWN_END, Reading
from node.storage.rollback_guard import RollbackGuard, StoreStamp, host_id, mismatch
from node.storage.store_lock import Lock
from node.storage.ticket_rows import TICKET_KEPT_MS, TicketRow
from node.system.errors import DiskFull, StoreDamaged, StoreFailure
from node.system.plurals import counted

HEADER_BYTES = 100
"""SQLite treats a shorter file as new and empty."""


class Store(Reading):
    """One open store.

    Args:
        path: the file.
        readonly: only read, and take no lock.
        lock: held by the caller, who releases it.
        vfs: the name of SQLite's VFS; empty: the default.
        history: how much of the history is kept.

    Attributes:
        doubt: why this may not be the store that this node last wrote; empty if it is.
    """

    def __init__(
        self,
        path: Path,
        *,
        readonly: bool = False,
        lock: Lock | None = None,
        vfs: str = "",
        history: HistoryBounds = BOUNDS,
    ) -> None:
        self._writes = 0
        self._guard = RollbackGuard(path)
        self._history = history
        self._quarantine = Quarantine()
        self.doubt = ""
        super().__init__(path, readonly=readonly, lock=lock, vfs=vfs)

    def _connect(self, vfs: str) -> apsw.Connection:
        """Refuse a file that is cut off in its header, though this node had written to it."""
        if not self.readonly and (stamp := self._guard.read()) is not None:
            with contextlib.suppress(FileNotFoundError):
                status = self.path.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_size < HEADER_BYTES:
                    raise StoreDamaged(
                        f"{self.path} is damaged: {counted(status.st_size, 'byte')} left of it, "
                        f"though this node had written to it {counted(stamp.writes, 'time')}"
                    )
        return super()._connect(vfs)

    def _ready(self) -> None:
        super()._ready()
        if not self.readonly:
            self._compare_with_guard()

    def _compare_with_guard(self) -> None:
        """Compare the store with its rollback guard, then register this store with it.

        A doubt is stored until a new incarnation is opened, so a crash does not clear it.
        """
        self._writes = int.from_bytes(self.meta(MetaKey.WRITES) or b"", "big")
        found = StoreStamp(
            host_id(), self.path.stat().st_ino, self.meta(MetaKey.TOKEN) or b"", self._writes
        )
        known = (self.meta(MetaKey.DOUBT) or b"").decode()
        self.doubt = known or mismatch(found, self._guard.read())
        if not self.no_room:
            self._register(found)

    def _register(self, found: StoreStamp) -> None:
        token = secrets.token_bytes(16)
        # The store first: a crash in between raises a needless doubt, and never hides one.
        with self._transaction():
            self._set(MetaKey.TOKEN, token)
            self._set(MetaKey.DOUBT, self.doubt.encode())
        try:
            self._guard.open(found._replace(token=token))
        except OSError as fault:
            full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
            raise (DiskFull if full else StoreFailure)(
                f"cannot write {self._guard.path}: {fault.strerror}"
            ) from fault

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release the lock.

        Raises:
            StoreFailure: the disk failed; earlier commits are on it.
        """
        try:
            super().close()
        finally:
            self._guard.close()

    # --- writing -------------------------------------------------------------------------------

    def commit(
        self,
        persist: Persist,
        quarantined: list[Quarantined],
        at_ms: int,
        events: Sequence[Observation] = (),
    ) -> None:
        """Write a batch in one transaction; it is on disk when this returns.

        Args:
            at_ms: Unix milliseconds, for quarantine and history.
            events: for the history.

        Raises:
            StoreFailure: nothing was written.
        """
        known = dict(self._feeds)
        try:
            self._commit(persist, quarantined, at_ms, events)
        except StoreFailure:
            # Forget what the failed transaction counted.
            self._feeds, self._quarantine = known, Quarantine()
            raise
        if persist.doubt is not None:
            self.doubt = persist.doubt
        self._writes += 1
        with contextlib.suppress(OSError):  # the guard may fall behind; the next commit reports why
            self._guard.note(self._writes)
        self._vacuum_now_and_then()

    def _commit(
        self,
        persist: Persist,
        quarantined: list[Quarantined],
        at_ms: int,
        events: Sequence[Observation],
    ) -> None:
        with self._wrapping_errors("write to"), self._transaction():
            self._write_rows(persist)
            for feed, end in persist.rendered.items():
                self._db.execute(
                    "UPDATE feeds SET rendered = ?1, sum = cells_sum(author, incarnation, ?1) "
                    "WHERE id = ?2",
                    (end, self._feed(feed)),
                )
            for proof in persist.proofs:
                sides = b"".join(part for side in proof.sides for part in side)
                self._db.execute(
                    "INSERT INTO proofs VALUES (?, ?, ?, ?) "
                    "ON CONFLICT DO UPDATE SET clock = excluded.clock, sides = excluded.sides",
                    (bytes(proof.author), proof.incarnation, proof.clock, sides),
                )
            if persist.incarnation is not None:
                self._set(MetaKey.INCARNATION, persist.incarnation.to_bytes(4, "big"))
            if persist.doubt is not None:
                self._set(MetaKey.DOUBT, persist.doubt.encode())
            if persist.own_end is not None:
                author, incarnation, clock = persist.own_end
                self._set(MetaKey.OWN_END, OWN_END.pack(author, incarnation, clock))
            self._set(MetaKey.WRITES, (self._writes + 1).to_bytes(8, "big"))
            for node, texts in persist.addresses.items():
                self._db.execute(SET_ADDRESSES, (bytes(node), " ".join(texts)))
            self._db.executemany(
                "INSERT OR IGNORE INTO settled VALUES (?1, cells_sum(?1))",
                [(bytes(i),) for i in persist.reissue_done],
            )
            self._quarantine.write(self._db, quarantined, at_ms)
            history.write(self._db, events, at_ms, self._history)

    def _write_rows(self, persist: Persist) -> None:
        gained = [
            (*self._place(key), row.value, row_sum(*row))
            for key, row in persist.rows.items()
            if row is not None
        ]
        lost = [self._place(key) for key, row in persist.rows.items() if row is None]
        put = "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?) RETURNING sum"
        drop = "DELETE FROM records WHERE feed = ? AND clock = ? AND record_id = ? RETURNING sum"
        new = [checksum for (checksum,) in self._db.executemany(put, gained)]
        old = [checksum for (checksum,) in self._db.executemany(drop, lost)]
        if new or old:
            change = len(new) - len(old), sum(new) - sum(old)
            self._db.execute("UPDATE total SET rows = rows + ?, sum = sum + ?", change)

    def _place(self, key: RowKey) -> tuple[int, int, bytes]:
        feed = self._feed(FeedId(key.author, key.incarnation))
        return feed, key.clock, bytes(key.record_id)

    def fill(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Insert rows of another store into a table; rows that break a constraint are skipped."""
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - our own names
        with self._wrapping_errors("write to"), self._transaction():
            for row in rows:
                with contextlib.suppress(apsw.ConstraintError):
                    self._db.execute(insert, row)
            if table in SUMMED:
                self._db.execute(f"UPDATE {table} SET sum = {expected_sum(table)}")  # noqa: S608 - our own names

    def set_meta(self, name: str, value: bytes) -> None:
        """Write one value of the table ``meta``."""
        with self._wrapping_errors("write to"), self._transaction():
            self._set(name, value)

    def add_ticket(self, ticket: TicketRow, now_ms: int) -> None:
        """Store a ticket that was handed out, without its secret; delete long expired ones."""
        with self._wrapping_errors("write to"), self._transaction():
            self._db.execute("DELETE FROM tickets WHERE expires < ?", (now_ms - TICKET_KEPT_MS,))
            self._db.execute(
                "INSERT INTO tickets (hash, role, expires, uses, sum) "
                "VALUES (?1, ?2, ?3, ?4, cells_sum(?1, ?2, ?3, ?4, 0))",
                ticket[:4],
            )

    def withdraw_ticket(self, secret_hash: bytes) -> None:
        """Make a ticket invalid."""
        with self._wrapping_errors("write to"), self._transaction():
            self._db.execute(
                "UPDATE tickets SET withdrawn = 1, sum = cells_sum(hash, role, expires, uses, 1) "
                "WHERE hash = ?",
                (secret_hash,),
            )

    # --- internals ----------------------------------------------------------------------------

    def _set(self, name: str, value: bytes) -> None:
        self._db.execute(SET_META, (name, value))

    def _feed(self, feed: FeedId) -> int:
        number = self._feeds.get(feed)
        if number is None:
            self._db.execute(
                "INSERT INTO feeds (author, incarnation, sum) "
                "VALUES (?1, ?2, cells_sum(?1, ?2, 0))",
                (bytes(feed.author), feed.incarnation),
            )
            number = self._feeds[feed] = self._db.last_insert_rowid()
        return number
