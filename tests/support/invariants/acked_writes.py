"""What was promised and what was seen, kept outside the nodes; and whether a store still holds it.

The laws: a store opens and passes SQLite's own check; every acknowledged record is in it, or was
superseded by one that is; nobody ever sees two records of an honest node in one slot.
"""

import shutil
import tempfile
import threading
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import apsw

from crdt.primitives import limits
from crdt.records.bodies import parse_body
from tests.support.invariants.laws import Broken


class SeenRecord(NamedTuple):
    """One record: where it stands, which one it is, and what it would supersede."""

    slot: tuple[bytes, int, int]
    record_id: bytes
    key: tuple[str, str] | None

    @classmethod
    def of(cls, author, incarnation, clock, record_id, value):
        body = parse_body(bytes(value[limits.SIGNATURE_BYTES :]))
        key = getattr(body, "key", None)
        kept = None if key is None else (str(body.kind), str(key))
        return cls((bytes(author), incarnation, clock), bytes(record_id), kept)


class AckedWrites:
    """The records of one cluster, as told to callers and as found anywhere."""

    def __init__(self):
        self.acknowledged = {}
        self.seen = {}
        self._lock = threading.Lock()

    def acknowledge(self, slot, record_id, key=None):
        """A caller was told that its record is safe; a later one with ``key`` supersedes it."""
        with self._lock:
            self.acknowledged[slot] = (record_id, key)
            self._see(slot, record_id)

    def see(self, records):
        """Records that somebody holds or was sent."""
        with self._lock:
            for record in records:
                self._see(record.slot, record.record_id)

    def _see(self, slot, record_id):
        if self.seen.setdefault(slot, record_id) != record_id:
            author, incarnation, clock = slot
            raise Broken("L5", f"two records in slot {author.hex()[:8]}/{incarnation} #{clock}")

    def check(self, path, *, shown=True, authors=None):
        """Look into a store file.

        Args:
            shown: what it holds counts as seen; not so where a cut may still take it away.
            authors: whose acknowledged records it must hold; everybody's where not given.
        """
        records, proofs = read_store(path)
        if shown:
            self.see(records)
        if proofs:
            raise Broken("L5", f"{path} proves a fork")
        self._check_held(records, path, authors)

    def _check_held(self, records, where, authors):
        """Whether records make good what was acknowledged."""
        held = {record.slot: record.record_id for record in records}
        last = defaultdict(lambda: -1)
        for (author, incarnation, clock), _, key in records:
            if key is not None:
                feed_key = (author, incarnation, key)
                last[feed_key] = max(last[feed_key], clock)
        with self._lock:
            acknowledged = list(self.acknowledged.items())
        for slot, (record_id, key) in acknowledged:
            author, incarnation, clock = slot
            if (authors and author not in authors) or held.get(slot) == record_id:
                continue
            if key is None or last[author, incarnation, key] <= clock:
                raise Broken("L8", f"{where} lost {author.hex()[:8]}/{incarnation} #{clock}")


def read_store(path):
    """Every record and proof of a store file, read from a copy by nobody's code but SQLite's.

    A copy, so that recovering it stays the daemon's work.
    """
    with tempfile.TemporaryDirectory(prefix="gangline-look-") as folder:
        copy = Path(folder) / "store.db"
        for suffix in ("", "-wal"):
            if Path(f"{path}{suffix}").exists():
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        database = apsw.Connection(str(copy))
        try:
            told = [line for (line,) in database.execute("PRAGMA integrity_check")]
            if told != ["ok"]:
                raise Broken("L8", f"{path} fails its check: {told[:3]}")
            records = [
                SeenRecord.of(*row)
                for row in database.execute(
                    "SELECT author, incarnation, clock, record_id, value "
                    "FROM records JOIN feeds ON feeds.id = records.feed"
                )
            ]
            proofs = list(database.execute("SELECT author, incarnation, clock FROM proofs"))
        except apsw.Error as fault:
            raise Broken("L8", f"{path} cannot be read: {fault}") from fault
        finally:
            database.close()
    return records, proofs
