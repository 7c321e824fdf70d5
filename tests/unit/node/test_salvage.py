"""What a disk does to a store, and what is made of it again."""

import asyncio
import contextlib
import os

import apsw
import pytest

from crdt.identity import FeedId
from crdt.intents import AddStory
from crdt.ready import Persist, ProofRow, Row, RowKey
from machines.values import FreeText, StoryId
from node import config, founding, salvage
from node.config import Peer
from node.daemon import open_driver
from node.driver import now
from node.errors import StoreDamaged, StoreFailure
from node.home import Home
from node.store import Store
from node.ticket import TicketRow
from tests.support.authors import Pen
from tests.support.cluster import START, Found, key

FOUND = Found()
PEN = Pen(FOUND.founder, FOUND.id, START.ms, clock=1)
FEED = FeedId(FOUND.founder.pubkey, 0)
MANY = 200
RECORDS = [FOUND.record, *(PEN.story(f"s-{n}", title="x" * 200) for n in range(MANY))]
ROWS = [Row(*record.ref, record.value) for record in RECORDS]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "store.db"
    persist = Persist(rendered={FEED: MANY + 1}, addresses={key(2).pubkey: ("two:1",)}, doubt="")
    for row in ROWS:
        persist.rows[RowKey(*row[:4])] = row
    with Store(path) as store:
        store.commit(persist, [], START.ms)
        store.add_ticket(TicketRow(b"t" * 32, "member", 5), 0)
    return path


def spoil_row(path, clock, at):
    """One bit of a record's value, behind the store's back."""
    with contextlib.closing(apsw.Connection(str(path))) as database:
        ((value,),) = database.execute("SELECT value FROM records WHERE clock = ?", (clock,))
        value = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        database.execute("UPDATE records SET value = ? WHERE clock = ?", (value, clock))


def leaf_pages(path):
    """The pages that hold records and nothing else hangs on."""
    with contextlib.closing(apsw.Connection(str(path))) as database:
        query = "SELECT pageno FROM dbstat WHERE name = 'records' AND pagetype = 'leaf'"
        return [number for (number,) in database.execute(query)]


def spoil_page(path, number):
    with path.open("r+b") as file:
        file.seek((number - 1) * 4096)
        file.write(os.urandom(4096))


def read(path):
    with Store(path) as store:
        return list(store.rows())


def rebuilt(path):
    with pytest.raises(StoreDamaged):
        read(path)
    return salvage.rebuild(path, FOUND.id, FOUND.founder.pubkey)


@pytest.mark.parametrize("at", [0, 40, 63, 64, 120])
def test_a_bit_anywhere_in_a_record_is_found_and_costs_that_record_alone(path, at):
    spoil_row(path, 7, at)
    saved = rebuilt(path)
    assert (saved.kept, saved.bad, saved.unread) == (MANY, 1, 0)
    assert read(path) == [row for row in ROWS if row.clock != 7]
    with Store(path) as store:
        assert store.rendered() == {FEED: 7}, "nothing behind it is taken for empty"
        assert "damaged" in store.doubt
        assert store.addresses() == {key(2).pubkey: ("two:1",)}
        assert store.tickets() == [TicketRow(b"t" * 32, "member", 5)]
        assert store.meta(salvage.HURT)
    assert saved.aside.exists()


def test_a_torn_page_costs_what_stood_on_it(path):
    pages = leaf_pages(path)
    spoil_page(path, pages[len(pages) // 2])
    saved = rebuilt(path)
    kept = read(path)
    assert saved.unread
    assert set(kept) < set(ROWS)
    assert kept[0] == ROWS[0]
    assert kept[-1] == ROWS[-1], "the scan goes on behind it"
    assert len(kept) > MANY * 0.8


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_of_a_truncated_file_what_is_there_is_kept(path, share):
    size = int(path.stat().st_size * share) // 512 * 512
    os.truncate(path, size)
    saved = rebuilt(path)
    assert saved.aside.stat().st_size == size, "kept as it is"
    assert set(read(path)) <= set(ROWS)


def test_a_file_that_is_no_database_is_set_aside_too(path):
    path.write_bytes(b"no database" * 1000)
    saved = rebuilt(path)
    assert saved.aside.read_bytes().startswith(b"no database")
    assert read(path) == []


def test_a_missing_wal_is_an_older_store_and_is_doubted(tmp_path):
    path = tmp_path / "store.db"
    store = Store(path)
    for row in ROWS[:3]:
        persist = Persist(doubt="")
        persist.rows[RowKey(*row[:4])] = row
        store.commit(persist, [], START.ms)
    # As a kill leaves it: nothing is carried over.
    (tmp_path / "killed").mkdir()
    for name in ("store.db", "store.db-wal"):
        (tmp_path / "killed" / name).write_bytes((tmp_path / name).read_bytes())
    store.close()
    path.write_bytes((tmp_path / "killed" / "store.db").read_bytes())
    with Store(path) as again:
        assert list(again.rows()) == []
        assert "put back" in again.doubt


def test_a_symlink_is_refused_and_left_alone(path, tmp_path):
    real = path.rename(tmp_path / "elsewhere.db")
    path.symlink_to(real)
    with pytest.raises(StoreFailure, match="symlink"):
        Store(path)
    assert path.is_symlink()


def test_a_proof_that_proves_nothing_is_not_taken_over(path):
    with Store(path) as store:
        proof = ProofRow(*FEED, 5, ((b"s" * 64, b"h" * 32), (b"t" * 64, b"i" * 32)))
        store.commit(Persist(proofs=[proof]), [], 0)
    spoil_row(path, 7, 0)
    rebuilt(path)
    with Store(path) as store:
        assert store.proofs() == []


def test_a_rebuilding_that_was_cut_off_is_begun_again(path, monkeypatch):
    spoil_row(path, 7, 0)

    def cut_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(salvage, "_take_records", cut_off)
        with pytest.raises(KeyboardInterrupt):
            rebuilt(path)
    assert not path.exists()
    assert salvage.left_aside(path) is not None
    salvage.rebuild(path, FOUND.id, FOUND.founder.pubkey)
    assert len(read(path)) == MANY
    assert salvage.left_aside(path) is None


def test_a_store_of_an_earlier_version_is_salvaged_too(path):
    with contextlib.closing(apsw.Connection(str(path))) as database:
        database.execute(
            "ALTER TABLE records DROP COLUMN sum; DROP TABLE history; "
            "ALTER TABLE tickets ADD COLUMN used_by BLOB; "
            "ALTER TABLE tickets DROP COLUMN uses; ALTER TABLE tickets DROP COLUMN withdrawn"
        )
        database.pragma("user_version", 2)
    pages = leaf_pages(path)
    spoil_page(path, pages[len(pages) // 2])
    saved = rebuilt(path)
    assert saved.kept == len(read(path)) > MANY * 0.8
    with Store(path) as store:
        assert store.tickets() == [TicketRow(b"t" * 32, "member", 5)]


class Lone:
    """A founder whose store lost a record."""

    def __init__(self, path):
        self.home = Home(path / "home")
        founding.found(self.home, "lone", "")
        self.settings = config.load(self.home.config)
        written = asyncio.run(self._write())
        spoil_row(self.home.store, written.clock, 70)

    async def _write(self):
        return await self.with_driver(open_driver(self.home, self.settings), "s-1")

    async def with_driver(self, driver, story):
        running = asyncio.create_task(driver.run())
        try:
            return await driver.propose(AddStory(StoryId(story), FreeText("t")))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await driver.stop()


def test_alone_it_starts_read_only_and_says_how_to_go_on(tmp_path):
    lone = Lone(tmp_path)
    driver = open_driver(lone.home, lone.settings)
    with pytest.raises(StoreFailure, match="accept-loss"):
        asyncio.run(lone.with_driver(driver, "s-2"))
    driver = open_driver(lone.home, lone.settings)
    assert "read-only" in driver.replica.writable(now()), "a restart settles nothing"
    asyncio.run(driver.stop())


def test_who_accepts_the_loss_goes_on_in_a_new_feed(tmp_path):
    lone = Lone(tmp_path)
    driver = open_driver(lone.home, lone.settings, accept_loss=True)
    asyncio.run(driver.stop())
    driver = open_driver(lone.home, lone.settings, accept_loss=True)
    receipt = asyncio.run(lone.with_driver(driver, "s-2"))
    assert receipt.incarnation != 0


def test_who_knows_a_peer_writes_on_in_a_new_feed(tmp_path):
    lone = Lone(tmp_path)
    settings = config.Config(
        cluster=lone.settings.cluster,
        founder=lone.settings.founder,
        listen="",
        peers=[Peer(key(2).pubkey.hex(), "two:1")],
    )
    receipt = asyncio.run(lone.with_driver(open_driver(lone.home, settings), "s-2"))
    assert receipt.incarnation != 0
