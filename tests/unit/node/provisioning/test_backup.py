"""A backup that was made can be restored, and one that is damaged is not."""

import contextlib
import random
import stat

import apsw
import pytest
from typer.testing import CliRunner

from node.cli.main import app
from node.config import key_file
from node.provisioning import backup, init_join
from node.storage.migrations import MIGRATIONS
from node.storage.store import Store
from node.system.errors import OperatorError
from node.system.home import Home
from tests.support.tools.downgrade import without_sums

FLIPS = 40
TOTAL = "UPDATE total SET sum = sum + 1"
PROOF = "INSERT INTO proofs SELECT author, 0, 0, randomblob(192) FROM feeds"
SPOILED = {
    "feed ? #0 is not as it was written": "UPDATE feeds SET id = id + 1",
    "/0#0 is not as it was written": "UPDATE records SET value = CAST('other' AS BLOB)",
    "older than the rest": TOTAL,
    "its tables": "CREATE TABLE another (one)",
    "its tables are not": "PRAGMA user_version = 4",
    "application id is wrong": "PRAGMA application_id = 7",
    "1 damaged row in table feeds": "UPDATE feeds SET rendered = 5",
    "1 damaged row in table meta": "UPDATE meta SET value = x'00' WHERE name = 'writes'",
    "one of its proofs proves no fork": PROOF,
    "a proof": "INSERT INTO proofs SELECT author, 0, -1, zeroblob(192) FROM feeds",
}


@pytest.fixture
def den(tmp_path):
    home = Home(tmp_path / "den")
    init_join.found(home, "den", "")
    return home


def gangline(home, *args):
    return CliRunner().invoke(app, ["--home", str(home.path), *map(str, args)])


def spoil(path, statement):
    database = apsw.Connection(str(path))
    database.execute("PRAGMA foreign_keys = off")
    database.execute(statement)
    database.close()


@pytest.mark.parametrize(("word", "statement"), SPOILED.items())
def test_a_damaged_store_is_not_backed_up(den, tmp_path, word, statement):
    spoil(den.store, statement)
    folder = tmp_path / "kept"
    folder.mkdir()
    told = gangline(den, "backup", folder / "den.gangline")
    assert told.exit_code == 5, told.output
    assert f"{den.store} is damaged: " in told.output
    assert word in told.output
    assert ".partial" not in told.output
    assert list(folder.iterdir()) == []


def test_damaged_pages_are_not_backed_up(den, tmp_path):
    data = bytearray(den.store.read_bytes())
    data[4096:] = bytes(byte ^ 0x55 for byte in data[4096:])
    den.store.write_bytes(data)
    told = gangline(den, "backup", tmp_path / "den.gangline")
    assert told.exit_code == 5, told.output
    assert list(tmp_path.iterdir()) == [den.path]


def test_a_damaged_store_takes_no_good_backup_away(den, tmp_path):
    file = tmp_path / "den.gangline"
    backup.backup(den, file)
    good = file.read_bytes()
    spoil(den.store, TOTAL)
    assert gangline(den, "backup", file, "--force").exit_code == 5
    assert file.read_bytes() == good


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_backup_with_a_wrong_version_is_refused(den, tmp_path, version):
    file, fresh = tmp_path / "den.gangline", Home(tmp_path / "fresh")
    backup.backup(den, file, with_key=True)
    spoil(file, f"PRAGMA user_version = {version}")
    told = gangline(fresh, "restore", file)
    assert told.exit_code == 5, told.output
    assert f"{file} is damaged: its tables are not those of its version" in told.output
    assert not fresh.store.exists()


def test_a_backup_with_an_invalid_proof_is_refused(den, tmp_path):
    file, fresh = tmp_path / "den.gangline", Home(tmp_path / "fresh")
    backup.backup(den, file, with_key=True)
    spoil(file, PROOF)
    told = gangline(fresh, "restore", file)
    assert told.exit_code == 5, told.output
    assert f"{file} is damaged: one of its proofs proves no fork" in told.output
    assert not fresh.store.exists()


@pytest.mark.parametrize("statement", [TOTAL, "DELETE FROM total"])
def test_a_backup_that_does_not_add_up_is_refused(den, tmp_path, statement):
    file, fresh = tmp_path / "den.gangline", Home(tmp_path / "fresh")
    backup.backup(den, file, with_key=True)
    spoil(file, statement)
    told = gangline(fresh, "restore", file)
    assert told.exit_code == 5, told.output
    assert f"{file} is damaged: a part of it is older than the rest" in told.output
    assert not fresh.store.exists()
    assert not fresh.config.exists()


def test_an_earlier_version_is_backed_up_and_restored(den, tmp_path):
    file, fresh = tmp_path / "den.gangline", Home(tmp_path / "fresh")
    with contextlib.closing(apsw.Connection(str(den.store))) as database:
        without_sums(database)
    backup.backup(den, file)
    backup.restore(fresh, file, as_new=True, name="new")
    with Store(fresh.store) as store:
        assert len(list(store.rows())) == 1


def test_every_backup_of_a_damaged_store_restores(den, tmp_path):
    chance = random.Random(1)
    good = den.store.read_bytes()
    file, fresh = tmp_path / "den.gangline", Home(tmp_path / "fresh")
    used = [at for at, byte in enumerate(good) if byte]
    refused = 0
    for at in chance.sample(used, FLIPS):
        spoiled = bytearray(good)
        spoiled[at] ^= 1 << chance.randrange(8)
        den.store.write_bytes(spoiled)
        try:
            backup.backup(den, file, with_key=True, force=True)
        except OperatorError:
            refused += 1
            assert not file.exists()
            continue
        backup.restore(fresh, file, force=True)
        with Store(fresh.store) as store:
            assert len(list(store.rows())) == 1
        file.unlink()
    assert 0 < refused < FLIPS


@pytest.mark.parametrize("way", ["a backup of another", "as a new node"])
def test_a_key_that_another_takes_the_place_of_is_kept(den, tmp_path, way):
    file = tmp_path / "den.gangline"
    backup.backup(den, file, with_key=True)
    home = Home(tmp_path / "other")
    init_join.found(home, "other", "127.0.0.1:0")
    was, own = home.key.read_bytes(), key_file.load(home.key).pubkey
    args = ("--as-new", "--name", "x", "--listen", "") if way == "as a new node" else ()
    told = gangline(home, "restore", file, "--force", *args)
    assert told.exit_code == 0, told.output
    assert key_file.load(home.key).pubkey != own
    kept = home.path / f"node.key.{own.short}"
    assert kept.read_bytes() == was
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_key_file_that_is_none_is_put_aside_too(den, tmp_path):
    file = tmp_path / "den.gangline"
    backup.backup(den, file, with_key=True)
    good = den.key.read_bytes()
    den.key.write_bytes(b"half a k")
    told = gangline(den, "restore", file, "--force")
    assert told.exit_code == 0, told.output
    assert den.key.read_bytes() == good
    assert [p.read_bytes() for p in den.path.glob("node.key.*")] == [b"half a k"]
