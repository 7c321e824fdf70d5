"""Backup of a node into one file, and restore from it.

A backup is a store that ``inspect --store`` can read, with one extra row: the node, its config and,
on request, its key. The command itself reads the store as of one instant, beside the running
daemon: it delays no commit, and writes wherever its user may. Source: protocol §9.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import apsw
import msgspec

from crdt.contract.ready import Persist, Row
from crdt.ledger.ingest import verify_records
from crdt.primitives.identity import ClusterId, FeedId
from crdt.records.record import SignedRecord
from crdt.records.signatures import verify_batch
from machines.codec import dec_hook, enc_hook
from machines.values import Instant, NodePubkey
from node.config import key_file, settings
from node.config.addresses import advertised
from node.provisioning import init_join
from node.reporting import store_audit
from node.storage.meta_keys import OF_ONE_KEY, MetaKey
from node.storage.migrations import SET_ADDRESSES, SET_META, add_functions, upgrade
from node.storage.rollback_guard import SUFFIX
from node.storage.store import Store
from node.storage.store_lock import Lock
from node.system import clock
from node.system.atomic_file import atomic_file
from node.system.errors import OperatorError, StoreDamaged, StoreFailure
from node.system.exit_codes import Exit
from node.system.home import Home

CHECK_ROWS: Final = 2000
USE_ANOTHER: Final = "use another backup, or join again with: gangline join"
RESTART: Final = (
    "cannot back it up: restart the daemon, which keeps what verifies and fetches the rest"
)
Progress = Callable[[str, int, int], None]
"""Called with the step, how much of it is done, and how much there is in all."""


class BackupLabel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The label of a backup.

    Attributes:
        node: the key of its node, in hex.
        at: when it was made.
        config: the text of the config file.
        addresses: where the node was listening, for ``restore --as-new``.
        key: the text of the key file; empty if not requested.
    """

    node: str
    at: Instant
    config: str
    addresses: tuple[str, ...] = ()
    key: str = ""

    def __repr__(self) -> str:
        return f"Label({self.node}, {self.at}, ***)"


class Made(NamedTuple):
    """The result of a backup or a restore.

    Attributes:
        at: when the backup was made.
        key: whether the backup holds the key.
        listen: where the node listens.
    """

    node: NodePubkey
    cluster: str
    at: Instant
    records: int
    key: bool
    listen: str


def backup(
    home: Home,
    file: Path,
    *,
    listening: str = "",
    with_key: bool = False,
    force: bool = False,
    progress: Progress = lambda _what, _done, _of: None,
) -> Made:
    """Write a backup of a node, with or without a running daemon.

    Args:
        listening: the address that the daemon listens on.

    Raises:
        OperatorError: there is no node, its store is damaged, the file exists, or something cannot
            be read or written.
    """
    config = settings.load(home.config)
    key = key_file.text_of(home.key)
    own = key_file.pubkey_of(key)
    if not force and os.path.lexists(file):
        raise OperatorError(f"{file} exists already; --force overwrites it")
    at = clock.wall()
    addresses = advertised(config.advertise, listening)
    text = home.config.read_text(encoding="utf-8")
    label = BackupLabel(own.hex(), at, text, addresses, key if with_key else "")
    with atomic_file(file, force=force) as partial:
        _copy(home.store, partial, config.cluster, RESTART, progress)
        with _sqlite(partial) as db:
            records = _count(db)
            _set(db, MetaKey.BACKUP, msgspec.json.encode(label, enc_hook=enc_hook))
            # A node restored from this file does not have the store it last wrote.
            _set(db, MetaKey.DOUBT, f"the store was restored from a backup of {at}".encode())
    return Made(own, config.cluster, at, records, with_key, config.listen)


def restore(
    home: Home,
    file: Path,
    *,
    key_path: Path | None = None,
    as_new: bool = False,
    name: str = "",
    listen: str | None = None,
    force: bool = False,
    progress: Progress = lambda _what, _done, _of: None,
) -> Made:
    """Create a node from a backup.

    Args:
        key_path: the node's key file, if the backup does not hold the key.
        as_new: create another node, with a new key and the same records.
        name: of the new node.
        listen: of the new node; default: as in the backup.

    Raises:
        OperatorError: the file is not a backup or is damaged, the key is missing or of another
            node, a node exists here, or its daemon runs.
    """
    label = _read_label(file)
    config = _new_config(label, name, listen) if as_new else label.config
    key = "" if as_new else _find_key(home, label, key_path)
    taken = [path for path in (home.store, home.config) if path.exists()]
    if as_new or key_path is not None or label.key:
        taken += [home.key] * home.key.exists()
    if taken and not force:
        raise OperatorError(
            f"{taken[0]} exists already; --force overwrites the node at {home.path}"
        )
    try:
        home.make()
    except OSError as fault:
        raise OperatorError(f"cannot create {home.path}: {fault}") from fault
    with contextlib.closing(Lock(home.store)) as lock:
        records = _put_store(home, file, label, as_new=as_new, progress=progress)
        own = key_file.replace(home.key, key)
        _put_config(home, config)
        if as_new:
            with Store(home.store, lock=lock) as store:  # a new key has no feed that could fork
                store.commit(Persist(doubt=""), [], clock.wall_ms())
    made = settings.load(home.config)
    return Made(own, made.cluster, label.at, records, bool(label.key), made.listen)


# --- the parts of a restore --------------------------------------------------------------------


def _find_key(home: Home, label: BackupLabel, key_path: Path | None) -> str:
    """The key of the backup's node: from the option, the backup, or this home."""
    if key_path is not None:
        key, where = key_file.text_of(key_path), str(key_path)
    elif label.key:
        key, where = label.key, "the backup"
    elif home.key.exists():
        key, where = key_file.text_of(home.key), str(home.key)
    else:
        raise OperatorError(
            "the backup holds no key: give the node's with --key FILE, or create a new node "
            "with --as-new",
            Exit.USAGE,
        )
    own = key_file.pubkey_of(key)
    if own.hex() != label.node:
        raise OperatorError(
            f"the key in {where} is {own.short}'s, but the backup is "
            f"{NodePubkey.from_hex(label.node).short}'s; give the right one with --key FILE",
            Exit.REFUSED,
        )
    return key


def _put_store(
    home: Home, file: Path, label: BackupLabel, *, as_new: bool, progress: Progress
) -> int:
    """Check the store and put it in place; returns its number of records."""
    with atomic_file(home.store, force=True) as partial:
        _copy(file, partial, _config_of(label).cluster, USE_ANOTHER, progress)
        with Store(partial, readonly=True) as kept:
            _check(kept, file, label, progress)
        with _sqlite(partial) as db:
            db.pragma("secure_delete", "on")  # overwrites the key, so that no free page holds it
            db.execute("DELETE FROM meta WHERE name = ?", (MetaKey.BACKUP,))
            if as_new:
                db.executemany("DELETE FROM meta WHERE name = ?", [(name,) for name in OF_ONE_KEY])
                db.execute("DELETE FROM settled")
                db.execute("DELETE FROM tickets")  # of the other node, as is the line above
                if label.addresses:
                    row = (bytes.fromhex(label.node), " ".join(label.addresses))
                    db.execute(SET_ADDRESSES, row)
            records = _count(db)
        for suffix in ("-wal", "-shm", SUFFIX):  # of a previous store
            home.store.with_name(home.store.name + suffix).unlink(missing_ok=True)
    return records


def _check(kept: Store, file: Path, label: BackupLabel, progress: Progress) -> None:
    """Check every signature, which a start does not.

    Raises:
        OperatorError: one is invalid, or the records are of another cluster.
    """
    rows = list(kept.rows())
    cluster, founder = store_audit.founding([*map(_record_of, rows)], file)
    if cluster.hex() != _config_of(label).cluster:
        raise OperatorError(
            f"{file} holds the records of another cluster than its config", Exit.DIFFER
        )
    bad = done = 0
    left = iter(rows)
    while chunk := list(islice(left, CHECK_ROWS)):
        bad += _bad_rows(chunk, cluster, founder)
        done += len(chunk)
        progress("checking", done, len(rows))
    if bad:
        raise OperatorError(
            f"{file} is damaged: {bad} of its records do not verify; {USE_ANOTHER}", Exit.DIFFER
        )


def _record_of(row: Row) -> SignedRecord:
    return SignedRecord(FeedId(row.author, row.incarnation), row.clock, row.value)


def _bad_rows(rows: list[Row], cluster: ClusterId, founder: NodePubkey) -> int:
    opened = verify_records([*map(_record_of, rows)], cluster, founder, verify_batch)
    verified = {record.ref for record in opened.records}
    return sum((r.author, r.incarnation, r.clock, r.record_id) not in verified for r in rows)


def _new_config(label: BackupLabel, name: str, listen: str | None) -> str:
    """The config of a new node: with its own name, without the other's addresses.

    Raises:
        OperatorError: the name or the address is invalid.
    """
    old = _config_of(label)
    listen = old.listen if listen is None else listen
    config = msgspec.structs.replace(old, name=name, listen=listen, advertise=[])
    init_join.check(config)
    return settings.text_of(config)


def _put_config(home: Home, text: str) -> None:
    with atomic_file(home.config, force=True) as partial:
        partial.write_text(text, encoding="utf-8")


def _config_of(label: BackupLabel) -> settings.Config:
    return settings.parse(label.config, Path("the backup's config"))


# --- files -------------------------------------------------------------------------------------


def _copy(store: Path, partial: Path, cluster: str, way_out: str, progress: Progress) -> None:
    """Copy a store and check the copy as a start would, since it may be needed much later.

    Raises:
        OperatorError: it is damaged, or cannot be read or written.
    """
    try:
        with Store(store, readonly=True) as source:
            source.copy_to(partial, lambda done, of: progress("copying", done, of))
        with Store(partial, readonly=True) as made:
            made.check(ClusterId(bytes.fromhex(cluster)))
    except StoreDamaged as damage:
        message = damage.message.replace(str(partial), str(store))
        raise OperatorError(f"{message}; {way_out}", Exit.DIFFER) from damage


def _read_label(file: Path) -> BackupLabel:
    """The label of a backup.

    Raises:
        OperatorError: the file is not a backup, or is damaged.
    """
    if not file.is_file():
        raise OperatorError(f"there is no backup at {file}")
    store_audit.store_path(file, "backup")
    try:
        with Store(file, readonly=True) as store:
            value = store.meta(MetaKey.BACKUP)
        if value is None:
            raise OperatorError(
                f"{file} is a store, but not a backup; make one with: gangline backup FILE",
                Exit.MALFORMED,
            )
        label = msgspec.json.decode(value, type=BackupLabel, dec_hook=dec_hook)
        NodePubkey.from_hex(label.node)
        if label.key:
            key_file.pubkey_of(label.key)
    except StoreDamaged as damage:
        raise OperatorError(f"{damage.message}; {USE_ANOTHER}", Exit.DIFFER) from damage
    except (StoreFailure, apsw.Error) as fault:
        raise OperatorError(f"cannot read the backup {file}: {fault}", Exit.MALFORMED) from fault
    except (msgspec.MsgspecError, ValueError) as fault:
        raise OperatorError(f"{file} is damaged: {fault}", Exit.MALFORMED) from fault
    return label


@contextlib.contextmanager
def _sqlite(path: Path) -> Iterator[apsw.Connection]:
    """Open a private copy of a store, and commit all changes in one transaction."""
    try:
        with contextlib.closing(apsw.Connection(str(path))) as db:
            add_functions(db)
            db.pragma("synchronous", "full")
            with db:
                upgrade(db)
                yield db
    except apsw.Error as fault:
        raise StoreFailure(f"cannot write {path}: {fault}") from fault


def _set(db: apsw.Connection, name: str, value: bytes) -> None:
    db.execute(SET_META, (name, value))


def _count(db: apsw.Connection) -> int:
    found: int = db.execute("SELECT count(*) FROM records").get
    return found
