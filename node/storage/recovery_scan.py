"""What can still be read of a damaged store, and is what it says it is.

Stands under ``recovery.py``. Row by row, around what cannot be read; every record and every proof
with its signatures, everything else where its values make sense. Where the daemon that met the
damage is still there, what it knows fills the holes. Source: protocol §11.
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
from node.storage.migrations import SUMMED, TOTALLED, add_functions, sum_of
from node.storage.reader import OWN_END
from node.storage.recovery_report import RecoveryReport
from node.storage.store import Store
from node.system.plurals import counted

log = logging.getLogger("gangline.store")

BATCH = 4096
CLOCK_END = 2**31
AS_THEY_ARE = ("addresses", "tickets", "quarantine", "settled", "history")
CHECKS: dict[str, dict[str, Callable[[Any], object]]] = {
    "addresses": {"node": NodePubkey},
    "tickets": {"role": Role},
    "settled": {"record_id": RecordId},
    "history": {"event": json.loads},
}
"""What makes a value of a column one that the daemon can read."""
META_BYTES = {
    MetaKey.INCARNATION: 4,
    MetaKey.FORMER: NODE_PUBKEY_BYTES,
    MetaKey.OWN_END: OWN_END.size,
    MetaKey.FORMER_END: OWN_END.size,
}


class InMemoryRows(NamedTuple):
    """What a daemon still knows of its store, which was whole when it was read."""

    rows: list[Row]
    proofs: list[ProofRow]
    rendered: dict[FeedId, int]


@contextlib.contextmanager
def opened(aside: Path) -> Iterator[apsw.Connection]:
    """The damaged file, to be read as far as it goes.

    Raises:
        StoreFailure: the disk does not even let it be opened.
    """
    try:
        old = apsw.Connection(str(aside), flags=apsw.SQLITE_OPEN_READONLY)
        # So that one table whose definition is hurt does not keep the others from being read.
        old.pragma("writable_schema", True)
    except apsw.Error as fault:
        raise sqlite_errors.failure("open", aside, fault, None) from fault
    add_functions(old)
    try:
        yield old
    finally:
        with contextlib.suppress(apsw.Error):  # nothing was written: this costs nothing
            old.close(True)


def _feeds_of(saved: RecoveryReport, old: apsw.Connection) -> list[tuple[int, FeedId, int]]:
    """Each feed with its number, and the clock below which what has no row is empty."""
    query = "SELECT count(*) FROM sqlite_schema WHERE name IN ('feeds', 'records')"
    if list(_scan(saved, old, query)) != [(2,)]:
        saved.unread += 1  # no version of the file was ever without them
    saved.older = not _adds_up(saved, old)
    feeds: list[tuple[int, FeedId, int]] = []
    # A number that may be wrong says nothing of what is empty.
    told = "rendered"
    if _as_written(saved, old, "feeds"):
        told = f"iif(sum = {sum_of('feeds')}, rendered, 0)"
    query = f"SELECT id, {_bytes('author')}, {_number('incarnation')}, {_number(told)} FROM feeds"  # noqa: S608 - our own names
    for number, author, incarnation, end in _scan(saved, old, query):
        try:
            feed = FeedId(NodePubkey(author), incarnation)
        except InvalidValue:
            saved.unread += 1
            continue
        if 0 <= incarnation <= U32_MAX:
            feeds.append((number, feed, 0 if saved.older else max(end, 0)))
        else:
            saved.unread += 1
    return feeds


def _adds_up(saved: RecoveryReport, old: apsw.Connection) -> bool:
    """Whether the rows are those that were written last, and none of an older page."""
    total = list(_scan(saved, old, "SELECT rows, sum FROM total"))
    before = saved.unread
    found = list(_scan(saved, old, "SELECT count(*), coalesce(sum(sum), 0) FROM records"))
    torn, saved.unread = saved.unread > before, before  # told of feed by feed
    return torn or not total or total == found


def first_records(old: apsw.Connection) -> list[SignedRecord]:
    """The first record of each author's first feed, as far as they can be read."""
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
    saved: RecoveryReport,
    persist: Persist,
    old: apsw.Connection,
    cluster: ClusterId,
    founder: NodePubkey,
) -> None:
    """Every record whose signature holds."""
    for number, feed, end in _feeds_of(saved, old):
        batch: list[SignedRecord] = []
        first_bad = CLOCK_END
        for found in (*_records_of(old, number), None):
            if isinstance(found, int):  # from this clock on something cannot be read
                saved.unread += 1
                first_bad = min(first_bad, found)
            elif found is not None:
                batch.append(SignedRecord(feed, *found))
            if len(batch) == BATCH or found is None:
                good = _check(batch, cluster, founder)
                bad = {one.clock for one in batch} - {one.clock for one in good}
                first_bad = min([first_bad, *bad])
                saved.bad += len(batch) - len(good)
                saved.kept += len(good)
                for one in good:
                    persist.rows[RowKey(*one.ref)] = Row(*one.ref, one.value)
                batch.clear()
                log.info("rebuilding %s: %s checked", saved.aside, counted(saved.kept, "record"))
        # Behind what is gone nothing may be taken for empty.
        persist.rendered[feed] = max(min(end, first_bad), 0)


def take_remembered(
    saved: RecoveryReport,
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
    saved.remembered = len(good) == len(missing)
    saved.kept += len(good)
    saved.recalled = len(good)
    persist.proofs += known.proofs
    if saved.remembered:
        persist.rendered |= known.rendered


def _check(
    batch: list[SignedRecord], cluster: ClusterId, founder: NodePubkey
) -> list[VerifiedRecord]:
    whole_ones = [o for o in batch if len(o.value) > SIGNATURE_BYTES and 0 <= o.clock < CLOCK_END]
    opened = verify_records(whole_ones, cluster, founder, verify_batch)
    return [one for one in opened.records if not isinstance(one, UndecodableRecord)]


def _records_of(old: apsw.Connection, feed: int) -> Iterator[tuple[int, bytes] | int]:
    """Clock and value of what can be read of a feed; a number: from there on a stretch cannot.

    Where a page is torn the scan goes on behind it, in steps that double until a row is found.
    """
    clock_, step = -1, 1
    query = (
        f"SELECT {_number('clock')} AS at, {_bytes('value')} FROM records "  # noqa: S608 - our own names
        "WHERE feed = ? AND clock > ? AND clock < ? ORDER BY clock"
    )
    while clock_ < CLOCK_END:
        try:
            for at, value in old.execute(query, (feed, clock_, CLOCK_END)):
                clock_, step = max(at, clock_), 1  # a hurt row may say anything
                yield at, bytes(value)
        except apsw.Error:
            if step == 1:
                yield clock_ + 1
            clock_, step = clock_ + step, step * 2
        else:
            return


def _columns(saved: RecoveryReport, old: apsw.Connection, table: str) -> set[str]:
    query = f"SELECT name FROM pragma_table_info('{table}')"  # noqa: S608 - fixed names
    return {name for (name,) in _scan(saved, old, query)}


def _as_written(saved: RecoveryReport, old: apsw.Connection, table: str) -> str:
    """Which rows of a table are as they were written, if its rows have sums; counts the others."""
    if table not in SUMMED or "sum" not in _columns(saved, old, table):
        return ""
    query = f"SELECT count(*) FROM {table} WHERE sum IS NOT {sum_of(table)}"  # noqa: S608 - our own names
    saved.left += sum(many for (many,) in _scan(saved, old, query))
    return f" WHERE sum = {sum_of(table)}"


def _is_older(saved: RecoveryReport, old: apsw.Connection, table: str) -> bool:
    """Whether a small table is known not to hold what was written to it last."""
    told = list(_scan(saved, old, f"SELECT rows, sum FROM totals WHERE name = '{table}'"))  # noqa: S608 - our own names
    query = f"SELECT count(*), coalesce(sum({TOTALLED[table]}), 0) FROM {table}"  # noqa: S608 - our own names
    return bool(told) and told != list(_scan(saved, old, query))


def take_table(saved: RecoveryReport, store: Store, old: apsw.Connection, table: str) -> None:
    """A table as it is, in the columns that both files have, but for rows that hold no sense."""
    there = _columns(saved, old, table) - {"sum"}
    columns = {name: kind for name, kind in store.columns(table).items() if name in there}
    if table == "tickets" and _is_older(saved, old, table):
        saved.old_tickets = True
    elif columns:
        # As bytes: what is no text any longer must cost its row alone.
        kinds = {"TEXT": "BLOB"}
        read = ", ".join(f"CAST({n} AS {kinds.get(k, k)})" for n, k in columns.items())
        query = f"SELECT {read} FROM {table}{_as_written(saved, old, table)}"  # noqa: S608 - our own names
        store.fill(table, list(columns), _sensible(saved, table, columns, _scan(saved, old, query)))


def _sensible(
    saved: RecoveryReport, table: str, columns: dict[str, str], rows: Iterator[tuple[Any, ...]]
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
            saved.left += 1
        else:
            yield values


def take_meta(saved: RecoveryReport, store: Store, old: apsw.Connection) -> None:
    """What is said of the node."""
    query = f"SELECT {_bytes('name')}, {_bytes('value')} FROM meta{_as_written(saved, old, 'meta')}"  # noqa: S608 - our own names
    for raw, value in _scan(saved, old, query):
        name = raw.decode("ascii", "replace")
        if name in OF_ONE_FILE:
            continue
        if len(value) == META_BYTES.get(name, len(value)):
            store.set_meta(name, bytes(value))
        else:
            saved.left += 1


def take_proofs(
    saved: RecoveryReport, persist: Persist, old: apsw.Connection, cluster: ClusterId
) -> None:
    """Every fork that its proof proves."""
    columns = f"{_bytes('author')}, {_number('incarnation')}, {_number('clock')}, {_bytes('sides')}"
    query = f"SELECT {columns} FROM proofs"  # noqa: S608 - our own names
    for row in _scan(saved, old, query):
        try:
            proof = Store.proof_of_row(*row)
            holds = proves_fork(cluster, proof, verify_batch)
        except (InvalidValue, OverflowError):
            holds = False
        if holds:
            persist.proofs.append(proof)
        else:
            saved.bad += 1


def _bytes(column: str) -> str:
    """A column as bytes, whatever a damaged page makes of it."""
    return f"ifnull(CAST({column} AS BLOB), x'')"


def _number(column: str) -> str:
    return f"ifnull(CAST({column} AS INTEGER), -1)"


def _scan(saved: RecoveryReport, old: apsw.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, up to where they cannot be read."""
    try:
        yield from old.execute(query)
    except apsw.SQLError:
        return  # a table that this version of the file does not have
    except (apsw.Error, UnicodeDecodeError):
        saved.unread += 1
