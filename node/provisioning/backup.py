"""Backup and restore: a node in one file, and a node made from it.

Stands beside ``init_join.py``. A backup is a store like any other (``inspect --store`` reads it),
with one row more that says whose it is and holds the config, and the key where that was asked for.
It is read from the store's file beside the running daemon, as of one instant, so that it holds up
no commit and is written by whoever asked, wherever he may write. Source: protocol §9.
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
ANOTHER: Final = "take another backup, or join anew with: gangline join"
MEND: Final = (
    "there is no backup of it: start the daemon anew, which keeps what holds and fetches the rest"
)
Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


class BackupLabel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup says of itself.

    Attributes:
        node: whose store it is, in hex.
        at: when it was made.
        config: the config file's text.
        addresses: where the node was listening, for one that is made anew from this.
        key: the key file's text, where that was asked for.
    """

    node: str
    at: Instant
    config: str
    addresses: tuple[str, ...] = ()
    key: str = ""

    def __repr__(self) -> str:
        return f"Label({self.node}, {self.at}, ***)"


class Made(NamedTuple):
    """What a backup or a restore came to.

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
    """Write a node's backup, beside a running daemon or without one.

    Args:
        listening: where the daemon says it listens.

    Raises:
        Trouble: there is no node, its store is damaged, the file exists, or something cannot be
            read or written.
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
        _copy(home.store, partial, config.cluster, MEND, progress)
        with _sqlite(partial) as db:
            records = _count(db)
            _set(db, MetaKey.BACKUP, msgspec.json.encode(label, enc_hook=enc_hook))
            # Whatever is made of this file is not the store that was last written.
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
    """Make a node from a backup.

    Args:
        key_path: the node's key, where the backup does not hold it.
        as_new: make a node of its own, with a key of its own, that knows what the other knew.
        name: what a new node is called.
        listen: where a new node listens; else where the other did.

    Raises:
        Trouble: the file is no backup or is damaged, the key is missing or another's, there is a
            node here already, or its daemon runs.
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
        raise OperatorError(f"cannot make {home.path}: {fault}") from fault
    with contextlib.closing(Lock(home.store)) as lock:
        records = _put_store(home, file, label, as_new=as_new, progress=progress)
        own = key_file.replace(home.key, key)
        _put_config(home, config)
        if as_new:
            with Store(home.store, lock=lock) as store:  # a new key has no other feed to fork
                store.commit(Persist(doubt=""), [], clock.wall_ms())
    made = settings.load(home.config)
    return Made(own, made.cluster, label.at, records, bool(label.key), made.listen)


# --- the parts of a restore --------------------------------------------------------------------


def _find_key(home: Home, label: BackupLabel, key_path: Path | None) -> str:
    """The key that the backup's node had: as given, as kept in the backup, or as it is here."""
    if key_path is not None:
        key, where = key_file.text_of(key_path), str(key_path)
    elif label.key:
        key, where = label.key, "the backup"
    elif home.key.exists():
        key, where = key_file.text_of(home.key), str(home.key)
    else:
        raise OperatorError(
            "the backup holds no key: give the node's with --key FILE, or make a node of its own "
            "with --as-new",
            Exit.USAGE,
        )
    own = key_file.pubkey_of(key)
    if own.hex() != label.node:
        raise OperatorError(
            f"the key in {where} is {own.short}'s, and the backup is "
            f"{NodePubkey.from_hex(label.node).short}'s; give the right one with --key FILE",
            Exit.REFUSED,
        )
    return key


def _put_store(
    home: Home, file: Path, label: BackupLabel, *, as_new: bool, progress: Progress
) -> int:
    """Put the store in its place once all of it holds; gives how many records it has."""
    with atomic_file(home.store, force=True) as partial:
        _copy(file, partial, _config_of(label).cluster, ANOTHER, progress)
        with Store(partial, readonly=True) as kept:
            _check(kept, file, label, progress)
        with _sqlite(partial) as db:
            db.pragma("secure_delete", "on")  # no key stays behind in a free page
            db.execute("DELETE FROM meta WHERE name = ?", (MetaKey.BACKUP,))
            if as_new:
                db.executemany("DELETE FROM meta WHERE name = ?", [(name,) for name in OF_ONE_KEY])
                db.execute("DELETE FROM settled")
                db.execute("DELETE FROM tickets")  # the other node's, as is the line above
                if label.addresses:
                    heard = (bytes.fromhex(label.node), " ".join(label.addresses))
                    db.execute(SET_ADDRESSES, heard)
            records = _count(db)
        for suffix in ("-wal", "-shm", SUFFIX):  # of a store that was here before
            home.store.with_name(home.store.name + suffix).unlink(missing_ok=True)
    return records


def _check(kept: Store, file: Path, label: BackupLabel, progress: Progress) -> None:
    """Check every signature: a start takes the store's word for them.

    Raises:
        Trouble: something does not hold.
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
            f"{file} is damaged: {bad} of its records do not hold; {ANOTHER}", Exit.DIFFER
        )


def _record_of(row: Row) -> SignedRecord:
    return SignedRecord(FeedId(row.author, row.incarnation), row.clock, row.value)


def _bad_rows(rows: list[Row], cluster: ClusterId, founder: NodePubkey) -> int:
    opened = verify_records([*map(_record_of, rows)], cluster, founder, verify_batch)
    held = {record.ref for record in opened.records}
    return sum((r.author, r.incarnation, r.clock, r.record_id) not in held for r in rows)


def _new_config(label: BackupLabel, name: str, listen: str | None) -> str:
    """A new node's config: a name of its own, and not the other's addresses.

    Raises:
        Trouble: with these no daemon would start.
    """
    was = _config_of(label)
    listen = was.listen if listen is None else listen
    config = msgspec.structs.replace(was, name=name, listen=listen, advertise=[])
    init_join.check(config)
    return settings.text_of(config)


def _put_config(home: Home, text: str) -> None:
    with atomic_file(home.config, force=True) as partial:
        partial.write_text(text, encoding="utf-8")


def _config_of(label: BackupLabel) -> settings.Config:
    return settings.parse(label.config, Path("the backup's config"))


# --- files -------------------------------------------------------------------------------------


def _copy(store: Path, partial: Path, cluster: str, way_out: str, progress: Progress) -> None:
    """Copy a store, and check the copy as a start would: nobody may look at it for a year.

    Raises:
        Trouble: it is damaged, or cannot be read or written.
    """
    try:
        with Store(store, readonly=True) as source:
            source.copy_to(partial, lambda done, of: progress("copying", done, of))
        with Store(partial, readonly=True) as made:
            made.check(ClusterId(bytes.fromhex(cluster)))
    except StoreDamaged as damage:
        says = damage.message.replace(str(partial), str(store))
        raise OperatorError(f"{says}; {way_out}", Exit.DIFFER) from damage


def _read_label(file: Path) -> BackupLabel:
    """What a backup says of itself.

    Raises:
        Trouble: it is none.
    """
    if not file.is_file():
        raise OperatorError(f"there is no backup at {file}")
    store_audit.store_path(file, "backup")
    try:
        with Store(file, readonly=True) as store:
            said = store.meta(MetaKey.BACKUP)
        if said is None:
            raise OperatorError(
                f"{file} is a store, but no backup; make one with: gangline backup FILE",
                Exit.MALFORMED,
            )
        label = msgspec.json.decode(said, type=BackupLabel, dec_hook=dec_hook)
        NodePubkey.from_hex(label.node)
        if label.key:
            key_file.pubkey_of(label.key)
    except StoreDamaged as damage:
        raise OperatorError(f"{damage.message}; {ANOTHER}", Exit.DIFFER) from damage
    except (StoreFailure, apsw.Error) as fault:
        raise OperatorError(f"cannot read the backup {file}: {fault}", Exit.MALFORMED) from fault
    except (msgspec.MsgspecError, ValueError) as fault:
        raise OperatorError(f"{file} is damaged: {fault}", Exit.MALFORMED) from fault
    return label


@contextlib.contextmanager
def _sqlite(path: Path) -> Iterator[apsw.Connection]:
    """A copy of a store that nobody else has yet, to be changed as one."""
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
