"""A damaged store: set aside as it is, and made anew from everything in it that verifies.

Stands before and beside ``daemon.py``. Row by row, each record with its signature; what is gone
comes from the memory of the daemon that met the damage, or else back from peers. The next write
then opens a new feed, since own records may be among what is gone (protocol §9). A crash at any
moment leaves either the damaged file to begin from, or the new one whole.
"""

import contextlib
import logging
import shlex
from collections.abc import Collection
from pathlib import Path

from crdt.contract.ready import Noticed, Persist, Row, RowKey
from crdt.primitives.identity import ClusterId, FeedId
from crdt.records.record import SignedRecord
from crdt.replica import Replica
from machines.values import NodePubkey
from node.storage import recovery_scan
from node.storage.meta_keys import MetaKey
from node.storage.recovery_report import RecoveryReport
from node.storage.recovery_scan import InMemoryRows
from node.storage.rollback_guard import SUFFIX
from node.storage.store import HEADER_BYTES, Store
from node.storage.store_lock import Lock
from node.system import clock
from node.system.atomic_file import atomic_file
from node.system.home import Home

log = logging.getLogger("gangline.store")

ASIDE = ".damaged-"


def was_here(path: Path) -> bool:
    """Whether a store stood there once: its witness outlives it."""
    return path.with_name(path.name + SUFFIX).exists()


def gone(home: Home) -> str:
    """What a node does whose store is gone, and what its operator can."""
    return (
        "this node begins a new one, and takes back from other nodes what they have of it. If they "
        "lack some of it, stop it, and put a backup back with: "
        f"gangline --home {shlex.quote(str(home.path))} restore FILE --force"
    )


def left_aside(path: Path) -> Path | None:
    """The damaged file of a rebuilding that did not come to its end."""
    if path.exists() or path.is_symlink():
        return None
    found = sorted(path.parent.glob(f"{path.name}{ASIDE}*Z"))
    return found[-1] if found else None


def remembered(replica: Replica, refused: Collection[RowKey]) -> InMemoryRows:
    """What a replica still knows of its store.

    Args:
        refused: what the commit that met the damage should have written. Its own records among it
            were refused to whoever asked for them, so they are nowhere.
    """
    held = [entry.record for feed in replica.ledger.feeds.values() for entry in feed.entries()]
    rows = [Row(*record.ref, record.value) for record in held]
    gone = {key for key in refused if key.author == replica.own}
    rendered = {
        feed.id: replica.document.stored_end(feed) for feed in replica.ledger.feeds.values()
    }
    for key in gone:
        feed_id = FeedId(key.author, key.incarnation)
        rendered[feed_id] = min(rendered.get(feed_id, 0), key.clock)
    kept = [row for row in rows if RowKey(*row[:4]) not in gone]
    return InMemoryRows(kept, list(replica.ledger.proofs.values()), rendered)


def first_records(path: Path) -> list[SignedRecord]:
    """The first record of each author's first feed, as far as a damaged store can be read."""
    file = left_aside(path) or path
    if file.stat().st_size < HEADER_BYTES:
        return []
    with recovery_scan.opened(file) as old:
        return recovery_scan.first_records(old)


def rebuild(
    path: Path, cluster: ClusterId, founder: NodePubkey, known: InMemoryRows | None = None
) -> RecoveryReport:
    """Set a damaged store aside and put one in its place that holds what verifies.

    Args:
        known: what the daemon that met the damage still knows.

    Raises:
        Trouble: it is in use, or there is no room for another.
    """
    with contextlib.closing(Lock(path)) as lock:
        saved = RecoveryReport(left_aside(path) or _set_aside(path))
        with atomic_file(path, force=False) as fresh:
            witness = fresh.with_name(fresh.name + SUFFIX)
            witness.unlink(missing_ok=True)  # of a rebuilding that did not come to its end
            with Store(fresh, lock=lock) as store:
                _carry_over(saved, store, cluster, founder, known)
            witness.unlink()
    return saved


def _set_aside(path: Path) -> Path:
    """The file under another name, as it is."""
    at = str(clock.wall()).replace(":", "")
    aside = path.with_name(f"{path.name}{ASIDE}{at}")
    path.rename(aside)
    return aside


def _carry_over(
    saved: RecoveryReport,
    store: Store,
    cluster: ClusterId,
    founder: NodePubkey,
    known: InMemoryRows | None,
) -> None:
    """Copy what holds from the damaged file into a new one."""
    was = saved.aside.with_name(saved.aside.name.partition(ASIDE)[0])
    was.with_name(was.name + "-shm").unlink(missing_ok=True)
    wal = was.with_name(was.name + "-wal")
    if wal.exists():
        wal.rename(f"{saved.aside}-wal")
    persist = Persist(doubt="the store was damaged, and made anew from what verifies")
    if saved.aside.stat().st_size >= HEADER_BYTES:
        with recovery_scan.opened(saved.aside) as old:
            recovery_scan.take_records(saved, persist, old, cluster, founder)
            recovery_scan.take_proofs(saved, persist, old, cluster)
            for table in recovery_scan.AS_THEY_ARE:
                recovery_scan.take_table(saved, store, old, table)
            recovery_scan.take_meta(saved, store, old)
    else:
        saved.unread += 1  # not even opened: SQLite would take its WAL for a leftover
    if known is not None:
        recovery_scan.take_remembered(saved, persist, known, cluster, founder)
    if saved.lacks:
        store.set_meta(MetaKey.HURT, saved.message.encode())
    store.commit(persist, [], clock.wall_ms(), [Noticed("store_rebuilt", saved.message)])


def write_block_after_recovery(store: Store, *, known: bool, mute: bool) -> str:
    """Why a node must not write that lacks records and knows nobody to fetch them from.

    Args:
        known: it knows another node.
        mute: by what it holds it may write nothing: to accept the loss would change nothing.
    """
    hurt = (store.meta(MetaKey.HURT) or b"").decode()
    if not hurt or known:
        return ""
    alone = f"read-only: {hurt}. No other node is known to fetch the rest from"
    if mute:
        return (
            f"{alone}, and too little is left to go on without it: stop this daemon, put a backup "
            "back (gangline restore FILE --force) or name a node under [[peers]] in the config, "
            "and start it again"
        )
    return (
        f"{alone}: stop this daemon; then put a backup back (gangline restore FILE --force) or "
        "name a node under [[peers]] in the config, and start it again, or go on without what is "
        "lost, with: gangline run --accept-loss"
    )
