"""Reads what verifies from a damaged store, row by row, skipping unreadable parts.

Records and proofs need valid signatures, other rows plausible values. Rows in the memory of the
daemon that met the damage fill the gaps. Source: protocol §11.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from crdt.contract.ready import Persist, ProofRow, Row, RowKey
from crdt.ledger.ingest import UndecodableRecord, verify_records
from crdt.primitives.identity import ClusterId, FeedId, RecordId
from crdt.primitives.limits import SIGNATURE_BYTES
from crdt.records.bodies import Role
from crdt.records.fork_proof import proves_fork
from crdt.records.record import SignedRecord, VerifiedRecord, signed_record
from crdt.records.signatures import verify_batch
from machines.errors import InvalidValue
from machines.values import NODE_PUBKEY_BYTES, U32_MAX, NodePubkey
from node.storage import sqlite_errors
from node.storage.meta_keys import OF_ONE_FILE, MetaKey
from node.storage.migrations import SUMMED, TOTALLED, add_functions, expected_sum
from node.storage.reader import OWN_END
from node.storage.recovery_report import RecoveryReport
from node.storage.store import Store
from node.system.plurals import counted

log = logging.getLogger("gangline.store")

BATCH = 4096
CLOCK_END = 2**31
COPIED_TABLES = ("addresses", "tickets", "quarantine", "settled", "history")
CHECKS: dict[str, dict[str, Callable[[Any], object]]] = {
    "addresses": {"node": NodePubkey},
    "tickets": {"role": Role},
    "settled": {"record_id": RecordId},
    "history": {"event": json.loads},
}
"""Parsers that a value of a column must pass."""
META_BYTES = {
    MetaKey.INCARNATION: 4,
    MetaKey.FORMER: NODE_PUBKEY_BYTES,
    MetaKey.OWN_END: OWN_END.size,
    MetaKey.FORMER_END: OWN_END.size,
}


class InMemoryRows(NamedTuple):
    """Rows of a store in the memory of a daemon, read before the damage."""

    rows: list[Row]
    proofs: list[ProofRow]
    rendered: dict[FeedId, int]


@contextlib.contextmanager
def opened(aside: Path) -> Iterator[apsw.Connection]:
    """Open the damaged file for reading.

    Raises:
        StoreFailure: it cannot be opened.
    """
    try:
        old = apsw.Connection(str(aside), flags=apsw.SQLITE_OPEN_READONLY)
        # Lets the other tables be read if the definition of one is damaged.
        old.pragma("writable_schema", True)
    except apsw.Error as fault:
        raise sqlite_errors.failure("open", aside, fault, None) from fault
    add_functions(old)
    try:
        yield old
    finally:
        with contextlib.suppress(apsw.Error):  # nothing was written, so nothing is lost
            old.close(True)


def _feeds_of(report: RecoveryReport, old: apsw.Connection) -> list[tuple[int, FeedId, int]]:
    """Each feed with its number, and the clock below which slots without a row are empty."""
    query = "SELECT count(*) FROM sqlite_schema WHERE name IN ('feeds', 'records')"
    if list(_scan(report, old, query)) != [(2,)]:
        report.unread += 1  # every version has both tables
    report.older = not _totals_match(report, old)
    feeds: list[tuple[int, FeedId, int]] = []
    # A damaged row must not declare slots empty.
    rendered = "rendered"
    if _as_written(report, old, "feeds"):
        rendered = f"iif(sum = {expected_sum('feeds')}, rendered, 0)"
    query = (
        f"SELECT id, {_bytes('author')}, {_number('incarnation')}, {_number(rendered)} FROM feeds"  # noqa: S608 - our own names
    )
    for number, author, incarnation, end in _scan(report, old, query):
        try:
            feed = FeedId(NodePubkey(author), incarnation)
        except InvalidValue:
            report.unread += 1
            continue
        if 0 <= incarnation <= U32_MAX:
            feeds.append((number, feed, 0 if report.older else max(end, 0)))
        else:
            report.unread += 1
    return feeds


def _totals_match(report: RecoveryReport, old: apsw.Connection) -> bool:
    """Whether the records match their total, so that none is from an older page."""
    total = list(_scan(report, old, "SELECT rows, sum FROM total"))
    before = report.unread
    found = list(_scan(report, old, "SELECT count(*), coalesce(sum(sum), 0) FROM records"))
    torn, report.unread = report.unread > before, before  # counted feed by feed later
    return torn or not total or total == found


def first_records(old: apsw.Connection) -> list[SignedRecord]:
    """The first record of each author's first feed, as far as readable."""
    query = (
        f"SELECT {_bytes('author')}, {_bytes('value')} FROM feeds "  # noqa: S608 - our own names
        "JOIN records ON feed = id WHERE incarnation = 0 AND clock = 0"
    )
    return [
        SignedRecord(FeedId(NodePubkey(author), 0), 0, value)
        for author, value in _scan(RecoveryReport(Path()), old, query)
        if len(author) == NODE_PUBKEY_BYTES
    ]


def take_records(
    report: RecoveryReport,
    persist: Persist,
    old: apsw.Connection,
    cluster: ClusterId,
    founder: NodePubkey,
) -> None:
    """Copy every record whose signature verifies."""
    for number, feed, end in _feeds_of(report, old):
        batch: list[SignedRecord] = []
        first_bad = CLOCK_END
        for found in (*_records_of(old, number), None):
            if isinstance(found, int):  # something from this clock on is unreadable
                report.unread += 1
                first_bad = min(first_bad, found)
            elif found is not None:
                batch.append(SignedRecord(feed, *found))
            if len(batch) == BATCH or found is None:
                good = _check(batch, cluster, founder)
                bad = {one.clock for one in batch} - {one.clock for one in good}
                first_bad = min([first_bad, *bad])
                report.bad += len(batch) - len(good)
                report.kept += len(good)
                for one in good:
                    persist.rows[RowKey(*one.ref)] = Row(*one.ref, one.value)
                batch.clear()
                log.info("rebuilding %s: %s checked", report.aside, counted(report.kept, "record"))
        # Slots after a lost record are not known to be empty.
        persist.rendered[feed] = max(min(end, first_bad), 0)


def take_remembered(
    report: RecoveryReport,
    persist: Persist,
    known: InMemoryRows,
    cluster: ClusterId,
    founder: NodePubkey,
) -> None:
    """Every record and proof that could not be read, and that its daemon still knew."""
    missing = [row for row in known.rows if RowKey(*row[:4]) not in persist.rows]
    signed = [signed_record(FeedId(r.author, r.incarnation), r.clock, r.value) for r in missing]
    good = _check(signed, cluster, founder)
    for one in good:
        persist.rows[RowKey(*one.ref)] = Row(*one.ref, one.value)
    report.remembered = len(good) == len(missing)
    report.kept += len(good)
    report.recalled = len(good)
    persist.proofs += known.proofs
    if report.remembered:
        persist.rendered |= known.rendered


def _check(
    batch: list[SignedRecord], cluster: ClusterId, founder: NodePubkey
) -> list[VerifiedRecord]:
    whole_ones = [o for o in batch if len(o.value) > SIGNATURE_BYTES and 0 <= o.clock < CLOCK_END]
    opened = verify_records(whole_ones, cluster, founder, verify_batch)
    return [one for one in opened.records if not isinstance(one, UndecodableRecord)]


def _records_of(old: apsw.Connection, feed: int) -> Iterator[tuple[int, bytes] | int]:
    """Clock and value of each readable row of a feed; a lone clock where an unreadable part begins.

    After a torn page the scan continues in steps that double until a row is found.
    """
    clock_, step = -1, 1
    query = (
        f"SELECT {_number('clock')} AS at, {_bytes('value')} FROM records "  # noqa: S608 - our own names
        "WHERE feed = ? AND clock > ? AND clock < ? ORDER BY clock"
    )
    while clock_ < CLOCK_END:
        try:
            for at, value in old.execute(query, (feed, clock_, CLOCK_END)):
                clock_, step = max(at, clock_), 1  # a damaged row may hold any clock
                yield at, bytes(value)
        except apsw.Error:
            if step == 1:
                yield clock_ + 1
            clock_, step = clock_ + step, step * 2
        else:
            return


def _columns(report: RecoveryReport, old: apsw.Connection, table: str) -> set[str]:
    query = f"SELECT name FROM pragma_table_info('{table}')"  # noqa: S608 - fixed names
    return {name for (name,) in _scan(report, old, query)}


def _as_written(report: RecoveryReport, old: apsw.Connection, table: str) -> str:
    """SQL that selects rows with a valid checksum, if the table has them; counts the others."""
    if table not in SUMMED or "sum" not in _columns(report, old, table):
        return ""
    query = f"SELECT count(*) FROM {table} WHERE sum IS NOT {expected_sum(table)}"  # noqa: S608 - our own names
    report.left += sum(many for (many,) in _scan(report, old, query))
    return f" WHERE sum = {expected_sum(table)}"


def _is_older(report: RecoveryReport, old: apsw.Connection, table: str) -> bool:
    """Whether a small table does not match its stored total."""
    total = list(_scan(report, old, f"SELECT rows, sum FROM totals WHERE name = '{table}'"))  # noqa: S608 - our own names
    query = f"SELECT count(*), coalesce(sum({TOTALLED[table]}), 0) FROM {table}"  # noqa: S608 - our own names
    return bool(total) and total != list(_scan(report, old, query))


def take_table(report: RecoveryReport, store: Store, old: apsw.Connection, table: str) -> None:
    """Copy a table in the columns that both files have, without implausible rows."""
    existing = _columns(report, old, table) - {"sum"}
    columns = {name: kind for name, kind in store.columns(table).items() if name in existing}
    if table == "tickets" and _is_older(report, old, table):
        report.old_tickets = True
    elif columns:
        # As bytes: text that no longer decodes must cost only its own row.
        kinds = {"TEXT": "BLOB"}
        read = ", ".join(f"CAST({n} AS {kinds.get(k, k)})" for n, k in columns.items())
        query = f"SELECT {read} FROM {table}{_as_written(report, old, table)}"  # noqa: S608 - our own names
        store.fill(
            table, list(columns), _plausible(report, table, columns, _scan(report, old, query))
        )


def _plausible(
    report: RecoveryReport, table: str, columns: dict[str, str], rows: Iterator[tuple[Any, ...]]
) -> Iterator[list[Any]]:
    for row in rows:
        try:
            values = [
                value.decode() if kind == "TEXT" and value is not None else value
                for kind, value in zip(columns.values(), row, strict=True)
            ]
            for name, check in CHECKS.get(table, {}).items():
                check(values[list(columns).index(name)])
        except (TypeError, ValueError):
            report.left += 1
        else:
            yield values


def take_meta(report: RecoveryReport, store: Store, old: apsw.Connection) -> None:
    """Copy the table ``meta``, but for values of the damaged file itself."""
    query = (
        f"SELECT {_bytes('name')}, {_bytes('value')} FROM meta{_as_written(report, old, 'meta')}"  # noqa: S608 - our own names
    )
    for raw, value in _scan(report, old, query):
        name = raw.decode("ascii", "replace")
        if name in OF_ONE_FILE:
            continue
        if len(value) == META_BYTES.get(name, len(value)):
            store.set_meta(name, bytes(value))
        else:
            report.left += 1


def take_proofs(
    report: RecoveryReport, persist: Persist, old: apsw.Connection, cluster: ClusterId
) -> None:
    """Copy every proof that verifies."""
    columns = f"{_bytes('author')}, {_number('incarnation')}, {_number('clock')}, {_bytes('sides')}"
    query = f"SELECT {columns} FROM proofs"  # noqa: S608 - our own names
    for row in _scan(report, old, query):
        try:
            proof = Store.proof_of_row(*row)
            holds = proves_fork(cluster, proof, verify_batch)
        except (InvalidValue, OverflowError):
            holds = False
        if holds:
            persist.proofs.append(proof)
        else:
            report.bad += 1


def _bytes(column: str) -> str:
    """SQL for a column as bytes, whatever a damaged page holds."""
    return f"ifnull(CAST({column} AS BLOB), x'')"


def _number(column: str) -> str:
    return f"ifnull(CAST({column} AS INTEGER), -1)"


def _scan(report: RecoveryReport, old: apsw.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, up to the first unreadable one."""
    try:
        yield from old.execute(query)
    except apsw.SQLError:
        return  # a table that this version of the file does not have
    except (apsw.Error, UnicodeDecodeError):
        report.unread += 1
