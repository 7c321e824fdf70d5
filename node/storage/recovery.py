"""Sets a damaged store aside, and rebuilds it from everything in it that verifies.

Lost rows come from the memory of the daemon that met the damage, or from peers. The next write
opens a new feed, since records of this node may be among the lost (protocol §9). After a crash at
any moment, either the damaged file or the complete new one is in place.
"""

import contextlib
import logging
import shlex
from collections.abc import Collection
from pathlib import Path

from crdt.contract.ready import Noticed, NoticeKind, Persist, Row, RowKey
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


def existed(path: Path) -> bool:
    """Whether a store existed there: its ``.witness`` file outlives it."""
    return path.with_name(path.name + SUFFIX).exists()


def missing_message(home: Home) -> str:
    """What the node does if its store is missing, and what its operator can do."""
    return (
        "this node creates a new one, and fetches its records from other nodes. If they lack some, "
        "stop it, and restore a backup with: "
        f"gangline --home {shlex.quote(str(home.path))} restore FILE --force"
    )


def unfinished_rebuild(path: Path) -> Path | None:
    """The damaged file that an interrupted rebuild set aside; ``None`` if there is none."""
    if path.exists() or path.is_symlink():
        return None
    found = sorted(path.parent.glob(f"{path.name}{ASIDE}*Z"))
    return found[-1] if found else None


def in_memory_rows(replica: Replica, refused: Collection[RowKey]) -> InMemoryRows:
    """The rows of the store that a replica still holds in memory.

    Args:
        refused: rows of the failed commit. This node's own records among them were refused to
            their callers, so they are left out.
    """
    held = [entry.record for feed in replica.ledger.feeds.values() for entry in feed.entries()]
    rows = [Row(*record.ref, record.value) for record in held]
    excluded = {key for key in refused if key.author == replica.own}
    rendered = {
        feed.id: replica.document.stored_end(feed) for feed in replica.ledger.feeds.values()
    }
    for key in excluded:
        feed_id = FeedId(key.author, key.incarnation)
        rendered[feed_id] = min(rendered.get(feed_id, 0), key.clock)
    kept = [row for row in rows if RowKey(*row[:4]) not in excluded]
    return InMemoryRows(kept, list(replica.ledger.proofs.values()), rendered)


def first_records(path: Path) -> list[SignedRecord]:
    """The first record of each author's first feed, as far as the damaged store is readable."""
    file = unfinished_rebuild(path) or path
    if file.stat().st_size < HEADER_BYTES:
        return []
    with recovery_scan.opened(file) as old:
        return recovery_scan.first_records(old)


def rebuild(
    path: Path, cluster: ClusterId, founder: NodePubkey, known: InMemoryRows | None = None
) -> RecoveryReport:
    """Set a damaged store aside and replace it by one that holds what verifies.

    Args:
        known: rows in the memory of the daemon that met the damage.

    Raises:
        OperatorError: the store is in use, or there is no room for another.
    """
    with contextlib.closing(Lock(path)) as lock:
        report = RecoveryReport(unfinished_rebuild(path) or _set_aside(path))
        with atomic_file(path, force=False) as fresh:
            guard = fresh.with_name(fresh.name + SUFFIX)
            guard.unlink(missing_ok=True)  # left by an interrupted rebuild
            with Store(fresh, lock=lock) as store:
                _carry_over(report, store, cluster, founder, known)
            guard.unlink()
    return report


def _set_aside(path: Path) -> Path:
    """Rename the file unchanged; returns its new path."""
    at = str(clock.wall()).replace(":", "")
    aside = path.with_name(f"{path.name}{ASIDE}{at}")
    path.rename(aside)
    return aside


def _carry_over(
    report: RecoveryReport,
    store: Store,
    cluster: ClusterId,
    founder: NodePubkey,
    known: InMemoryRows | None,
) -> None:
    """Copy what verifies from the damaged file into a new one."""
    old_path = report.aside.with_name(report.aside.name.partition(ASIDE)[0])
    old_path.with_name(old_path.name + "-shm").unlink(missing_ok=True)
    wal = old_path.with_name(old_path.name + "-wal")
    if wal.exists():
        wal.rename(f"{report.aside}-wal")
    persist = Persist(doubt="the store was damaged, and rebuilt from what verifies")
    if report.aside.stat().st_size >= HEADER_BYTES:
        with recovery_scan.opened(report.aside) as old:
            recovery_scan.take_records(report, persist, old, cluster, founder)
            recovery_scan.take_proofs(report, persist, old, cluster)
            for table in recovery_scan.COPIED_TABLES:
                recovery_scan.take_table(report, store, old, table)
            recovery_scan.take_meta(report, store, old)
    else:
        report.unread += 1  # not opened: SQLite would delete its WAL as a leftover
    if known is not None:
        recovery_scan.take_remembered(report, persist, known, cluster, founder)
    if report.lacks:
        store.set_meta(MetaKey.HURT, report.message.encode())
    rebuilt = Noticed(NoticeKind.STORE_REBUILT, report.message)
    store.commit(persist, [], clock.wall_ms(), [rebuilt])


def write_block_after_recovery(store: Store, *, known: bool, mute: bool) -> str:
    """Why the node must not write: it lacks records and has no peer to fetch them from.

    Args:
        known: it knows another node.
        mute: its roster lets it write nothing, so accepting the loss would not help.
    """
    lacks = (store.meta(MetaKey.HURT) or b"").decode()
    if not lacks or known:
        return ""
    alone = f"read-only: {lacks}. No other node is known to fetch the rest from"
    if mute:
        return (
            f"{alone}, and too little is left to continue without it: stop this daemon, restore a "
            "backup (gangline restore FILE --force) or name a node under [[peers]] in the config, "
            "and start it again"
        )
    return (
        f"{alone}: stop this daemon; then restore a backup (gangline restore FILE --force) or "
        "name a node under [[peers]] in the config, and start it again, or continue without the "
        "lost records with: gangline run --accept-loss"
    )
