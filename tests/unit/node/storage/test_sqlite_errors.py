"""What SQLite says of a file, in sentences that are true whoever else uses it."""

import contextlib
import errno
import os
import resource
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest

from crdt.contract.ready import Persist
from node.storage.sqlite_errors import LOCKED, LOCKING_CODES, failure
from node.storage.store import Store
from node.system.errors import DiskFull, StoreFailure


@contextlib.contextmanager
def used_by_another(path, mode):
    """Another program's transaction, for as long as the block lasts."""
    with contextlib.closing(apsw.Connection(str(path))) as other:
        other.execute("PRAGMA locking_mode = exclusive" if mode == "EXCLUSIVE" else "")
        other.execute(f"BEGIN {mode}")
        other.execute("DELETE FROM quarantine")
        yield
        other.execute("ROLLBACK")


def test_a_lock_of_another_program_is_no_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("node.storage.database.BUSY_MS", 0)
    path = tmp_path / "store.db"
    with Store(path) as store:
        with used_by_another(path, "IMMEDIATE"), pytest.raises(StoreFailure) as told:
            store.commit(Persist(), [], 0)
        assert not isinstance(told.value, DiskFull)
        assert "another program has locked it: a tool such as sqlite3 (end it)" in str(told.value)
        store.commit(Persist(), [], 0)


def test_a_reader_is_told_what_may_lock_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("node.storage.database.BUSY_MS", 0)
    path = tmp_path / "store.db"
    Store(path).close()
    with used_by_another(path, "EXCLUSIVE"), pytest.raises(StoreFailure) as told:
        Store(path, readonly=True)
    assert "such as sqlite3" in str(told.value)
    assert "a daemon that runs while its disk is full" in str(told.value)


def met(kind, extended=0, number=0):
    """An error of SQLite, and what the system said last."""
    fault = kind("what SQLite says")
    fault.extendedresult = extended
    return fault, SimpleNamespace(system_errno=number)


@pytest.mark.parametrize(
    ("kind", "extended", "number", "words"),
    [
        *((kind, 0, 0, "another program has locked it") for kind in LOCKED),
        *((apsw.IOError, code, 0, "keep the home on a local disk") for code in LOCKING_CODES),
        (apsw.IOError, apsw.SQLITE_IOERR_NOMEM, 0, "no memory left"),
        (apsw.IOError, apsw.SQLITE_IOERR_WRITE, errno.EFBIG, "ulimit -f"),
        (apsw.IOError, apsw.SQLITE_IOERR_WRITE, errno.EIO, "the disk failed"),
        (apsw.NoMemError, 0, 0, "no memory left"),
        (apsw.ReadOnlyError, 0, 0, "this user may not write to it"),
        (apsw.PermissionsError, 0, 0, "this user may not write to it"),
        (apsw.CantOpenError, 0, errno.EMFILE, "ulimit -n"),
        (apsw.CantOpenError, 0, errno.ENFILE, "this host can open no more files"),
        (apsw.SQLError, 0, 0, "what SQLite says"),
    ],
)
def test_an_error_that_is_no_full_disk_is_not_called_one(tmp_path, kind, extended, number, words):
    told = failure("write to", tmp_path / "store.db", *met(kind, extended, number))
    assert words in str(told)
    assert "make room" not in str(told).replace("its disk is full (make room)", "")
    assert not isinstance(told, DiskFull)


def test_why_a_file_does_not_open_is_looked_up(tmp_path):
    def why(path):
        return str(failure("open", path, apsw.CantOpenError("unable to open"), None))

    assert f"there is no folder {tmp_path / 'none'}" in why(tmp_path / "none" / "store.db")
    assert "may this user write to it" in why(tmp_path / "store.db")
    least = max(int(one.name) for one in Path("/dev/fd").iterdir()) + 1
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (least + 1, before[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        told = why(tmp_path / "store.db")
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert "ulimit -n" in told


def test_an_error_of_the_system_is_told_in_its_words(tmp_path):
    fault = OSError(errno.EMFILE, "Too many open files")
    assert "ulimit -n" in str(failure("read", tmp_path / "store.db", fault, None))
    fault = OSError(errno.EACCES, "Permission denied")
    assert "Permission denied" in str(failure("read", tmp_path / "store.db", fault, None))
