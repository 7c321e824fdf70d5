"""A store that is not the one last written is noticed at the start."""

import shutil

import pytest

from crdt.contract.ready import Persist, Row, RowKey
from crdt.primitives.identity import FeedId
from node.storage import rollback_guard
from node.storage.rollback_guard import StoreStamp, mismatch
from node.storage.store import Store
from tests.support.builders.cluster import key

FEED = FeedId(key(1).pubkey, 0)
FOUND = StoreStamp("host", 7, b"t" * 16, 5)


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (None, "no .witness file"),
        (FOUND._replace(host="other"), "another host"),
        (FOUND._replace(inode=8), "copy"),
        (FOUND._replace(token=b"u" * 16), "rolled back"),
        (FOUND._replace(writes=6), "rolled back"),
    ],
)
def test_each_difference_from_the_guard_is_named(said, word):
    assert word in mismatch(FOUND, said)


@pytest.mark.parametrize("behind", [0, 3])
def test_a_guard_behind_the_store_is_no_mismatch(behind):
    assert mismatch(FOUND, FOUND._replace(writes=5 - behind)) == ""


def write(store, clock=0, **more):
    row = Row(*FEED, clock, bytes([clock]) * 32, b"value")
    store.commit(Persist({RowKey(*row[:4]): row}, **more), [], 0)


@pytest.fixture
def path(tmp_path):
    """A store as an earlier daemon left it."""
    path = tmp_path / "store.db"
    with Store(path) as store:
        assert store.doubt
        write(store, 0, doubt="")
    return path


def doubt_of(path):
    with Store(path) as store:
        return store.doubt


def test_a_closed_store_is_trusted_again(path):
    for clock in range(1, 4):
        with Store(path) as store:
            assert store.doubt == ""
            write(store, clock)


def test_a_killed_daemon_leaves_a_store_that_is_trusted(path):
    store = Store(path)
    write(store, 1)
    store._db.close(force=True)  # as a kill: nothing is said to the witness
    store._guard.close()
    store.close()
    assert doubt_of(path) == ""


def test_an_older_copy_is_detected(path, tmp_path):
    shutil.copy(path, tmp_path / "backup")
    with Store(path) as store:
        write(store, 1)
    path.write_bytes((tmp_path / "backup").read_bytes())  # in place: the same inode
    assert "rolled back" in doubt_of(path)


def test_a_copy_restored_within_one_run_is_detected(path, tmp_path):
    with Store(path) as store:
        write(store, 1)
        store._db.wal_checkpoint(mode=3)
        backup = path.read_bytes()
        write(store, 2)
    path.write_bytes(backup)
    assert "rolled back" in doubt_of(path)


def test_a_copy_is_detected_with_or_without_guard(path, tmp_path):
    alone = tmp_path / "alone.db"
    shutil.copy(path, alone)
    assert "no .witness file" in doubt_of(alone)
    clone = tmp_path / "clone" / "store.db"
    clone.parent.mkdir()
    for suffix in ("", rollback_guard.SUFFIX):
        shutil.copy(f"{path}{suffix}", f"{clone}{suffix}")
    assert "copy" in doubt_of(clone)


def test_another_host_is_noticed(path, monkeypatch):
    monkeypatch.setattr(rollback_guard, "MACHINE_ID", path)  # any other text
    assert "another host" in doubt_of(path)


def test_a_doubt_survives_a_crash_until_a_new_feed(path):
    path.with_name(path.name + rollback_guard.SUFFIX).unlink()
    assert doubt_of(path)
    assert doubt_of(path)
    with Store(path) as store:
        write(store, 1, incarnation=9, doubt="")
    assert doubt_of(path) == ""


def test_an_unreadable_guard_file_is_a_mismatch(path):
    path.with_name(path.name + rollback_guard.SUFFIX).write_bytes(b"\xff\xfe not a witness")
    assert "no .witness file" in doubt_of(path)
