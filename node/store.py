"""Stage 8 of the line: SQLite, where truth is kept.

Takes a batch of instructions from ``driver.py`` in one transaction, durable when it returns; gives
everything back at a start. One file a cluster, one writer (a lock on a file beside it that names
who). Only ever called from one thread at a time. Source: protocol §11.
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import apsw

from crdt import limits
from crdt.identity import FeedId, RecordId
from crdt.ready import Persist, ProofRow, Quarantined, Row, RowKey
from machines.values import NodePubkey
from node.errors import StoreFailure
from node.lock import take_lock
from node.schema import APPLICATION_ID, MIGRATIONS
from node.witness import Vouch, Witness, host_id, why_doubt

COPY_PAGES = 1024
PROBE_BYTES = 256 * 1024


class Store:
    """One open store.

    Args:
        path: the file.
        readonly: look, and take no lock.
        vfs: which of SQLite's file systems holds it; empty: the default one.

    Attributes:
        doubt: why this may not be the store that this node last wrote; empty where it is.
    """

    def __init__(self, path: Path, *, readonly: bool = False, vfs: str = "") -> None:
        self.path = path
        self._lock: int | None = None
        self._feeds: dict[FeedId, int] = {}
        self._writes = 0
        self._witness = Witness(path)
        self.doubt = ""
        flags = (
            apsw.SQLITE_OPEN_READONLY
            if readonly
            else (apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        )
        if not readonly:
            self._lock = take_lock(path)
        with self._speaking("open"):
            self._db = apsw.Connection(str(path), flags=flags, vfs=vfs or None)
            self._db.set_busy_timeout(5000)
            if not readonly:
                path.chmod(0o600)
                self._db.pragma("journal_mode", "wal")
                # An acknowledged write survives a power cut; NORMAL loses it.
                self._db.pragma("synchronous", "full")
            self._migrate(readonly=readonly)
            for row in self._db.execute("SELECT id, author, incarnation FROM feeds"):
                self._feeds[FeedId(NodePubkey(row[1]), row[2])] = row[0]
            if not readonly:
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
            with self._speaking("close"):
                self._db.close()
        finally:
            self._witness.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    # --- out -----------------------------------------------------------------------------------

    def rows(self) -> Iterator[Row]:
        """Every record, feed by feed in order of clock."""
        by_id = {number: feed for feed, number in self._feeds.items()}
        query = "SELECT feed, clock, record_id, value FROM records ORDER BY feed, clock, record_id"
        with self._speaking("read"):
            for number, clock, record_id, value in self._db.execute(query):
                feed = by_id[number]
                yield Row(feed.author, feed.incarnation, clock, RecordId(record_id), value)

    def proofs(self) -> list[ProofRow]:
        """Every proven fork."""
        size = limits.SIGNATURE_BYTES
        found = []
        for author, incarnation, clock, sides in self._read(
            "SELECT author, incarnation, clock, sides FROM proofs"
        ):
            half = len(sides) // 2
            one, other = sides[:half], sides[half:]
            found.append(
                ProofRow(
                    NodePubkey(author),
                    incarnation,
                    clock,
                    ((one[:size], one[size:]), (other[:size], other[size:])),
                )
            )
        return found

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
        return [RecordId(found) for (found,) in self._read("SELECT record_id FROM settled")]

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

    def commit(self, persist: Persist, quarantined: list[Quarantined], at_ms: int) -> None:
        """Write a batch in one transaction; it is on disk when this returns.

        Raises:
            StoreFailure: it is not; nothing of it was written.
        """
        known = dict(self._feeds)
        try:
            self._commit(persist, quarantined, at_ms)
        except StoreFailure:
            self._feeds = known  # numbers given in the transaction that failed mean nothing
            raise
        if persist.doubt is not None:
            self.doubt = persist.doubt
        self._writes += 1
        self._witness.note(self._writes)

    def _commit(self, persist: Persist, quarantined: list[Quarantined], at_ms: int) -> None:
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

    def _write_rows(self, persist: Persist) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?)",
            [
                (*self._place(key), row.value)
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

    def probe(self) -> None:
        """See whether the disk takes writes: as much as a commit of some records needs.

        Raises:
            StoreFailure: it does not.
        """
        self.set_meta("probe", bytes(PROBE_BYTES))
        self.set_meta("probe", b"")

    def set_meta(self, name: str, value: bytes) -> None:
        """Write one value that belongs to the whole store."""
        with self._speaking("write to"), self._transaction():
            self._set(name, value)

    def add_ticket(self, secret_hash: bytes, role: str, expires_ms: int) -> None:
        """Remember a ticket that was handed out; its secret is nowhere."""
        with self._speaking("write to"), self._transaction():
            self._db.execute(
                "INSERT INTO tickets VALUES (?, ?, ?, NULL)", (secret_hash, role, expires_ms)
            )

    def ticket(self, secret_hash: bytes) -> tuple[str, int, bytes | None] | None:
        """A ticket's role, when it expires (Unix ms), and who used it."""
        found = self._read("SELECT role, expires, used_by FROM tickets WHERE hash = ?", secret_hash)
        return (found[0][0], found[0][1], found[0][2]) if found else None

    def use_ticket(self, secret_hash: bytes, node: NodePubkey) -> None:
        """A ticket works once."""
        with self._speaking("write to"), self._transaction():
            self._db.execute(
                "UPDATE tickets SET used_by = ? WHERE hash = ?", (bytes(node), secret_hash)
            )

    # --- below ---------------------------------------------------------------------------------

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._speaking("read"):
            return list(self._db.execute(query, values))

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

    def _migrate(self, *, readonly: bool) -> None:
        version = self._db.pragma("user_version")
        if version > len(MIGRATIONS):
            raise StoreFailure(
                f"{self.path} was written by a newer Gangline (version {version}, this one knows "
                f"{len(MIGRATIONS)}); run that one"
            )
        if readonly and version < len(MIGRATIONS):
            raise StoreFailure(f"{self.path} is no store, or of an older version: run the daemon")
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            with self._transaction():
                self._db.execute(script)
                self._db.pragma("application_id", APPLICATION_ID)
                self._db.pragma("user_version", number)

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
        except apsw.FullError as fault:
            raise StoreFailure(f"cannot {what} {self.path}: the disk is full") from fault
        except apsw.IOError as fault:
            raise StoreFailure(f"cannot {what} {self.path}: the disk fails ({fault})") from fault
        except apsw.Error as fault:
            raise StoreFailure(f"cannot {what} {self.path}: {fault}") from fault
