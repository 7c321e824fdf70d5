"""A damaged store: set aside as it is, and made anew from everything in it that verifies.

Stands before and beside ``daemon.py``. Row by row, each record with its signature; what is
gone comes back from peers. The next write then opens a new feed, since own records may be among
what is gone (protocol §9). A crash at any moment leaves either the damaged file to begin from, or
the new one whole.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from crdt.forks import proves_fork
from crdt.identity import ClusterId, FeedId
from crdt.intake import Unreadable, open_records
from crdt.limits import SIGNATURE_BYTES
from crdt.ready import Noticed, Persist, Row, RowKey
from crdt.record import SignedRecord, VerifiedRecord
from crdt.replica import Replica
from crdt.verify import verify_batch
from machines.errors import InvalidValue
from machines.values import NodePubkey
from node import clock
from node.driver import Driver
from node.errors import StoreFailure
from node.files import whole
from node.lock import take_lock
from node.store import Store
from node.witness import SUFFIX

log = logging.getLogger("gangline.store")

ASIDE = ".damaged-"
HURT = "hurt"
"""The name in ``meta`` under which stands what a rebuilt store may lack."""
BATCH = 4096
CLOCK_END = 2**31
MEND_SECONDS = 1.0
AS_THEY_ARE = ("addresses", "tickets", "quarantine", "settled", "history")
OF_ONE_LIFE = ("token", "writes", "doubt", "probe")
"""What ``meta`` says of the file rather than of the node."""


@dataclass(slots=True)
class Saved:
    """What came of it.

    Attributes:
        kept: records whose signature holds.
        bad: records that were there, and are not what their author signed.
        unread: stretches that could not be read at all.
    """

    aside: Path
    kept: int = 0
    bad: int = 0
    unread: int = 0

    @property
    def sentence(self) -> str:
        """What an operator should know."""
        return (
            f"{self.kept} records of the damaged store verify and were kept, {self.bad} do not, "
            f"{self.unread} stretches could not be read; it is kept as {self.aside}"
        )


def left_aside(path: Path) -> Path | None:
    """The damaged file of a rebuilding that did not come to its end."""
    if path.exists() or path.is_symlink():
        return None
    found = sorted(path.parent.glob(f"{path.name}{ASIDE}*Z"))
    return found[-1] if found else None


def rebuild(path: Path, cluster: ClusterId, founder: NodePubkey) -> Saved:
    """Set a damaged store aside and put one in its place that holds what verifies.

    Raises:
        Trouble: it is in use, or there is no room for another.
    """
    lock = take_lock(path)
    try:
        saved = Saved(left_aside(path) or _set_aside(path))
        with whole(path, force=False) as fresh:
            _carry_over(saved, fresh, cluster, founder)
            for suffix in (".lock", SUFFIX):
                fresh.with_name(fresh.name + suffix).unlink()
    finally:
        os.close(lock)
    return saved


def _set_aside(path: Path) -> Path:
    """The file under another name, as it is."""
    at = str(clock.wall()).replace(":", "")
    aside = path.with_name(f"{path.name}{ASIDE}{at}")
    path.rename(aside)
    return aside


def _carry_over(saved: Saved, fresh: Path, cluster: ClusterId, founder: NodePubkey) -> None:
    """Copy what holds from the damaged file into a new one."""
    was = saved.aside.with_name(saved.aside.name.partition(ASIDE)[0])
    was.with_name(was.name + "-shm").unlink(missing_ok=True)
    wal = was.with_name(was.name + "-wal")
    if wal.exists():
        wal.rename(f"{saved.aside}-wal")
    old = apsw.Connection(str(saved.aside), flags=apsw.SQLITE_OPEN_READONLY)
    with Store(fresh) as store, contextlib.closing(old):
        persist = Persist(doubt="the store was damaged, and made anew from what verifies")
        meta = dict(_scan(saved, old, "SELECT name, value FROM meta"))
        _take_records(saved, persist, old, cluster, founder)
        _take_proofs(saved, persist, old, cluster)
        told = Noticed("store_rebuilt", saved.sentence)
        for table in AS_THEY_ARE:
            _take_table(saved, store, old, table)
        for name, value in meta.items():
            if name not in OF_ONE_LIFE:
                store.set_meta(name, bytes(value))
        store.set_meta(HURT, saved.sentence.encode() if saved.bad or saved.unread else b"")
        store.commit(persist, [], clock.wall_ms(), [told])


def _take_records(
    saved: Saved, persist: Persist, old: apsw.Connection, cluster: ClusterId, founder: NodePubkey
) -> None:
    for number, author, incarnation, end in _scan(
        saved, old, "SELECT id, author, incarnation, rendered FROM feeds"
    ):
        try:
            feed = FeedId(NodePubkey(author), incarnation)
        except InvalidValue:
            saved.unread += 1
            continue
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
                log.info("rebuilding %s: %d records verify", saved.aside, saved.kept)
        # Behind what is gone nothing may be taken for empty.
        persist.rendered[feed] = min(end, first_bad)


def _check(
    batch: list[SignedRecord], cluster: ClusterId, founder: NodePubkey
) -> list[VerifiedRecord]:
    whole_ones = [one for one in batch if len(one.value) > SIGNATURE_BYTES]
    opened = open_records(whole_ones, cluster, founder, verify_batch)
    return [one for one in opened.records if not isinstance(one, Unreadable)]


def _records_of(old: apsw.Connection, feed: int) -> Iterator[tuple[int, bytes] | int]:
    """Clock and value of what can be read of a feed; a number: from there on a stretch cannot.

    Where a page is torn the scan goes on behind it, in steps that double until a row is found.
    """
    clock_, step = -1, 1
    query = "SELECT clock, value FROM records WHERE feed = ? AND clock > ? ORDER BY clock"
    while clock_ < CLOCK_END:
        try:
            for at, value in old.execute(query, (feed, clock_)):
                clock_, step = at, 1
                yield at, bytes(value)
        except apsw.Error:
            if step == 1:
                yield clock_ + 1
            clock_, step = clock_ + step, step * 2
        else:
            return


def _take_table(saved: Saved, store: Store, old: apsw.Connection, table: str) -> None:
    """A table as it is, in the columns that both files have."""
    query = f"SELECT name FROM pragma_table_info('{table}')"  # noqa: S608 - fixed names
    there = {name for (name,) in _scan(saved, old, query)}
    columns = [name for name in store.columns(table) if name in there]
    if columns:
        query = f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608 - our own names
        store.fill(table, columns, _scan(saved, old, query))


def _take_proofs(saved: Saved, persist: Persist, old: apsw.Connection, cluster: ClusterId) -> None:
    for author, incarnation, at, sides in _scan(
        saved, old, "SELECT author, incarnation, clock, sides FROM proofs"
    ):
        proof = Store.proof_of_row(author, incarnation, at, sides)
        if proves_fork(cluster, proof, verify_batch):
            persist.proofs.append(proof)
        else:
            saved.bad += 1


def _scan(saved: Saved, old: apsw.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, up to where they cannot be read."""
    try:
        yield from old.execute(query)
    except apsw.SQLError:
        return  # a table that this version of the file does not have
    except apsw.Error:
        saved.unread += 1


async def fetch_rest(driver: Driver) -> None:
    """Say how far peers have brought back what a rebuilt store lacks, and when that is done."""
    before = -1
    with contextlib.suppress(StoreFailure):
        while await driver.on_disk(lambda store: store.meta(HURT)):
            many, linked, agrees = await driver.query(_how_far)
            if agrees:
                await driver.on_disk(lambda store: store.set_meta(HURT, b""))
                await driver.query(_lift)
                log.warning("the store holds what other nodes hold again: %d records", many)
            elif many != before:
                log.info("fetching the rest: %d records so far, %d nodes linked", many, linked)
            before = many
            await asyncio.sleep(MEND_SECONDS)
    await asyncio.Event().wait()


def _how_far(replica: Replica) -> tuple[int, int, bool]:
    sessions = list(replica.sessions.all())
    held = sum(len(list(feed.entries())) for feed in replica.ledger.feeds.values())
    return held, len(sessions), any(session.agrees for session in sessions)


def _lift(replica: Replica) -> None:
    replica.held = ""


def why_held(store: Store, *, known: bool) -> str:
    """Why a node must not write that lacks records and knows nobody to fetch them from."""
    hurt = (store.meta(HURT) or b"").decode()
    if not hurt or known:
        return ""
    return (
        f"read-only: {hurt}. No other node is known to fetch the rest from: put a backup back "
        "(gangline restore), name a node under [[peers]] in the config, or go on without it: "
        "gangline run --accept-loss"
    )
