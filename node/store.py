"""Stage 8 of the line: SQLite, where truth is kept.

Takes a batch of instructions from ``driver.py`` in one transaction, durable when it returns; gives
everything back at a start. One file a cluster, one writer (a lock on a file beside it that names
who). Only ever called from one thread at a time. Source: protocol §11.
"""

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import apsw

from crdt import limits
from crdt.identity import FeedId, RecordId
from crdt.ready import Observation, Persist, ProofRow, Quarantined, Row, RowKey
from machines.values import NodePubkey
from node import history
from node.database import Database, row_sum
from node.errors import StoreDamaged, StoreFailure
from node.history import BOUNDS, FIRST_VERSION, HISTORY_SHOWN, Bounds
from node.ticket import TICKET_KEPT_MS, TicketRow
from node.witness import Vouch, Witness, host_id, why_doubt

COPY_PAGES = 1024


class Store(Database):
    """One open store.

    Args:
        path: the file.
        readonly: look, and take no lock.
        vfs: which of SQLite's file systems holds it; empty: the default one.
        history: how much of what happened is kept.

    Attributes:
        doubt: why this may not be the store that this node last wrote; empty where it is.
    """

    def __init__(
        self, path: Path, *, readonly: bool = False, vfs: str = "", history: Bounds = BOUNDS
    ) -> None:
        self._feeds: dict[FeedId, int] = {}
        self._writes = 0
        self._witness = Witness(path)
        self._history = history
        self.doubt = ""
        super().__init__(path, readonly=readonly, vfs=vfs)

    def _ready(self) -> None:
        for number, author, incarnation in self._read("SELECT id, author, incarnation FROM feeds"):
            self._feeds[FeedId(NodePubkey(author), incarnation)] = number
        if not self.readonly:
            self._swear_in()

    def _swear_in(self) -> None:
        """Compare the store with its witness, and let it vouch for this one from here on.

        A doubt is kept in the store until a new incarnation was opened: a crash does not settle it.
        """
        self._writes = int.from_bytes(self.meta("writes") or b"", "big")
        found = Vouch(host_id(), self.path.stat().st_ino, self.meta("token") or b"", self._writes)
        known = (self.meta("doubt") or b"").decode()
        self.doubt = known or why_doubt(found, self._witness.read())
        token = secrets.token_bytes(16)
        # The store first: a crash between the two leaves a doubt too many, never one too few.
        with self._transaction():
            self._set("token", token)
            self._set("doubt", self.doubt.encode())
        try:
            self._witness.open(found._replace(token=token))
        except OSError as fault:
            raise StoreFailure(f"cannot write {self._witness.path}: {fault.strerror}") from fault

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

    # --- out -----------------------------------------------------------------------------------

    def rows(self) -> Iterator[Row]:
        """Every record, feed by feed in order of clock.

        Raises:
            StoreDamaged: a row is not the one that was written (not where one only looks).
        """
        by_id = {number: feed for feed, number in self._feeds.items()}
        checked = not self.readonly
        query = (
            f"SELECT feed, clock, record_id, value, {'sum' if checked else '0'} FROM records "  # noqa: S608 - two fixed words
            "ORDER BY feed, clock, record_id"
        )
        with self._speaking("read"):
            for number, clock, record_id, value, told in self._db.execute(query):
                feed = by_id[number]
                if checked and row_sum(*feed, clock, record_id, value) != told:
                    place = f"{feed.author.short}/{feed.incarnation}#{clock}"
                    raise StoreDamaged(f"{self.path} is damaged: {place} is not as it was written")
                yield Row(feed.author, feed.incarnation, clock, RecordId(record_id), value)

    def proofs(self) -> list[ProofRow]:
        """Every proven fork."""
        query = "SELECT author, incarnation, clock, sides FROM proofs"
        return [self.proof_of_row(*row) for row in self._read(query)]

    @staticmethod
    def proof_of_row(author: bytes, incarnation: int, clock: int, sides: bytes) -> ProofRow:
        """A proven fork from its row."""
        size, half = limits.SIGNATURE_BYTES, len(sides) // 2
        one, other = sides[:half], sides[half:]
        both = ((one[:size], one[size:]), (other[:size], other[size:]))
        return ProofRow(NodePubkey(author), incarnation, clock, both)

    def rendered(self) -> dict[FeedId, int]:
        """Per feed the clock below which every slot without a row is empty."""
        query = "SELECT author, incarnation, rendered FROM feeds"
        return {FeedId(NodePubkey(a), i): end for a, i, end in self._read(query)}

    def copy_to(self, path: Path, progress: Callable[[int, int], None]) -> None:
        """Copy the whole store, as of this instant, into a file; who writes is not held up.

        Args:
            progress: told how many pages of how many are there.

        Raises:
            StoreFailure: it cannot be read, or the copy not written.
        """
        with self._speaking("copy"), contextlib.closing(apsw.Connection(str(path))) as target:
            with self._db:
                # One read transaction from the first page to the last: without it every commit
                # of the daemon would begin the copy anew.
                self._db.execute("SELECT count(*) FROM meta").fetchall()
                with target.backup("main", self._db, "main") as copy:
                    while not copy.done:
                        copy.step(COPY_PAGES)
                        progress(copy.page_count - copy.remaining, copy.page_count)
            target.pragma("journal_mode", "delete")

    def meta(self, name: str) -> bytes | None:
        """One value that belongs to the whole store."""
        found = self._read("SELECT value FROM meta WHERE name = ?", name)
        return bytes(found[0][0]) if found else None

    def settled(self) -> list[RecordId]:
        """Own records that count nowhere, and were written again or reported."""
        query = "SELECT record_id FROM settled"
        return [RecordId(found) for (found,) in (self._read(query) if self.version > 1 else ())]

    def history(self, story: str = "", limit: int = HISTORY_SHOWN) -> list[tuple[int, bytes]]:
        """What happened, the newest first: when (Unix ms), and the event as JSON."""
        if self.version < FIRST_VERSION:
            return []
        with self._speaking("read"):
            return history.read(self._db, story, limit)

    def addresses(self) -> dict[NodePubkey, tuple[str, ...]]:
        """The last known addresses of other nodes."""
        query = "SELECT node, text FROM addresses"
        return {NodePubkey(node): tuple(text.split()) for node, text in self._read(query)}

    def quarantine(self, limit: int = 100) -> list[tuple[object, ...]]:
        """What was turned away, the newest first."""
        return self._read(
            "SELECT at, peer, author, incarnation, clock, record_id, reason, detail, value "
            "FROM quarantine ORDER BY id DESC LIMIT ?",
            limit,
        )

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
            self._feeds = known  # numbers given in the transaction that failed mean nothing
            raise
        if persist.doubt is not None:
            self.doubt = persist.doubt
        self._writes += 1
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
                    "UPDATE feeds SET rendered = ? WHERE id = ?", (end, self._feed(feed))
                )
            for proof in persist.proofs:
                sides = b"".join(part for side in proof.sides for part in side)
                self._db.execute(
                    "INSERT OR REPLACE INTO proofs VALUES (?, ?, ?, ?)",
                    (bytes(proof.author), proof.incarnation, proof.clock, sides),
                )
            if persist.incarnation is not None:
                self._set("incarnation", persist.incarnation.to_bytes(4, "big"))
            if persist.doubt is not None:
                self._set("doubt", persist.doubt.encode())
            self._set("writes", (self._writes + 1).to_bytes(8, "big"))
            for node, texts in persist.addresses.items():
                self._db.execute(
                    "INSERT OR REPLACE INTO addresses VALUES (?, ?)", (bytes(node), " ".join(texts))
                )
            self._db.executemany(
                "INSERT OR IGNORE INTO settled VALUES (?)", [(bytes(i),) for i in persist.settled]
            )
            self._quarantine(quarantined, at_ms)
            history.write(self._db, events, at_ms, self._history)

    def _write_rows(self, persist: Persist) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?)",
            [
                (*self._place(key), row.value, row_sum(*row))
                for key, row in persist.rows.items()
                if row is not None
            ],
        )
        self._db.executemany(
            "DELETE FROM records WHERE feed = ? AND clock = ? AND record_id = ?",
            [self._place(key) for key, row in persist.rows.items() if row is None],
        )

    def _place(self, key: RowKey) -> tuple[int, int, bytes]:
        feed = self._feed(FeedId(key.author, key.incarnation))
        return feed, key.clock, bytes(key.record_id)

    def columns(self, table: str) -> list[str]:
        """The columns of a table."""
        return [name for (name,) in self._read("SELECT name FROM pragma_table_info(?)", table)]

    def fill(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Put rows of another store into a table of this one; those that do not fit are left."""
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - our own names
        with self._speaking("write to"), self._transaction():
            for row in rows:
                with contextlib.suppress(apsw.ConstraintError):
                    self._db.execute(insert, row)

    def set_meta(self, name: str, value: bytes) -> None:
        """Write one value that belongs to the whole store."""
        with self._speaking("write to"), self._transaction():
            self._set(name, value)

    def add_ticket(self, ticket: TicketRow, now_ms: int) -> None:
        """Remember a ticket that was handed out; its secret is nowhere. Long dead ones go."""
        with self._speaking("write to"), self._transaction():
            self._db.execute("DELETE FROM tickets WHERE expires < ?", (now_ms - TICKET_KEPT_MS,))
            self._db.execute(
                "INSERT INTO tickets (hash, role, expires, uses) VALUES (?, ?, ?, ?)", ticket[:4]
            )

    def tickets(self) -> list[TicketRow]:
        """Every ticket that was handed out from here, the first to expire first."""
        query = "SELECT hash, role, expires, uses, withdrawn FROM tickets ORDER BY expires, hash"
        return [TicketRow(*row) for row in self._read(query)]

    def withdraw_ticket(self, secret_hash: bytes) -> None:
        """A ticket works no longer."""
        with self._speaking("write to"), self._transaction():
            self._db.execute("UPDATE tickets SET withdrawn = 1 WHERE hash = ?", (secret_hash,))

    # --- below ---------------------------------------------------------------------------------

    def _set(self, name: str, value: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def _feed(self, feed: FeedId) -> int:
        number = self._feeds.get(feed)
        if number is None:
            self._db.execute(
                "INSERT INTO feeds (author, incarnation) VALUES (?, ?)",
                (bytes(feed.author), feed.incarnation),
            )
            number = self._feeds[feed] = self._db.last_insert_rowid()
        return number

    def _quarantine(self, rows: list[Quarantined], at_ms: int) -> None:
        for row in rows:
            author, incarnation = row.feed if row.feed is not None else (None, None)
            self._db.execute(
                "INSERT INTO quarantine VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    at_ms,
                    None if row.peer is None else bytes(row.peer),
                    None if author is None else bytes(author),
                    incarnation,
                    row.clock,
                    None if row.record_id is None else bytes(row.record_id),
                    str(row.reason),
                    row.detail,
                    row.value[: limits.RECORD_BYTES_MAX],
                ),
            )
        if rows:
            self._db.execute(
                "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?",
                (limits.QUARANTINE_ROWS_MAX,),
            )
