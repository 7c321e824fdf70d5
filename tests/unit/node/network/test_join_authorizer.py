"""Who is let in by ticket, and what is shown to him."""

import asyncio
import contextlib

import pytest

from crdt.contract.ready import Ready
from crdt.primitives.identity import H
from node.network.handshake import HelloRefused
from node.network.join_authorizer import JoinAuthorizer
from node.runtime.driver import Driver
from node.storage.store import Store
from node.storage.ticket_rows import TicketRow
from node.system import clock
from tests.support.builders.cluster import Cluster, key
from tests.support.builders.record_author import as_frame

SECRET = b"s" * 16


@contextlib.asynccontextmanager
async def emptied(path):
    """A founder's daemon whose store was lost: it holds nothing of its cluster yet."""
    cluster = Cluster(1)
    with Store(path / "store.db") as store:
        replica = cluster.make(cluster.keys[0])
        driver = Driver(store, lambda *_: (replica, Ready()))
        store.add_ticket(TicketRow(H(SECRET), "member", clock.wall_ms() + 60_000), clock.wall_ms())
        running = asyncio.create_task(driver.run())
        try:
            yield cluster, driver
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await driver.stop()


async def test_no_join_before_the_founding_record_is_known(tmp_path):
    async with emptied(tmp_path) as (cluster, driver):
        keeper, guest = JoinAuthorizer(driver), key(2).pubkey
        with pytest.raises(HelloRefused) as refused:
            await keeper.join(guest, SECRET, "two")
        assert refused.value.reason == "read_only"
        assert keeper.why_not(guest) == "not_a_member"

        founding = cluster.found.record
        bring = as_frame(founding)
        await driver.query(lambda replica: replica.receive(key(3).pubkey, bring, clock.now()))
        accepted = await keeper.join(guest, SECRET, "two")
        assert accepted.founding == founding.value.hex()
        assert accepted.founder == cluster.keys[0].pubkey.hex()
        assert keeper.why_not(guest) == ""
        assert await keeper.join(guest, SECRET, "two") == accepted, "asked again"


async def test_taken_name_is_refused_and_uses_no_ticket(tmp_path):
    async with emptied(tmp_path) as (cluster, driver):
        bring = as_frame(cluster.found.record)
        await driver.query(lambda replica: replica.receive(key(3).pubkey, bring, clock.now()))
        keeper, guest = JoinAuthorizer(driver), key(2).pubkey
        with pytest.raises(HelloRefused) as refused:
            await keeper.join(guest, SECRET, "den")
        assert (refused.value.reason, refused.value.free) == ("name_taken", "den-2")
        await keeper.join(guest, SECRET, "den-2")
        assert keeper.why_not(guest) == ""
