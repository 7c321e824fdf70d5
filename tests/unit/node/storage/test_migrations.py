"""Every version of the tables that there ever was, brought to today's from its frozen file."""

import contextlib
import shutil
from pathlib import Path

import apsw
import pytest

from crdt.contract.ready import Persist, Row, RowKey
from node.storage.database import AUTO_VACUUM_INCREMENTAL
from node.storage.migrations import MIGRATIONS
from node.storage.store import Store
from node.system.errors import StoreFailure
from tests.support.builders.cluster import START, key
from tests.support.tools import freeze

FROZEN = sorted((Path(__file__).parents[3] / "stores").glob("version-*.db"))


@pytest.fixture(params=FROZEN, ids=lambda path: path.stem)
def path(request, tmp_path):
    return Path(shutil.copyfile(request.param, tmp_path / "store.db"))


def test_there_is_a_frozen_file_of_every_version():
    versions = []
    for file in FROZEN:
        with contextlib.closing(
            apsw.Connection(f"file:{file}?immutable=1", flags=0x41)
        ) as database:
            versions.append(database.pragma("user_version"))
    assert versions == list(range(1, len(MIGRATIONS) + 1))


def check(store):
    assert sorted(store.rows()) == sorted(freeze.ROWS)
    assert store.proofs() == [freeze.PROOF]
    assert store.rendered() == freeze.RENDERED
    assert store.addresses() == freeze.ADDRESSES
    assert [row[6] for row in store.quarantine()] == ["bad_signature"]
    assert store.settled() == []
    assert store.history() == []


def test_an_earlier_version_is_upgraded_whole(path):
    extra = Row(key(2).pubkey, 7, 0, b"r" * 32, b"value")
    with Store(path) as store:
        check(store)
        assert [row[:4] for row in store.tickets()] == [(freeze.TICKET, "member", START.ms, 1)]
        assert store._db.pragma("user_version") == len(MIGRATIONS)
        assert store._db.pragma("auto_vacuum") == AUTO_VACUUM_INCREMENTAL
        persist = Persist()
        persist.rows[RowKey(*extra[:4])] = extra
        store.commit(persist, [], 0)
    with Store(path) as store:
        assert set(store.rows()) == {*freeze.ROWS, extra}


def test_an_earlier_version_can_be_looked_at_as_it_is(path):
    before = path.read_bytes()
    with Store(path, readonly=True) as store:
        check(store)
    assert path.read_bytes() == before


def test_a_failed_migration_keeps_the_old_version(path, monkeypatch):
    monkeypatch.setattr(
        "node.storage.database.MIGRATIONS", (*MIGRATIONS, "CREATE TABLE t (x); nonsense;")
    )
    with pytest.raises(StoreFailure):
        Store(path)
    monkeypatch.undo()
    with Store(path) as store:
        check(store)
