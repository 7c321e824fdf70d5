"""Stage 8 of the line: SQLite, where truth is kept.

Takes a batch of instructions from ``driver.py`` in one transaction, durable when it returns; gives
everything back at a start (``reader.py``). One file a cluster, one writer (a lock on its
folder). Only ever called from one thread at a time. Source: protocol §11.
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
from node.storage.migrations import SET_ADDRESSES, SET_META, SUMMED, row_sum, sum_of
from node.storage.quarantine import Quarantine
from node.storage.reader import OWN_END, Reading
from node.storage.rollback_guard import RollbackGuard, StoreStamp, host_id, mismatch
from node.storage.store_lock import Lock
from node.storage.ticket_rows import TICKET_KEPT_MS, TicketRow
from node.system.errors import DiskFull, StoreDamaged, StoreFailure
from node.system.plurals import counted

HEADER_BYTES = 100
"""With fewer, SQLite takes a file for one that nobody has written to yet."""


class Store(Reading):
    """One open store.

    Args:
        path: the file.
        readonly: look, and take no lock.
        lock: taken by the caller already, who lets it go.
        vfs: which of SQLite's file systems holds it; empty: the default one.
        history: how much of what happened is kept.

    Attributes:
        doubt: why this may not be the store that this node last wrote; empty where it is.
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
        self._witness = RollbackGuard(path)
        self._history = history
        self._quarantine = Quarantine()
        self.doubt = ""
        super().__init__(path, readonly=readonly, lock=lock, vfs=vfs)

    def _connect(self, vfs: str) -> apsw.Connection:
        """The same, where there is not less of the file than this node had written."""
        if not self.readonly and (said := self._witness.read()) is not None:
            with contextlib.suppress(FileNotFoundError):
                there = self.path.lstat()
                if stat.S_ISREG(there.st_mode) and there.st_size < HEADER_BYTES:
                    raise StoreDamaged(
                        f"{self.path} is damaged: {counted(there.st_size, 'byte')} left of it, "
                        f"though this node had written to it {counted(said.writes, 'time')}"
                    )
        return super()._connect(vfs)

    def _ready(self) -> None:
        super()._ready()
        if not self.readonly:
            self._look_at_witness()

    def _look_at_witness(self) -> None:
        """Compare the store with its witness, and let it vouch for this one from here on.

        A doubt is kept in the store until a new incarnation was opened: a crash does not settle it.
        """
        self._writes = int.from_bytes(self.meta(MetaKey.WRITES) or b"", "big")
        found = StoreStamp(
            host_id(), self.path.stat().st_ino, self.meta(MetaKey.TOKEN) or b"", self._writes
        )
        known = (self.meta(MetaKey.DOUBT) or b"").decode()
        self.doubt = known or mismatch(found, self._witness.read())
        if not self.no_room:
            self._swear_in(found)

    def _swear_in(self, found: StoreStamp) -> None:
        token = secrets.token_bytes(16)
        # The store first: a crash between the two leaves a doubt too many, never one too few.
        with self._transaction():
            self._set(MetaKey.TOKEN, token)
            self._set(MetaKey.DOUBT, self.doubt.encode())
        try:
            self._witness.open(found._replace(token=token))
        except OSError as fault:
            full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
            raise (DiskFull if full else StoreFailure)(
                f"cannot write {self._witness.path}: {fault.strerror}"
            ) from fault

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let the lock go.

        Raises:
            StoreFailure: the disk failed meanwhile; what was committed is on it all the same.
        """
        try:
            super().close()
        finally:
            self._witness.close()

    # --- in ------------------------------------------------------------------------------------

    def commit(
        self,
        persist: Persist,
        quarantined: list[Quarantined],
        at_ms: int,
        events: Sequence[Observation] = (),
    ) -> None:
        """Write a batch in one transaction; it is on disk when this returns.

        Args:
            events: what happened, for the history.

        Raises:
            StoreFailure: it is not; nothing of it was written.
        """
        known = dict(self._feeds)
        try:
            self._commit(persist, quarantined, at_ms, events)
        except StoreFailure:
            # What was counted in the transaction that failed means nothing.
            self._feeds, self._quarantine = known, Quarantine()
            raise
        if persist.doubt is not None:
            self.doubt = persist.doubt
        self._writes += 1
        with contextlib.suppress(OSError):  # it may fall behind; why, the next commit says
            self._witness.note(self._writes)
        self._tidy()

    def _commit(
        self,
        persist: Persist,
        quarantined: list[Quarantined],
        at_ms: int,
        events: Sequence[Observation],
    ) -> None:
        with self._speaking("write to"), self._transaction():
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
        new = [told for (told,) in self._db.executemany(put, gained)]
        old = [told for (told,) in self._db.executemany(drop, lost)]
        if new or old:
            change = len(new) - len(old), sum(new) - sum(old)
            self._db.execute("UPDATE total SET rows = rows + ?, sum = sum + ?", change)

    def _place(self, key: RowKey) -> tuple[int, int, bytes]:
        feed = self._feed(FeedId(key.author, key.incarnation))
        return feed, key.clock, bytes(key.record_id)

    def fill(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Put rows of another store into a table of this one; those that do not fit are left."""
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - our own names
        with self._speaking("write to"), self._transaction():
            for row in rows:
                with contextlib.suppress(apsw.ConstraintError):
                    self._db.execute(insert, row)
            if table in SUMMED:
                self._db.execute(f"UPDATE {table} SET sum = {sum_of(table)}")  # noqa: S608 - our own names

    def set_meta(self, name: str, value: bytes) -> None:
        """Write one value that belongs to the whole store."""
        with self._speaking("write to"), self._transaction():
            self._set(name, value)

    def add_ticket(self, ticket: TicketRow, now_ms: int) -> None:
        """Remember a ticket that was handed out; its secret is nowhere. Long dead ones go."""
        with self._speaking("write to"), self._transaction():
            self._db.execute("DELETE FROM tickets WHERE expires < ?", (now_ms - TICKET_KEPT_MS,))
            self._db.execute(
                "INSERT INTO tickets (hash, role, expires, uses, sum) "
                "VALUES (?1, ?2, ?3, ?4, cells_sum(?1, ?2, ?3, ?4, 0))",
                ticket[:4],
            )

    def withdraw_ticket(self, secret_hash: bytes) -> None:
        """A ticket works no longer."""
        with self._speaking("write to"), self._transaction():
            self._db.execute(
                "UPDATE tickets SET withdrawn = 1, sum = cells_sum(hash, role, expires, uses, 1) "
                "WHERE hash = ?",
                (secret_hash,),
            )

    # --- below ---------------------------------------------------------------------------------

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
