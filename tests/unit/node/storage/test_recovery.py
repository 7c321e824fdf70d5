"""What a disk does to a store, and what is made of it again."""

import asyncio
import contextlib
import functools
import os
import random
import re

import apsw
import pytest

from crdt.contract.ready import Noticed, Persist, ProofRow, Quarantined, Row, RowKey, StageMoved
from crdt.primitives.errors import HeldUp, Reason
from crdt.primitives.identity import FeedId, RecordId
from crdt.records.fork_proof import proof_of, proof_side
from machines.pipeline import Backlog, Coding
from node import daemon
from node.client.http_client import Client
from node.config import settings as config
from node.config.settings import PeerSettings
from node.daemon import open_driver, open_replica
from node.runtime.operator_notices import Notices
from node.storage import recovery, recovery_scan
from node.storage.meta_keys import MetaKey
from node.storage.migrations import MIGRATIONS, TOTALLED
from node.storage.recovery_report import RecoveryReport
from node.storage.store import Store
from node.storage.ticket_rows import TicketRow
from node.system import clock
from node.system.errors import OperatorError, StoreDamaged, StoreFailure
from tests.support.builders.cluster import START, Found, key
from tests.support.builders.record_author import RecordAuthor
from tests.support.builders.stores import Lone, speaks, spoil_row
from tests.support.tools.downgrade import without_sums

FOUND = Found()
PEN = RecordAuthor(FOUND.founder, FOUND.id, START.ms, clock=1)
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


def leaf_pages(path):
    """The pages that hold records and nothing else hangs on."""
    return pages_of(path, "records")


def pages_of(path, table):
    with contextlib.closing(apsw.Connection(str(path))) as database:
        query = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'"
        return [number for (number,) in database.execute(query, (table,))]


def put_back(path, table, before):
    """The one page of a table as it was."""
    (page,) = pages_of(path, table)
    data, place = bytearray(path.read_bytes()), slice((page - 1) * 4096, page * 4096)
    assert data[place] != before[place]
    data[place] = before[place]
    path.write_bytes(data)


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
    return recovery.rebuild(path, FOUND.id, FOUND.founder.pubkey)


@pytest.mark.parametrize("at", [0, 40, 63, 64, 120])
def test_a_flipped_bit_costs_only_its_record(path, at):
    spoil_row(path, 7, at)
    saved = rebuilt(path)
    assert (saved.kept, saved.bad, saved.unread) == (MANY, 1, 0)
    assert read(path) == [row for row in ROWS if row.clock != 7]
    with Store(path) as store:
        assert store.rendered() == {FEED: 7}, "nothing behind it is taken for empty"
        assert "damaged" in store.doubt
        assert store.addresses() == {key(2).pubkey: ("two:1",)}
        assert store.tickets() == [TicketRow(b"t" * 32, "member", 5)]
        assert store.meta(MetaKey.HURT)
    assert saved.aside.exists()


@pytest.mark.parametrize("clock", [2, MANY])
def test_a_clock_that_is_none_costs_that_record_alone(path, clock):
    """One bit, and the file says that it comes before the first."""
    data = bytearray(path.read_bytes())
    at = data.index(RECORDS[clock].record_id) - 1
    assert data[at] == clock
    data[at - (clock > 127)] ^= 0x80
    path.write_bytes(data)
    saved = rebuilt(path)
    assert (saved.kept, saved.bad) == (MANY, 1)
    assert read(path) == [row for row in ROWS if row.clock != clock]
    with Store(path) as store:
        assert store.rendered() == {FEED: 0}


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


@pytest.mark.parametrize("size", [0, 1, 16, 99, 100, 511, 512, 1000, 4095])
def test_an_emptied_store_is_damage(path, size):
    os.truncate(path, size)
    saved = rebuilt(path)
    assert saved.aside.stat().st_size == size
    assert saved.lacks
    with Store(path) as store:
        assert list(store.rows()) == []
        assert "damaged" in store.doubt
        assert store.meta(MetaKey.HURT)


def test_a_wal_beside_an_empty_store_is_kept_as_it_is(path):
    wal = path.with_name(path.name + "-wal")
    os.truncate(path, 0)
    wal.write_bytes(b"frames")
    saved = rebuilt(path)
    assert saved.aside.with_name(saved.aside.name + "-wal").read_bytes() == b"frames"


def test_an_empty_file_is_a_new_store(tmp_path):
    path = tmp_path / "store.db"
    path.touch()
    with Store(path) as store:
        assert "no .witness file" in store.doubt


def test_a_daemon_starts_whatever_byte_is_changed(tmp_path):
    """Somewhere in the file, one byte or a few in a row; also where it makes no text of a text."""
    lone = Lone(tmp_path, spoiled=False)
    with Store(lone.home.store) as store:
        persist = Persist(addresses={key(2).pubkey: ("two:1",)}, reissue_done=[RecordId(b"s" * 32)])
        turned = Quarantined(key(2).pubkey, FEED, 1, None, Reason.BAD_SIGNATURE, "detail", b"b")
        store.commit(persist, [turned], START.ms, [Noticed("what", "detail")])
        store.add_ticket(TicketRow(b"t" * 32, "member", 5), 0)
    path = lone.home.store
    whole = path.read_bytes()
    used = [at for at in range(len(whole)) if whole[at]]
    rng = random.Random(4)
    noticed = 0
    for _ in range(100):
        data = bytearray(whole)
        at = rng.choice(used)
        for offset in range(rng.choice((1, 1, 4))):
            if at + offset < len(data):
                data[at + offset] ^= rng.choice((0x01, 0x80, 0xFF, 0x40))
        path.write_bytes(data)
        driver = open_driver(lone.home, lone.settings)
        asyncio.run(driver.stop())
        for aside in path.parent.glob("*.damaged-*"):
            noticed += 1
            aside.unlink()
    assert noticed > 20


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
        assert "has lost everything" in again.doubt


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


@pytest.mark.parametrize(
    "hurt",
    [
        "UPDATE feeds SET rendered = rendered + 1024 WHERE id = 1",
        "UPDATE feeds SET incarnation = 7 WHERE id NOT IN (SELECT feed FROM records)",
        "UPDATE meta SET value = x'00000001' WHERE name = 'incarnation'",
        "UPDATE meta SET name = 'eoubt' WHERE name = 'doubt'",
        "UPDATE addresses SET text = 'two:0'",
        "UPDATE addresses SET text = CAST(x'80' AS TEXT)",
        "UPDATE tickets SET withdrawn = 0",
        "UPDATE tickets SET expires = expires + 1073741824",
        "UPDATE settled SET record_id = zeroblob(32)",
    ],
)
def test_a_damaged_row_of_a_small_table_is_left_out(path, hurt):
    with Store(path) as store:
        store.commit(Persist(incarnation=0, reissue_done=[RECORDS[1].record_id]), [], 0)
        store.commit(Persist(rendered={FeedId(key(2).pubkey, 0): 3}), [], 0)
        store.withdraw_ticket(b"t" * 32)
    with contextlib.closing(apsw.Connection(str(path))) as database:
        database.execute(hurt)
        assert database.changes() == 1
    with pytest.raises(StoreDamaged, match=r"1 damaged row in table "):
        Store(path)
    with Store(path, readonly=True) as store, pytest.raises(StoreDamaged, match="1 damaged row"):
        store.check(FOUND.id)
    saved = rebuilt(path)
    assert "1 other row is damaged and left out" in saved.message
    assert saved.kept == len(ROWS)
    assert not saved.lacks
    with Store(path) as store:
        assert list(store.rows()) == ROWS
        assert store.doubt


def test_a_rebuilding_that_was_cut_off_is_begun_again(path, monkeypatch):
    spoil_row(path, 7, 0)

    def cut_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(recovery_scan, "take_records", cut_off)
        with pytest.raises(KeyboardInterrupt):
            rebuilt(path)
    assert not path.exists()
    assert recovery.unfinished_rebuild(path) is not None
    recovery.rebuild(path, FOUND.id, FOUND.founder.pubkey)
    assert len(read(path)) == MANY
    assert recovery.unfinished_rebuild(path) is None


def test_a_store_of_an_earlier_version_is_salvaged_too(path):
    with contextlib.closing(apsw.Connection(str(path))) as database:
        without_sums(database)
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


def test_alone_it_starts_read_only_and_says_how_to_go_on(tmp_path):
    lone = Lone(tmp_path)
    driver = open_driver(lone.home, lone.settings)
    with pytest.raises(HeldUp, match="accept-loss"):
        asyncio.run(lone.with_driver(driver, "s-2"))
    driver = open_driver(lone.home, lone.settings)
    assert "read-only" in driver._replica.write_state(clock.now()).why, "a restart settles nothing"
    asyncio.run(driver.stop())


def test_status_reports_a_rebuild(tmp_path):
    lone, notices = Lone(tmp_path), Notices()
    driver = open_driver(lone.home, lone.settings, notices=notices)
    told = notices.current(driver._replica, clock.now())
    asyncio.run(driver.stop())
    when = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.search(rf"damaged and was mended at {when}: (no|\d+) records? of", told[-1])


def test_accept_loss_is_offered_only_if_it_helps(tmp_path):
    lone = Lone(tmp_path, spoiled=False)
    os.truncate(lone.home.store, 0)
    driver = open_driver(lone.home, lone.settings)
    with pytest.raises(HeldUp, match=r"gangline restore.*\[\[peers\]\]") as told:
        asyncio.run(lone.with_driver(driver, "s-2"))
    assert "accept-loss" not in str(told.value)


async def test_a_daemon_with_a_truncated_store_serves_reads(tmp_path):
    lone = await asyncio.to_thread(Lone, tmp_path, spoiled=False)
    running = asyncio.create_task(daemon.run(lone.home))
    ask = functools.partial(asyncio.to_thread, Client(lone.home.socket).ask)
    try:
        await speaks(ask, running)
        await ask("POST", "/stories/s-2", {"title": "t"})
        os.truncate(lone.home.store, 0)
        with pytest.raises(OperatorError, match="was truncated while in use"):
            await ask("POST", "/stories/s-3", {"title": "t"})
        assert "was truncated" in (await ask("GET", "/status"))["writable"]
        assert (await ask("GET", "/stories/s-2"))["id"] == "s-2"
        await ask("POST", "/stop")
    finally:
        await running


def test_damaged_pages_are_described_in_one_line(path):
    pages = leaf_pages(path)
    spoil_page(path, pages[len(pages) // 2])
    with pytest.raises(StoreDamaged) as told:
        read(path)
    assert "\n" not in str(told.value)
    assert "***" not in str(told.value)
    assert re.search(r"is damaged: \w", str(told.value))


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ({"kept": 2}, "2 records of the damaged store verify and were kept; it"),
        ({"kept": 1, "bad": 1}, "1 record of the damaged store verifies and was kept, 1 does not"),
        (
            {"unread": 1},
            "no records of the damaged store verify and were kept, 1 part of it could",
        ),
        ({"kept": 3, "bad": 2, "unread": 2}, "2 do not verify, 2 parts of it could not be read"),
    ],
)
def test_what_came_of_it_is_a_sentence(path, saved, said):
    assert said in RecoveryReport(path, **saved).message


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
        peers=[PeerSettings(key(2).pubkey.hex(), "two:1")],
    )
    receipt = asyncio.run(lone.with_driver(open_driver(lone.home, settings), "s-2"))
    assert receipt.incarnation != 0


def test_an_older_page_of_records_is_detected(tmp_path):
    lone = Lone(tmp_path, spoiled=False)
    path = lone.home.store
    before = path.read_bytes()
    asyncio.run(lone.with_driver(open_driver(lone.home, lone.settings), "s-2"))
    after = path.read_bytes()
    (page,) = pages_of(path, "records")
    for number in {page, *pages_of(path, "total")}:
        swapped = bytearray(after)
        place = slice((number - 1) * 4096, number * 4096)
        assert swapped[place] != before[place]
        swapped[place] = before[place]
        path.write_bytes(swapped)
        with pytest.raises(StoreDamaged, match="older than the rest"):
            read(path)
        driver = open_driver(lone.home, lone.settings, accept_loss=True)
        asyncio.run(driver.stop())
        driver = open_driver(lone.home, lone.settings, accept_loss=True)
        receipt = asyncio.run(lone.with_driver(driver, f"s-after-{number}"))
        assert receipt.incarnation != 0
    with Store(path) as store:
        assert store.rendered()[FeedId(receipt.author, 0)] == 0, "nothing is taken for empty"


@pytest.mark.parametrize("version", range(len(MIGRATIONS)))
def test_a_version_below_the_tables_is_damage(path, version):
    with contextlib.closing(apsw.Connection(str(path))) as database:
        database.pragma("user_version", version)
    saved = rebuilt(path)
    assert (saved.kept, saved.lacks) == (len(ROWS), False)
    assert read(path) == ROWS


@pytest.mark.parametrize("table", [*TOTALLED, "totals"])
def test_an_older_page_of_a_small_table_is_detected(path, table):
    before = path.read_bytes()
    one, two = PEN.story("a", clock=999), PEN.story("b", clock=999)
    proof = proof_of(FEED, 999, proof_side(one.value), proof_side(two.value))
    addresses = {key(2).pubkey: ("two:2",)}
    with Store(path) as store:
        settled = [RECORDS[1].record_id]
        store.commit(Persist(proofs=[proof], reissue_done=settled, addresses=addresses), [], 0)
        store.withdraw_ticket(b"t" * 32)
        assert store.damaged_rows() == []
    put_back(path, table, before)
    with pytest.raises(StoreDamaged, match="older than the rest"):
        Store(path)
    saved = rebuilt(path)
    assert saved.old_tickets is ("all invalid now" in saved.message)
    with Store(path) as store:
        assert store.damaged_rows() == []
        assert all(ticket.withdrawn for ticket in store.tickets())
        assert len(store.tickets()) == (0 if table in ("tickets", "totals") else 1)


def test_a_proof_that_is_lower_keeps_the_total(path):
    proofs = [
        proof_of(FEED, clock, *(proof_side(PEN.story(t, clock=clock).value) for t in "ab"))
        for clock in (999, 998)
    ]
    for proof in proofs:
        with Store(path) as store:
            store.commit(Persist(proofs=[proof]), [], 0)
    with Store(path) as store:
        assert store.proofs() == [proofs[1]]


def test_an_index_older_than_its_table_is_detected(path):
    def told(number):
        return StageMoved(f"s-{number}", Backlog(), Coding(), None, "e", (), late=False, own=True)

    with Store(path) as store:
        store.commit(Persist(), [], START.ms, [told(1)])
    before = path.read_bytes()
    with Store(path) as store:
        store.commit(Persist(), [], START.ms, [told(2)])
    put_back(path, "history_of_story", before)
    rebuilt(path)
    with Store(path) as store:
        assert len(store.history("s-2")) == 1


async def test_damage_at_work_is_repaired_by_the_same_process(tmp_path, caplog, monkeypatch):
    lone = await asyncio.to_thread(Lone, tmp_path, spoiled=False)
    running = asyncio.create_task(daemon.run(lone.home))
    ask = functools.partial(asyncio.to_thread, Client(lone.home.socket).ask)
    try:
        await speaks(ask, running)
        spoil_row(lone.home.store, lone.written.clock, 70)
        with monkeypatch.context() as patched:
            patched.setattr("node.storage.history.write", torn)
            with pytest.raises(OperatorError, match="is damaged"):
                await ask("POST", "/stories/s-2", {"title": "t"})
        await speaks(ask, running)
        assert [story["id"] for story in await ask("GET", "/stories")] == ["s-1"]
        assert (await ask("GET", "/status"))["writable"] == "", "it knew all that was written"
        written = await ask("POST", "/stories/s-2", {"title": "t"})
        assert written["incarnation"] != 0
        await ask("POST", "/stop")
    finally:
        await running
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert any("is damaged" in one and "set aside" in one for one in said)
    assert "1 does not verify, 1 came from this daemon's memory" in caplog.text
    assert len(list(lone.home.path.glob("store.db.damaged-*Z"))) == 1
    with Store(lone.home.store) as store:
        replica, _ = open_replica(lone.home, lone.settings, store)
    assert sorted(view.id for view in replica.ledger.board.stories()) == ["s-1", "s-2"]


@pytest.mark.parametrize("hurt", ["a page", "all of it"])
def test_unreadable_rows_come_from_memory(path, hurt):
    if hurt == "a page":
        spoil_page(path, leaf_pages(path)[1])
    else:
        path.write_bytes(b"no database" * 1000)
    proof = ProofRow(*FEED, 5, ((b"s" * 64, b"h" * 32), (b"t" * 64, b"i" * 32)))
    known = recovery_scan.InMemoryRows(ROWS, [proof], {FEED: MANY + 1})
    with pytest.raises(StoreDamaged):
        read(path)
    saved = recovery.rebuild(path, FOUND.id, FOUND.founder.pubkey, known)
    assert saved.unread
    assert saved.recalled
    assert not saved.lacks
    assert read(path) == ROWS
    with Store(path) as store:
        assert store.rendered() == {FEED: MANY + 1}
        assert store.proofs() == [proof]
        assert not store.meta(MetaKey.HURT)


def test_rows_from_memory_are_verified_too(path):
    spoil_row(path, 7, 70)
    with contextlib.closing(apsw.Connection(str(path))) as database:
        ((spoilt,),) = database.execute("SELECT value FROM records WHERE clock = 7")
    rows = [row._replace(value=spoilt) if row.clock == 7 else row for row in ROWS]
    saved = recovery.rebuild(
        path, FOUND.id, FOUND.founder.pubkey, recovery_scan.InMemoryRows(rows, [], {FEED: MANY + 1})
    )
    assert (saved.kept, saved.recalled, saved.lacks) == (MANY, 0, True)
    with Store(path) as store:
        assert store.rendered() == {FEED: 7}


def test_damage_does_not_settle_what_was_lost_before(path):
    with Store(path) as store:
        store.set_meta(MetaKey.HURT, b"before")
    spoil_row(path, 7, 70)
    recovery.rebuild(path, FOUND.id, FOUND.founder.pubkey, recovery_scan.InMemoryRows(ROWS, [], {}))
    with Store(path) as store:
        assert store.meta(MetaKey.HURT) == b"before"


async def test_repeated_damage_ends_the_daemon(tmp_path, monkeypatch):
    lone = await asyncio.to_thread(Lone, tmp_path, spoiled=False)
    lives = []

    async def live(*_args, **_options):
        lives.append(1)
        raise StoreDamaged("it is damaged")

    monkeypatch.setattr(daemon, "_live", live)
    with pytest.raises(StoreDamaged):
        await daemon.run(lone.home)
    assert len(lives) == 2


def torn(*_):
    """What SQLite says when it comes upon a page that makes no sense."""
    raise apsw.CorruptError("database disk image is malformed")


class Stubborn(apsw.Connection):
    """On a disk that fails when a file is let go."""

    def close(self, *how):
        super().close(*how)
        raise apsw.IOError("disk I/O error")


def test_a_failure_after_the_last_row_costs_nothing(path, monkeypatch):
    monkeypatch.setattr(apsw, "Connection", Stubborn)
    assert recovery.first_records(path)


def test_an_unopenable_damaged_store_is_a_message(path):
    with (
        pytest.raises(StoreFailure, match="cannot open"),
        recovery_scan.opened(path.parent / "gone"),
    ):
        pass


def test_a_missing_store_is_logged(tmp_path, caplog):
    lone = Lone(tmp_path, spoiled=False)
    lone.home.store.unlink()
    driver = open_driver(lone.home, lone.settings)
    asyncio.run(driver.stop())
    assert "has lost everything" in driver.store.doubt
    (said,) = [r.getMessage() for r in caplog.records if "is gone" in r.getMessage()]
    assert f"gangline --home {lone.home.path} restore" in said


def test_a_home_without_store_has_lost_none(tmp_path, caplog):
    lone = Lone(tmp_path, spoiled=False)
    lone.home.store.unlink()
    lone.home.store.with_name("store.db.witness").unlink()
    asyncio.run(open_driver(lone.home, lone.settings).stop())
    assert "is gone" not in caplog.text
