"""What one spoilt value in each table of a store does, and who notices.

A table that decides something: the start notices, rebuilds the store and logs why, and the node
agrees with its peer again. One that decides nothing: the start goes on, and the value is shown.
"""

import asyncio
import contextlib
import shutil

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crdt.contract.ready import Noticed, Persist, Quarantined, RowKey
from crdt.primitives.errors import Reason
from crdt.primitives.identity import FeedId
from node.config import key_file
from node.config import settings as config
from node.daemon import open_driver
from node.reporting import history_report, queries
from node.storage.migrations import MIGRATIONS, defined
from node.storage.store import Store
from node.storage.ticket_rows import TicketRow
from node.system import clock
from node.system.errors import StoreDamaged
from node.system.home import Home
from tests.support.builders.cluster import Cluster
from tests.support.builders.record_author import RecordAuthor, as_frame

DECIDE = (
    "meta", "feeds", "records", "proofs", "addresses", "tickets", "settled", "total", "totals",
)  # fmt: skip
SHOWN = ("quarantine", "history")
DEN, NODE, LIAR = range(3)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """A peer, and the home of a node that agrees with it, with a row in each table."""
    cluster = Cluster(3)
    cluster.admit_all()
    cluster.link_all()
    cluster.deliver()
    for number in range(3):
        cluster.add(DEN, f"den-{number}")
        lost = cluster.add(NODE, f"node-{number}")
        cluster.deliver()
    pen = RecordAuthor(cluster.keys[LIAR], cluster.found.id, cluster.ms)
    for twin in (pen.story("left", clock=1), pen.story("right", clock=1)):
        cluster.hand(LIAR, DEN, as_frame(twin))
    cluster.deliver()
    cluster.settle(3)
    home = Home(tmp_path_factory.mktemp("fleet") / "home")
    home.make()
    key_file.put(home.key, f"{key_file.HEADER}\n{(bytes([NODE + 1]) * 32).hex()}\n")
    den = cluster.keys[DEN].pubkey
    peers = [config.PeerSettings(den.hex(), "127.0.0.1:1")]
    options = {"cluster": cluster.found.id.hex(), "founder": den.hex(), "name": "node"}
    config.write(home.config, config.Config(listen="", peers=peers, **options))
    persist = Persist(incarnation=0, doubt="", reissue_done=[lost.record_id])
    persist.addresses[den] = ("127.0.0.1:1",)
    persist.rows.update({RowKey(*row[:4]): row for row in cluster.stores[NODE].values()})
    persist.rendered.update(cluster.rendered[NODE])
    persist.proofs += cluster.proofs[NODE].values()
    turned = Quarantined(den, FeedId(den, 0), 9, None, Reason.BAD_SIGNATURE, "forged", b"bytes")
    with Store(home.store) as store:
        store.commit(persist, [turned], cluster.ms, [Noticed("something", "said")])
        store.add_ticket(TicketRow(b"t" * 32, "member", cluster.ms), cluster.ms)
    return cluster, home


def test_every_table_has_an_answer():
    tables = {name for kind, name, *_ in defined(MIGRATIONS) if kind == "table"}
    assert tables == {*DECIDE, *SHOWN}


def spoil(path, table, draw):
    """Flip a bit of one value of a table, or write random bytes over it; returns whether it did."""
    with contextlib.closing(apsw.Connection(str(path))) as database:
        database.execute("PRAGMA foreign_keys = off")
        columns = list(database.execute("SELECT name, type FROM pragma_table_info(?)", (table,)))
        column, kind = draw(st.sampled_from(columns))
        read = f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"
        old = draw(st.sampled_from([value for (value,) in database.execute(read)] or [None]))
        if kind == "INTEGER":
            new = (old or 0) ^ 1 << draw(st.integers(0, 62))
        else:
            raw = bytearray(old.encode() if isinstance(old, str) else old or b"x")
            if draw(st.booleans()) or not raw:
                raw = bytearray(draw(st.binary(min_size=len(raw), max_size=len(raw) + 1)))
            else:
                raw[draw(st.integers(0, len(raw) - 1))] ^= 1 << draw(st.integers(0, 7))
            new = bytes(raw)
        with contextlib.suppress(apsw.ConstraintError):
            database.execute(
                f"UPDATE {table} SET {column} = CAST(? AS {kind}) WHERE {column} IS ?", (new, old)
            )
        kept = old.encode() if isinstance(old, str) else old
        return new != kept and database.total_changes() > 0


@pytest.mark.parametrize("table", [*DECIDE, *SHOWN])
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_spoilt_value_is_said_and_costs_no_agreement(fleet, tmp_path, table, data):
    cluster, good = fleet
    home = Home(tmp_path / "home")
    shutil.rmtree(home.path, ignore_errors=True)
    shutil.copytree(good.path, home.path)
    spoilt = spoil(home.store, table, data.draw)
    driver = open_driver(home, config.load(home.config))
    try:
        rebuilt = bool([*home.path.glob("store.db.damaged-*Z")])
        assert rebuilt == (spoilt and table in DECIDE)
        with contextlib.suppress(StoreDamaged):  # text that is none
            queries.quarantine(driver.store.quarantine(), {})
            history_report.rows(driver.store.history(), {})
        meet(cluster, driver._replica)
    finally:
        asyncio.run(driver.stop())


def meet(cluster, replica):
    """The peer, as its own disk has it, and the node settle."""
    cluster.mono = clock.now().mono
    cluster.links.clear()
    cluster.wire.clear()
    cluster.restart(DEN)
    cluster.replicas[NODE] = replica
    cluster.link(DEN, NODE)
    for _ in range(70):
        cluster.pass_time(1.0)
        for number in (DEN, NODE):
            cluster.carry(number, cluster.replicas[number].tick(cluster.now))
        cluster.deliver()
    den = cluster.replicas[DEN]
    assert replica.document_digest() == den.document_digest()
    for one in (den, replica):
        cut = {feed for feed in one.ledger.proofs if one.ledger.fork_of(feed) is not None}
        assert cut == {FeedId(cluster.keys[LIAR].pubkey, 0)}
    assert not cluster.faults
