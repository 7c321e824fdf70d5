import fcntl
import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from crdt.contract.ready import Persist, ProofRow, Quarantined, Row, RowKey
from crdt.primitives.errors import Reason
from crdt.primitives.identity import FeedId
from node.storage.database import WAL_BYTES_MAX
from node.storage.store import Store
from node.storage.ticket_rows import TICKET_KEPT_MS, TicketRow
from node.system.errors import StoreDamaged, StoreFailure
from tests.support.builders.cluster import Found, key

FOUND = Found()
FEED = FeedId(FOUND.founder.pubkey, 0)


def row(clock):
    return Row(*FEED, clock, bytes([clock]) * 32, f"value {clock}".encode())


def put(store, *rows, gone=(), **more):
    persist = Persist(**more)
    for one in gone:
        persist.rows[RowKey(*one[:4])] = None
    for one in rows:
        persist.rows[RowKey(*one[:4])] = one
    store.commit(persist, [], 0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


def test_what_is_committed_comes_back_in_order(path):
    proof = ProofRow(*FEED, 7, ((b"s" * 64, b"h" * 32), (b"t" * 64, b"i" * 32)))
    with Store(path) as store:
        put(store, row(2), row(1), row(3), proofs=[proof], rendered={FEED: 4}, incarnation=9)
        put(store, gone=[row(2)], addresses={key(2).pubkey: ("a:1", "b:2")})
    with Store(path) as store:
        assert list(store.rows()) == [row(1), row(3)]
        assert store.proofs() == [proof]
        assert store.rendered() == {FEED: 4}
        assert store.meta("incarnation") == (9).to_bytes(4, "big")
        assert store.addresses() == {key(2).pubkey: ("a:1", "b:2")}
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_second_writer_is_told_who_is_first(path):
    with Store(path), pytest.raises(StoreFailure) as told:
        Store(path)
    assert f"kill {os.getpid()};" in told.value.message
    assert f"ends only after: kill -CONT {os.getpid()}" in told.value.message
    Store(path).close()


@pytest.mark.parametrize("instead", [None, "", "4711", "a link"])
def test_a_deleted_lock_file_admits_no_second_writer(path, tmp_path, instead):
    lock = path.with_name(path.name + ".lock")
    with Store(path) as store:
        put(store, row(1), doubt="")
        lock.unlink()
        if instead == "a link":
            lock.symlink_to(tmp_path / "elsewhere")
        elif instead is not None:
            lock.write_text(instead)
        for _ in range(2):
            with pytest.raises(StoreFailure, match="whose lock file was deleted; stop it with"):
                Store(path)
        put(store, row(2))
    lock.unlink(missing_ok=True)
    with Store(path) as again:
        assert (again.doubt, list(again.rows())) == ("", [row(1), row(2)])


def test_a_writer_of_an_earlier_build_is_named(path):
    Store(path).close()
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        with pytest.raises(StoreFailure, match="pid 4711"):
            Store(path)


def test_a_reader_needs_no_lock_and_cannot_write(path):
    with Store(path) as store:
        put(store, row(1))
        with Store(path, readonly=True) as reader:
            assert list(reader.rows()) == [row(1)]
            with pytest.raises(StoreFailure):
                put(reader, row(2))


def test_a_newer_store_is_refused(path):
    Store(path).close()
    database = apsw.Connection(str(path))
    database.pragma("user_version", 99)
    database.close()
    with pytest.raises(StoreFailure, match="newer"):
        Store(path)


def test_what_is_no_store_is_refused(path):
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StoreFailure):
        Store(path)


def test_a_failed_commit_writes_nothing(path):
    with Store(path) as store:
        with pytest.raises(StoreFailure):
            put(store, row(2), rendered={FEED: "text, no number"})
        assert list(store.rows()) == []
        put(store, row(3))
    with Store(path) as store:
        assert list(store.rows()) == [row(3)]


def test_quarantine_is_bounded_and_keeps_the_newest(path, monkeypatch):
    monkeypatch.setattr("crdt.primitives.limits.QUARANTINE_ROWS_MAX", 3)
    with Store(path) as store:
        for number in range(6):
            kept = Quarantined(None, FEED, number, None, Reason.BAD_SIGNATURE, "detail", b"bytes")
            store.commit(Persist(), [kept], number)
        assert [found[4] for found in store.quarantine()] == [5, 4, 3]


def test_quarantine_is_bounded_in_bytes_across_restarts(path, monkeypatch):
    monkeypatch.setattr("crdt.primitives.limits.QUARANTINE_BYTES_MAX", 1000)
    for start in (0, 20, 40):
        with Store(path) as store:
            for number in range(start, start + 20):
                kept = Quarantined(None, FEED, number, None, Reason.BAD_SIGNATURE, "", b"x" * 100)
                store.commit(Persist(), [kept], number)
                rows = store.quarantine()
                assert sum(len(found[8]) for found in rows) <= 1000
                assert [found[4] for found in rows] == [number - n for n in range(len(rows))]
            assert len(rows) >= 8  # what is let go is the oldest eighth or so
    monkeypatch.setattr("crdt.primitives.limits.QUARANTINE_BYTES_MAX", 400)
    with Store(path) as store:
        store.commit(Persist(), [kept], 60)
        assert len(store.quarantine()) == 3


@pytest.mark.parametrize("bound", ["ROWS", "BYTES"])
def test_a_noisy_node_pushes_out_only_its_own_rows(path, monkeypatch, bound):
    monkeypatch.setattr("crdt.primitives.limits.QUARANTINE_ROWS_MAX", 40)
    monkeypatch.setattr(
        f"crdt.primitives.limits.QUARANTINE_{bound}_OF_ONE_MAX", 8 * {"ROWS": 1, "BYTES": 5}[bound]
    )
    loud, quiet, relay = key(5).pubkey, key(6).pubkey, key(7).pubkey

    def turned(author, reason, clock):
        return Quarantined(relay, FeedId(author, 0), clock, None, reason, "", b"bytes")

    def of(author, reason):
        return [row for row in store.quarantine() if row[2] == author and row[6] == reason]

    rejected, forged = Reason.ILLEGAL_TRANSITION, Reason.BAD_SIGNATURE
    with Store(path) as store:
        store.commit(Persist(), [turned(quiet, rejected, 0)], 0)
    for start in (0, 100):  # what was counted before a restart counts
        with Store(path) as store:
            for clock in range(start, start + 60):
                store.commit(Persist(), [turned(loud, rejected, clock)], 0)
                store.commit(Persist(), [turned(quiet, forged, clock)], 0)
                assert len(of(loud, rejected)) <= 8
                assert len(of(quiet, forged)) <= 8, "whoever brought it is to blame"
                assert len(of(quiet, rejected)) == 1
            assert of(loud, rejected)[0][4] == start + 59


def test_tickets_are_kept_by_their_hash(path):
    with Store(path) as store:
        ticket = TicketRow(b"h" * 32, "member", 5, 3)
        store.add_ticket(ticket, 0)
        assert store.tickets() == [ticket]
        store.withdraw_ticket(b"h" * 32)
        assert store.tickets() == [ticket._replace(withdrawn=True)]
        store.add_ticket(TicketRow(b"i" * 32, "member", TICKET_KEPT_MS + 9), TICKET_KEPT_MS + 6)
        assert [row.secret_hash for row in store.tickets()] == [b"i" * 32]


def test_nothing_acknowledged_is_lost_by_a_kill(path, tmp_path):
    script = tmp_path / "writer.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from crdt.contract.ready import Persist, Row, RowKey\n"
        "from machines.values import NodePubkey\n"
        "from node.storage.store import Store\n"
        f"store = Store(Path({str(path)!r}))\n"
        "for clock in range(1_000_000):\n"
        "    persist = Persist()\n"
        "    key = RowKey(NodePubkey(b'k' * 32), 0, clock, b'i' * 32)\n"
        "    persist.rows[key] = Row(*key, b'value')\n"
        "    store.commit(persist, [], 0)\n"
        "    print(clock, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    acknowledged = -1
    while acknowledged < 20:
        acknowledged = int(child.stdout.readline())
    child.kill()
    acknowledged = max([acknowledged, *(int(line) for line in child.stdout.read().split())])
    child.wait()
    child.stdout.close()
    with Store(path) as store:
        clocks = [found.clock for found in store.rows()]
    assert clocks == list(range(len(clocks)))
    assert len(clocks) > acknowledged


def big(clock):
    return Row(*FEED, clock, bytes([clock]) * 32, bytes(256 * 1024))


def test_the_wal_stays_small_and_is_gone_after_close(path):
    wal = path.with_name(path.name + "-wal")
    with Store(path) as store:
        for clock in range(50):
            put(store, big(clock))
            assert wal.stat().st_size < 2 * WAL_BYTES_MAX
    assert not wal.exists()


def test_a_wal_left_by_a_kill_is_checkpointed(path, tmp_path):
    left = tmp_path / "left" / "store.db"
    left.parent.mkdir()
    with Store(path) as store:
        put(store, big(1))
        for suffix in ("", "-wal"):
            left.with_name(left.name + suffix).write_bytes(Path(f"{path}{suffix}").read_bytes())
    assert Path(f"{left}-wal").stat().st_size > len(big(1).value)
    with Store(left) as again:
        assert Path(f"{left}-wal").stat().st_size < len(big(1).value)
        assert left.stat().st_size > len(big(1).value)
        assert list(again.rows()) == [big(1)]


def test_room_that_is_free_is_given_back(path, monkeypatch):
    monkeypatch.setattr("node.storage.database.VACUUM_EVERY", 2)
    with Store(path) as store:
        rows = [big(clock) for clock in range(20)]
        put(store, *rows)
        store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        full = path.stat().st_size
        put(store, gone=rows)
        for clock in range(20, 60):
            put(store, row(clock))
    assert path.stat().st_size < full / 2


def test_deleting_the_wal_loses_nothing(path, tmp_path, caplog):
    with Store(path) as store:
        put(store, row(1), doubt="")
        Path(f"{path}-wal").unlink()
        put(store, row(2))
        # As a kill leaves it: nothing but what is in its place.
        left = tmp_path / "left" / "store.db"
        left.parent.mkdir()
        for suffix in ("", "-wal"):
            left.with_name(left.name + suffix).write_bytes(Path(f"{path}{suffix}").read_bytes())
    with Store(left) as again:
        assert list(again.rows()) == [row(1), row(2)]
    assert "was deleted while in use" in caplog.text
    with Store(path) as again:
        assert again.doubt == ""


@pytest.mark.parametrize("suffix", ["-shm", ".lock", ".witness"])
def test_other_files_beside_it_may_be_deleted(path, suffix):
    with Store(path) as store:
        put(store, row(1), doubt="")
        Path(f"{path}{suffix}").unlink()
        put(store, row(2))
    with Store(path) as again:
        assert list(again.rows()) == [row(1), row(2)]


@pytest.mark.parametrize("instead", [None, b"another"])
def test_a_removed_store_refuses_writes_until_it_is_back(path, tmp_path, instead):
    away = tmp_path / "away.db"
    with Store(path) as store:
        put(store, row(1), doubt="")
        path.rename(away)
        if instead is not None:
            path.write_bytes(instead)
        for write in (lambda: put(store, row(2)), store.probe):
            with pytest.raises(StoreFailure, match="was removed or replaced"):
                write()
        assert list(store.rows()) == [row(1)], "it can be read all the same"
        away.replace(path)
        store.probe()
        put(store, row(3))
    with Store(path) as again:
        assert list(again.rows()) == [row(1), row(3)]


@pytest.mark.parametrize("left", [0, 50, 100, 4096, -4096])
def test_a_truncated_store_refuses_writes(path, left):
    with Store(path) as store:
        put(store, row(1), doubt="")
    whole = path.read_bytes()
    with Store(path) as store:
        put(store, row(2))
        os.truncate(path, left % len(whole))
        for write in (lambda: put(store, row(3)), store.probe):
            with pytest.raises(StoreFailure, match="was truncated while in use") as told:
                write()
            assert not isinstance(told.value, StoreDamaged)
        assert list(store.rows()) == [row(1), row(2)], "it can be read all the same"
        with path.open("r+b") as file:
            file.write(whole)
        with pytest.raises(StoreFailure, match="was truncated while in use"):
            store.probe()


def test_returning_pages_is_not_a_truncation(path, monkeypatch):
    large = [row(clock)._replace(value=bytes(4000)) for clock in range(1, 200)]
    with Store(path) as store:
        put(store, *large, doubt="")
    monkeypatch.setattr("node.storage.database.VACUUM_EVERY", 1)
    monkeypatch.setattr("node.storage.database.WAL_PAGES", 1)
    with Store(path) as store:
        before = path.stat().st_size
        put(store, gone=large)
        for clock in range(200, 210):
            put(store, row(clock))
        assert path.stat().st_size < before


def test_a_folder_or_link_is_no_damage(path, tmp_path):
    with Store(path) as store:
        put(store, row(1), doubt="")
    away = path.rename(tmp_path / "away.db")
    path.mkdir()
    with pytest.raises(StoreFailure, match="it is a folder"):
        Store(path)
    path.rmdir()
    path.symlink_to(away)
    with pytest.raises(StoreFailure, match="it is a symlink"):
        Store(path)
    path.unlink()
    away.rename(path)
    with Store(path) as store:
        assert (store.doubt, list(store.rows())) == ("", [row(1)])


def test_a_write_protected_file_is_made_writable(path, caplog):
    with Store(path) as store:
        put(store, row(1), doubt="")
    path.chmod(0o400)
    with Store(path) as store:
        put(store, row(2))
        assert store.doubt == ""
    assert "mode 0400" in caplog.text
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_impossible_row_is_found_when_all_are_read(path):
    """What looks at a few records first takes them by what their authors signed."""
    with Store(path) as store:
        put(store, row(0))
    with apsw.Connection(str(path)) as database:
        database.execute("UPDATE records SET record_id = zeroblob(33)")
    with Store(path, readonly=True) as store:
        assert len(store.first_records()) == 1
        with pytest.raises(StoreDamaged, match="not as it was written"):
            list(store.rows())
