"""Reads a store, and checks each row against its checksum and each table against its total.

A checksum detects a damaged row; a total detects a row that is missing or came back
(docs/decisions/0002). Source: protocol §11.
"""

import contextlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw

from crdt.contract.ready import OwnEnd, ProofRow, Row
from crdt.primitives import limits
from crdt.primitives.identity import ClusterId, FeedId, RecordId
from crdt.records.fork_proof import proves_fork
from crdt.records.record import SignedRecord
from crdt.records.signatures import verify_batch
from machines.errors import InvalidValue
from machines.values import NodePubkey
from node.storage import history
from node.storage.database import Database
from node.storage.history import FIRST_VERSION, HISTORY_SHOWN
from node.storage.meta_keys import MetaKey
from node.storage.migrations import (
    APPLICATION_ID,
    SUMMED,
    TOTALLED,
    damaged_pages,
    expected_sum,
    row_sum,
)
from node.storage.ticket_rows import TicketRow
from node.system.errors import StoreDamaged
from node.system.plurals import counted

COPY_PAGES = 1024
OWN_END = struct.Struct(">32sIQ")
"""In ``meta``: this node's key, incarnation and next clock."""
SUMMED_VERSION = 3
TOTAL_VERSION = 5
SUMS_VERSION = 6
TOTALS_VERSION = 7
"""First versions with checksums and a total of records, and with both for small tables."""
SIDE_BYTES = limits.SIGNATURE_BYTES + limits.HASH_BYTES


class Reading(Database):
    """The reading half of ``Store``."""

    def _ready(self) -> None:
        self._feeds = {
            FeedId(NodePubkey(author), incarnation): number
            for number, author, incarnation in self._read(
                "SELECT id, author, incarnation FROM feeds"
            )
        }

        if not self.readonly and (hurt := self.damaged_rows()):
            raise StoreDamaged(f"{self.path} is damaged: {hurt[0]}")

    def damaged_rows(self) -> list[str]:
        """Damage in small tables: a sentence for each table."""
        found = []
        for table in SUMMED if self.version >= SUMS_VERSION else ():
            query = f"SELECT count(*) FROM {table} WHERE sum <> {expected_sum(table)}"  # noqa: S608 - our own names
            [(many,)] = self._read(query)
            if many:
                found.append(f"{counted(many, 'damaged row')} in table {table}")
        if found or self.version < TOTALS_VERSION:
            return found
        for table, column in TOTALLED.items():
            total = self._read("SELECT rows, sum FROM totals WHERE name = ?", table)
            query = f"SELECT count(*), coalesce(sum({column}), 0) FROM {table}"  # noqa: S608 - our own names
            if total != self._read(query):
                found.append(f"a part of table {table} is older than the rest")
        return found

    def check(self, cluster: ClusterId) -> None:
        """Check the whole file as a start does, even if it is read-only.

        Raises:
            StoreDamaged: a page, a table, a row, a proof or a total is wrong.
        """
        with self._wrapping_errors("check"):
            if self._db.pragma("application_id") != APPLICATION_ID:
                raise StoreDamaged(f"{self.path} is damaged: its application id is wrong")
            if damage := damaged_pages(self._db):
                raise StoreDamaged(f"{self.path} is damaged: {damage}")
            if hurt := self.damaged_rows():
                raise StoreDamaged(f"{self.path} is damaged: {hurt[0]}")
            for _ in self.rows(checked=True):
                pass
            for proof in self.proofs():
                if not proves_fork(cluster, proof, verify_batch):
                    raise StoreDamaged(f"{self.path} is damaged: one of its proofs proves no fork")

    def rows(self, *, checked: bool = False) -> Iterator[Row]:
        """Every record, feed by feed in order of clock.

        Args:
            checked: verify checksums even if the store is read-only; otherwise they always are.

        Raises:
            StoreDamaged: a row was changed, is missing, or came back.
        """
        checked = checked or not self.readonly
        by_id = {number: feed for feed, number in self._feeds.items()}
        summed = checked and self.version >= SUMMED_VERSION
        query = (
            f"SELECT feed, clock, record_id, value, {'sum' if summed else '0'} FROM records "  # noqa: S608 - two fixed words
            "ORDER BY feed, clock, record_id"
        )
        many = total = 0
        with self._wrapping_errors("read"):
            for number, clock, record_id, value, checksum in self._db.execute(query):
                feed = by_id.get(number)
                if (
                    feed is None
                    or not is_slot(feed.incarnation, clock)
                    or len(record_id) != limits.HASH_BYTES
                    or (summed and row_sum(*feed, clock, record_id, value) != checksum)
                ):
                    place = f"{feed.author.short}/{feed.incarnation}#" if feed else "feed ? #"
                    raise StoreDamaged(
                        f"{self.path} is damaged: {place}{clock} is not as it was written"
                    )
                many, total = many + 1, total + checksum
                yield Row(feed.author, feed.incarnation, clock, RecordId(record_id), value)
        if checked and (many, total) != self._total(many, total):
            raise StoreDamaged(f"{self.path} is damaged: a part of it is older than the rest")

    def first_records(self) -> list[SignedRecord]:
        """The first record of each author's first feed; one of them founded the cluster."""
        return self._few("feeds.incarnation = 0 AND clock = 0")

    def last_records(self, author: NodePubkey, many: int) -> list[SignedRecord]:
        """The last records of an author, the latest feed first."""
        order = "ORDER BY incarnation DESC, clock DESC LIMIT ?"
        return self._few(f"author = ? {order}", bytes(author), many)

    def _few(self, which: str, *values: Any) -> list[SignedRecord]:
        """Some records; rows that cannot be one are skipped, since ``rows`` reports damage."""
        query = (
            "SELECT author, incarnation, clock, value FROM feeds "  # noqa: S608 - our own words
            f"JOIN records ON feed = id WHERE {which}"
        )
        return [
            SignedRecord(FeedId(NodePubkey(author), incarnation), clock, value)
            for author, incarnation, clock, value in self._read(query, *values)
            if len(author) == limits.KEY_BYTES and is_slot(incarnation, clock)
        ]

    def _total(self, *without: int) -> tuple[int, int]:
        """The stored rows and sum of checksums; the given ones if the version has no total."""
        if self.version < TOTAL_VERSION:
            return without[0], without[1]
        found = self._read("SELECT rows, sum FROM total")
        return found[0] if len(found) == 1 else (-1, -1)

    def totals_match(self) -> bool:
        """Whether no record is missing and none came back."""
        found = "(SELECT count(*) FROM records), (SELECT coalesce(sum(sum), 0) FROM records)"
        query = f"SELECT rows, sum, {found} FROM total"  # noqa: S608 - two fixed texts
        rows = self._read(query) if self.version >= TOTAL_VERSION else [(0, 0, 0, 0)]
        return [row[:2] for row in rows] == [row[2:] for row in rows] and len(rows) == 1

    def proofs(self) -> list[ProofRow]:
        """Every proven fork."""
        query = "SELECT author, incarnation, clock, sides FROM proofs"
        with self._wrapping_errors("read"):
            return [self.proof_of_row(*row) for row in self._read(query)]

    @staticmethod
    def proof_of_row(author: bytes, incarnation: int, clock: int, sides: bytes) -> ProofRow:
        """A proven fork from its row.

        Raises:
            InvalidValue: the row does not hold one.
        """
        size, half = limits.SIGNATURE_BYTES, SIDE_BYTES
        if not (is_slot(incarnation, clock) and len(sides) == 2 * half):
            raise InvalidValue("a proof", "a slot and two sides")
        one, other = sides[:half], sides[half:]
        both = ((one[:size], one[size:]), (other[:size], other[size:]))
        return ProofRow(NodePubkey(author), incarnation, clock, both)

    def rendered(self) -> dict[FeedId, int]:
        """For each feed, the clock below which every slot without a row is empty."""
        query = "SELECT author, incarnation, rendered FROM feeds"
        with self._wrapping_errors("read"):
            return {FeedId(NodePubkey(a), i): end for a, i, end in self._read(query)}

    def copy_to(self, path: Path, progress: Callable[[int, int], None]) -> None:
        """Copy the store as of one instant into a file, without blocking the writer.

        Args:
            progress: called with the pages copied and the pages in all.

        Raises:
            StoreFailure: the store cannot be read, or the copy cannot be written.
        """
        with (
            self._wrapping_errors("copy"),
            contextlib.closing(apsw.Connection(str(path))) as target,
        ):
            with self._db:
                # One read transaction for all pages: otherwise each commit of the daemon would
                # restart the copy.
                self._db.execute("SELECT count(*) FROM meta").fetchall()
                with target.backup("main", self._db, "main") as copy:
                    while not copy.done:
                        copy.step(COPY_PAGES)
                        progress(copy.page_count - copy.remaining, copy.page_count)
            target.pragma("journal_mode", "delete")

    def meta(self, name: str) -> bytes | None:
        """One value of the table ``meta``."""
        found = self._read("SELECT value FROM meta WHERE name = ?", name)
        return bytes(found[0][0]) if found else None

    def own_end(self) -> OwnEnd | None:
        """How far this node has written in its own feed; ``None`` if not recorded."""
        return self._end(MetaKey.OWN_END)

    def former_end(self) -> OwnEnd | None:
        """How far this node had written under its previous key; ``None`` if not recorded."""
        return self._end(MetaKey.FORMER_END)

    def _end(self, name: str) -> OwnEnd | None:
        value = self.meta(name)
        if value is None or len(value) != OWN_END.size:
            return None
        author, incarnation, clock = OWN_END.unpack(value)
        return OwnEnd(NodePubkey(author), incarnation, clock)

    def settled(self) -> list[RecordId]:
        """This node's void records that were reissued or reported."""
        query = "SELECT record_id FROM settled"
        with self._wrapping_errors("read"):
            return [RecordId(found) for (found,) in (self._read(query) if self.version > 1 else ())]

    def history(self, story: str = "", limit: int = HISTORY_SHOWN) -> list[tuple[int, bytes]]:
        """Rows of Unix milliseconds and the event as JSON, newest first."""
        if self.version < FIRST_VERSION:
            return []
        with self._wrapping_errors("read"):
            return history.read(self._db, story, limit)

    def addresses(self) -> dict[NodePubkey, tuple[str, ...]]:
        """The last known addresses of other nodes."""
        query = "SELECT node, text FROM addresses"
        with self._wrapping_errors("read"):
            return {NodePubkey(node): tuple(text.split()) for node, text in self._read(query)}

    def quarantine(self, limit: int = 100) -> list[tuple[object, ...]]:
        """The rows of the quarantine, newest first."""
        return self._read(
            "SELECT at, peer, author, incarnation, clock, record_id, reason, detail, value "
            "FROM quarantine ORDER BY id DESC LIMIT ?",
            limit,
        )

    def tickets(self) -> list[TicketRow]:
        """Every ticket issued by this node, the first to expire first."""
        query = "SELECT hash, role, expires, uses, withdrawn FROM tickets ORDER BY expires, hash"
        return [TicketRow(*row) for row in self._read(query)]

    def columns(self, table: str) -> dict[str, str]:
        """The columns of a table, each with its type."""
        return dict(self._read("SELECT name, type FROM pragma_table_info(?)", table))


def is_slot(incarnation: int, clock: int) -> bool:
    """Whether incarnation and clock are in range."""
    return 0 <= incarnation <= limits.INCARNATION_MAX and 0 <= clock <= limits.CLOCK_MAX
