"""A config and a store of two clusters: nothing is written, and nothing is lost."""

import asyncio
import contextlib

import apsw
import msgspec
import pytest
from typer.testing import CliRunner

from node import daemon
from node.cli.main import app
from node.config import settings
from node.daemon import open_driver
from node.reporting import store_origin
from node.storage.store import Store
from node.system.errors import OperatorError, StoreDamaged
from tests.support.builders.stores import Lone


@pytest.fixture
def lone(tmp_path):
    return Lone(tmp_path, spoiled=False)


def other(key):
    """A key with one wrong digit."""
    return ("1" if key[0] == "0" else "0") + key[1:]


def misled(lone, field):
    """The settings with one wrong digit, on disk too."""
    right = getattr(lone.settings, field)
    wrong = msgspec.structs.replace(lone.settings, **{field: other(right)})
    settings.write(lone.home.config, wrong)
    return wrong, right


def gangline(lone, *args):
    return CliRunner().invoke(app, ["--home", str(lone.home.path), *args])


@pytest.mark.parametrize("field", ["cluster", "founder"])
def test_a_wrong_digit_is_named_and_repaired(lone, field):
    wrong, right = misled(lone, field)
    with pytest.raises(OperatorError) as told:
        open_driver(lone.home, wrong)
    assert f"{field} is {other(right)}, but the store's is {right}" in told.value.message
    assert "gangline init --repair" in told.value.message
    assert gangline(lone, "run").exit_code == 1
    repaired = gangline(lone, "init", "--repair", "--listen", lone.settings.listen)
    assert repaired.exit_code == 0
    assert settings.load(lone.home.config) == lone.settings
    asyncio.run(lone.with_driver(open_driver(lone.home, lone.settings), "s-2"))


@pytest.mark.parametrize("field", ["cluster", "founder"])
def test_a_damaged_store_is_not_thrown_away_for_it(tmp_path, field):
    lone = Lone(tmp_path)
    wrong, _ = misled(lone, field)
    with pytest.raises(StoreDamaged), Store(lone.home.store) as store:
        list(store.rows())
    before = lone.home.store.read_bytes()
    with pytest.raises(OperatorError, match=f"{field} is"):
        daemon._rebuild(lone.home, wrong, None)
    assert lone.home.store.read_bytes() == before
    daemon._rebuild(lone.home, lone.settings, None)
    with Store(lone.home.store) as store:
        assert store.first_records()


@pytest.mark.parametrize("size", [0, 31, 33])
def test_an_invalid_record_id_hides_no_founding_record(lone, size):
    """What its author signed says which cluster it founded; the column beside it does not."""
    wrong, _ = misled(lone, "cluster")
    with contextlib.closing(apsw.Connection(str(lone.home.store))) as database:
        database.execute("UPDATE records SET record_id = zeroblob(?)", (size,))
    with pytest.raises(OperatorError, match="cluster is"):
        daemon._rebuild(lone.home, wrong, None)


def test_a_spoiled_founding_record_speaks_for_no_cluster(lone):
    with Store(lone.home.store) as store:
        (first,) = store.first_records()
    assert store_origin.difference(lone.settings, [first]) == ""
    spoiled = first._replace(value=first.value[:-1] + bytes([first.value[-1] ^ 1]))
    assert store_origin.difference(lone.settings, [spoiled]) == ""
    unread = first._replace(value=first.value[:70])
    assert store_origin.difference(lone.settings, [unread]) == ""


def test_own_records_of_another_cluster_are_set_aside(lone, monkeypatch):
    wrong, _ = misled(lone, "cluster")
    with monkeypatch.context() as before:
        # A release that did not look wrote them.
        before.setattr(store_origin, "check_config", lambda *_: None)
        before.setattr(store_origin, "check_own", lambda *_: None)
        forged = asyncio.run(lone.with_driver(open_driver(lone.home, wrong), "s-2"))
    asyncio.run(open_driver(lone.home, lone.settings).stop())
    driver = open_driver(lone.home, lone.settings, accept_loss=True)
    receipt = asyncio.run(lone.with_driver(driver, "s-3"))
    assert receipt.incarnation != forged.incarnation
    with Store(lone.home.store, readonly=True) as store:
        kept = [(row.incarnation, row.clock) for row in store.rows()]
    assert (forged.incarnation, forged.clock) not in kept
    assert gangline(lone, "inspect", "verify").exit_code == 0


def test_only_the_last_own_records_are_read(lone):
    own = lone.written.author
    with Store(lone.home.store) as store:
        everything = sorted((row.incarnation, row.clock) for row in store.rows())
        assert [(r.feed.incarnation, r.clock) for r in store.last_records(own, 1)] == everything[
            -1:
        ]
        assert [(r.feed.incarnation, r.clock) for r in store.last_records(own, 9)] == everything[
            ::-1
        ]
    with contextlib.closing(apsw.Connection(str(lone.home.store))) as database:
        plan = database.execute(
            "EXPLAIN QUERY PLAN SELECT value FROM feeds JOIN records ON feed = id "
            "WHERE author = ? ORDER BY incarnation DESC, clock DESC LIMIT 1",
            (b"",),
        ).fetchall()
    assert "SCAN" not in str(plan)
