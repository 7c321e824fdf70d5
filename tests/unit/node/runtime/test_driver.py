"""The driver over a real store whose disk is full for a while; and what callers are told."""

import asyncio
import contextlib
import threading
from functools import partial

import pytest

from crdt.authoring.intents import AddStory, AdmitNode
from crdt.contract.ready import Ready
from crdt.primitives.identity import H
from crdt.records.bodies import Role
from crdt.replica import Replica
from machines.values import FreeText, StoryId
from node.config import settings
from node.daemon import open_replica
from node.network.handshake import HelloRefused
from node.network.join_authorizer import JoinAuthorizer
from node.provisioning import init_join
from node.runtime.batch import Job
from node.runtime.driver import Driver
from node.runtime.fair_queue import FLOW_MAX
from node.storage.store import Store
from node.storage.ticket_rows import TicketRow
from node.system import clock
from node.system.errors import StoreFailure
from node.system.home import Home
from tests.support.builders.cluster import key
from tests.support.builders.stores import running

BIG = FreeText("x" * 4000)


def names(replica):
    return sorted(view.id for view in replica.ledger.board.stories())


class House:
    """A node's home, its store, and the driver over both."""

    def __init__(self, path):
        self.home = Home(path / "home")
        init_join.found(self.home, "house", "")
        self.settings = settings.load(self.home.config)
        self.store = Store(self.home.store)
        self.driver = Driver(self.store, partial(open_replica, self.home, self.settings))

    def fill(self):
        """From here on SQLite says what it says when the disk is full."""
        self.store._db.pragma("max_page_count", self.store._db.pragma("page_count"))

    def make_room(self):
        self.store._db.pragma("max_page_count", 1_000_000)

    async def add(self, name):
        return await self.driver.propose(AddStory(StoryId(name), FreeText("t"), BIG))

    async def add_until_full(self):
        """Gives the stories that were acknowledged, and the sentence of the refusal."""
        kept = []
        for number in range(1000):
            try:
                await self.add(f"s-{number}")
            except StoreFailure as refusal:
                return kept, str(refusal)
            kept.append(f"s-{number}")
        raise AssertionError("the disk never filled up")

    async def stories(self):
        return await self.driver.query(names)


@contextlib.asynccontextmanager
async def house(path):
    one = House(path)
    async with running(one.driver):
        yield one


@pytest.fixture(autouse=True)
def _tries_at_once(monkeypatch):
    monkeypatch.setattr("node.runtime.batch.PROBE_SECONDS", 0.0)
    monkeypatch.setattr("node.runtime.driver.PROBE_SECONDS", 0.0)


async def test_a_full_disk_refuses_writes_and_serves_what_is_on_it(tmp_path):
    async with house(tmp_path) as one:
        one.fill()
        kept, sentence = await one.add_until_full()
        assert "read-only" in sentence
        assert "disk is full" in sentence
        before = one.driver._replica
        assert await one.stories() == sorted(kept)
        assert "disk is full" in await one.driver.query(lambda r: r.write_state(clock.now()).why)
        with pytest.raises(StoreFailure, match="disk is full"):
            await one.add("another")
        assert one.driver._replica is before, "one failure rebuilds once"


async def test_it_writes_again_by_itself_once_there_is_room(tmp_path, caplog):
    async with house(tmp_path) as one:
        one.fill()
        kept, _ = await one.add_until_full()
        one.make_room()
        while one.driver.halted:
            await one.stories()
        await one.add("after")
        assert await one.stories() == sorted([*kept, "after"])
        assert await one.driver.query(lambda r: r.write_state(clock.now()).why) == ""
    with Store(one.home.store) as store:
        clocks = [row.clock for row in store.rows()]
    assert clocks == sorted(set(clocks)), "no slot twice, none lost"
    said = [record.getMessage() for record in caplog.records if record.name == "gangline.driver"]
    assert len(said) == 2, said


async def test_a_look_in_the_same_batch_is_answered_from_the_disk(tmp_path):
    async with house(tmp_path) as one:
        one.fill()
        kept, _ = await one.add_until_full()
        one.make_room()
        while one.driver.halted:
            await one.stories()
        one.fill()
        results = await asyncio.gather(
            *(one.add(f"big-{number}") for number in range(120)),
            one.stories(),
            return_exceptions=True,
        )
        refused = [result for result in results if isinstance(result, StoreFailure)]
        assert refused
        assert set(results[-1]) >= set(kept)


class PeerLink:
    """The link to a peer in memory, as the driver has it."""

    dialled, address, since = True, "in memory", 0.0

    def __init__(self, peer, own):
        self.replica, self.peer, self.own = peer, peer.own, own
        self.peer_clock = clock.now().wall
        self.reason = ""
        self._replies = asyncio.Queue()

    def send(self, data, then=None):
        self.hand(self.replica.receive(self.own, data, clock.now()))
        if then is not None:
            self._replies.put_nowait(then)

    def hand(self, ready):
        assert ready.fault is None
        for outgoing in (*ready.reply, *ready.publish):
            self._replies.put_nowait(outgoing.data)
            if outgoing.goes_on:
                self.hand(self.replica.go_on(self.own, clock.now()))

    def drop(self, reason):
        self.reason = self.reason or reason
        self._replies.put_nowait(None)

    async def run(self, received):
        self.hand(self.replica.connected(self.own, clock.now().wall, clock.now()))
        while (due := await self._replies.get()) is not None:
            await (received(self, due) if isinstance(due, bytes) else due())
        self.replica.disconnected(self.own)
        return self.reason


async def linked(one, peer):
    """A link that is up, and what it ends with."""
    link = PeerLink(peer, one.driver.own)
    ended = asyncio.create_task(one.driver.attach(link))
    await until(one, lambda _: peer.own in one.driver.links)
    return link, ended


async def until(one, check):
    """Wait until the replica shows something."""
    while not await one.driver.query(check):
        pass


async def test_while_nothing_can_be_written_peers_are_served_and_nothing_is_taken_from_them(
    tmp_path,
):
    async with house(tmp_path) as one:
        driver = one.driver
        peer = Replica(key(2), driver.cluster, driver._replica.founder, seed=bytes(32))
        await driver.propose(AdmitNode(peer.own, Role.MEMBER, FreeText("peer")))
        link, ended = await linked(one, peer)
        await one.add("first")
        one.fill()
        kept = ["first", *(await one.add_until_full())[0]]
        assert await ended == "read_only", "opened anew, on what is on disk"
        peer = Replica(key(2), driver.cluster, driver._replica.founder, seed=bytes(32))
        link, ended = await linked(one, peer)

        await until(one, lambda _: names(peer) == sorted(kept))
        link.hand(peer.propose(AddStory(StoryId("theirs"), FreeText("t")), clock.now())[0])
        link.hand(peer.tick(clock.now()))

        await until(one, lambda r: r.beacon.liveness.last(peer.own) is not None)
        assert await one.stories() == sorted(kept), "what could not be kept is not shown"
        one.make_room()
        while driver.halted:
            await one.stories()
        assert await ended == "writes_again"
        link, ended = await linked(one, peer)

        await until(one, lambda r: names(r) == sorted([*kept, "theirs"]))
        link.drop("done")
        await ended


async def test_nobody_is_let_in_while_it_cannot_be_written_down(tmp_path):
    async with house(tmp_path) as one:
        secret = b"s" * 16
        ticket = TicketRow(H(secret), "member", clock.now().wall.ms + 60_000)
        await one.driver.on_disk(lambda store: store.add_ticket(ticket, clock.now().wall.ms))
        one.fill()
        await one.add_until_full()
        keeper = JoinAuthorizer(one.driver)
        with pytest.raises(HelloRefused) as refused:
            await keeper.join(key(2).pubkey, secret, "two")
        assert refused.value.reason == "read_only"
        one.make_room()
        while one.driver.halted:
            await one.stories()
        await keeper.join(key(2).pubkey, secret, "two")


async def test_what_no_disk_holds_outlives_a_failed_commit(tmp_path):
    async with house(tmp_path) as one:
        driver = one.driver
        peer = Replica(key(2), driver.cluster, driver._replica.founder, seed=bytes(32))
        await driver.propose(AdmitNode(peer.own, Role.MEMBER, FreeText("peer")))
        link, ended = await linked(one, peer)
        told = driver._replica.beacon
        told.addresses, told.beats = ("den:7467",), {"s-1": clock.now().wall}
        link.hand(peer.tick(clock.now()))
        await until(one, lambda r: r.beacon.liveness.last(peer.own) is not None)
        await until(one, lambda r: peer.beacon.liveness.last(r.own) is not None)
        before = peer.beacon.liveness.last(driver.own)
        replica = driver._replica
        one.fill()
        await one.add_until_full()
        assert await ended == "read_only"
        assert driver._replica is not replica
        assert driver._replica.beacon is told
        link, ended = await linked(one, peer)

        def newer(replica):
            last = peer.beacon.liveness.last(replica.own)
            return (last.state.at, last.clock) > (before.state.at, before.clock)

        await until(one, newer)
        said = peer.beacon.liveness.last(driver.own).state
        assert (said.addresses, set(said.beats)) == (("den:7467",), {"s-1"})
        assert said.run == before.state.run, "it is not taken for another daemon with its key"
        assert await driver.query(lambda r: r.beacon.liveness.last(peer.own)) is not None
        link.drop("done")
        await ended


async def test_while_a_sync_takes_long_the_loop_goes_on_and_who_looks_waits_for_it_alone(
    tmp_path, monkeypatch
):
    syncing, synced = threading.Event(), threading.Event()
    commit = Store.commit

    def slow(store, *batch):
        syncing.set()
        assert synced.wait(60)
        commit(store, *batch)

    async with house(tmp_path) as one:
        await one.add("s-0")
        monkeypatch.setattr(Store, "commit", slow)
        writes = [asyncio.create_task(one.add(f"s-{number}")) for number in range(1, 4)]
        await asyncio.to_thread(syncing.wait)
        for _ in range(1000):
            await asyncio.sleep(0)  # the loop is free: links are read, and pings answered
        look = asyncio.create_task(one.stories())
        late = asyncio.create_task(one.add("late"))
        await asyncio.sleep(0)
        assert not any(task.done() for task in (*writes, look, late))
        seen = asyncio.Event()
        look.add_done_callback(lambda _: seen.set() if not late.done() else None)
        synced.set()
        await asyncio.gather(*writes, look, late)
        assert seen.is_set(), "who looks does not wait for the commit after the next"
        assert {"s-0"} <= set(look.result()) <= {"s-0", "s-1", "s-2", "s-3"}


async def test_while_the_core_works_long_the_loop_goes_on_and_nobody_sees_half_of_it(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("node.runtime.slices.SLICE_SECONDS", 0.0)
    async with house(tmp_path) as one:
        checkpoint = one.driver._replica.ledger.checkpoint
        turns = seen = 0

        def work(at):
            nonlocal seen
            for _ in range(100):
                checkpoint()
                seen = turns
            return one.driver._replica.propose(AddStory(StoryId("long"), FreeText("t")), at)

        write = asyncio.create_task(one.driver._ask(work))
        look = None
        while not write.done():
            turns += 1
            await asyncio.sleep(0)
            if seen and look is None:
                look = asyncio.create_task(one.stories())
        assert seen >= 50, "the loop turned between the checkpoints"
        assert await look == ["long"]


@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("when", range(4))
async def test_told_to_stop_in_the_middle_of_a_turn_it_finishes_the_turn_and_stops(
    tmp_path, monkeypatch, when, writes
):
    monkeypatch.setattr("node.runtime.slices.SLICE_SECONDS", 0.0)
    monkeypatch.setattr("node.runtime.driver.TICK_SECONDS", 0.0)  # no wait is long
    one = House(tmp_path)
    checkpoint = one.driver._replica.ledger.checkpoint

    def work(at):
        for step in range(4):
            if step == when:
                serving.cancel()
            checkpoint()
        if not writes:
            return Ready(), "done"
        return one.driver._replica.propose(AddStory(StoryId("long"), FreeText("t")), at)

    serving = asyncio.create_task(one.driver.run())
    assert await one.driver._ask(work)
    done, _ = await asyncio.wait([serving], timeout=30)
    assert serving in done
    assert serving.cancelled()
    await one.driver.stop()
    with Store(one.home.store) as store:
        replica, _ = open_replica(one.home, one.settings, store)
    assert names(replica) == ["long"] * writes
    assert replica._own_feed().as_sealed(), "what it did last is on disk"


async def test_nobody_sees_a_roster_that_is_not_on_disk(tmp_path, monkeypatch):
    syncing, synced = threading.Event(), threading.Event()
    commit, guest = Store.commit, key(2).pubkey

    def slow(store, persist, *batch):
        if any(
            row is not None and guest.hex().encode() in row.value for row in persist.rows.values()
        ):
            syncing.set()
            assert synced.wait(60)
        commit(store, persist, *batch)

    async with house(tmp_path) as one:
        keeper = JoinAuthorizer(one.driver)
        monkeypatch.setattr(Store, "commit", slow)
        admit = AdmitNode(guest, Role.MEMBER, FreeText("guest"))
        admitted = asyncio.create_task(one.driver.propose(admit))
        await asyncio.to_thread(syncing.wait)
        assert keeper.why_not(guest) == "not_a_member"
        synced.set()
        await admitted
        assert keeper.why_not(guest) == ""


async def test_whoever_waits_when_it_stops_is_answered(tmp_path, monkeypatch):
    syncing, synced = threading.Event(), threading.Event()
    commit = Store.commit

    def slow(store, persist, *batch):
        if any(row is not None and b'"begun"' in row.value for row in persist.rows.values()):
            syncing.set()
            assert synced.wait(60)
        commit(store, persist, *batch)

    one = House(tmp_path)
    serving = asyncio.create_task(one.driver.run())
    await one.stories()
    monkeypatch.setattr(Store, "commit", slow)
    begun = asyncio.create_task(one.add("begun"))
    await asyncio.to_thread(syncing.wait)
    waiting = [asyncio.create_task(ask) for ask in (one.add("waiting"), one.stories())]
    await asyncio.sleep(0)
    serving.cancel()
    await asyncio.sleep(0)
    synced.set()
    await asyncio.wait([serving])
    assert serving.cancelled()
    assert (await begun).clock, "what was begun is finished"
    for asked in (*waiting, one.stories()):
        with pytest.raises(StoreFailure, match="is stopping"):
            await asked
    await one.driver.stop()


async def test_a_link_whose_lane_is_full_does_not_keep_the_daemon_from_ending(tmp_path):
    one = House(tmp_path)
    peer, job = key(2).pubkey, Job(lambda _at: (Ready(), None), reads=True)
    for _ in range(FLOW_MAX):
        await one.driver._inbox.put_from(peer, job, 1)
    reads = asyncio.create_task(one.driver._inbox.put_from(peer, job, 1))
    serving = asyncio.create_task(one.driver.run())
    await asyncio.sleep(0)
    serving.cancel()  # while it writes what its start left to be written
    await asyncio.wait([serving])
    await reads
    await one.driver.stop()


async def test_where_the_store_cannot_be_read_either_the_driver_ends(tmp_path):
    one = House(tmp_path)
    running = asyncio.create_task(one.driver.run())
    one.store._db.close()
    with pytest.raises(StoreFailure):
        await one.add("lost")
    with pytest.raises(StoreFailure):
        await running
    one.driver._disk.shutdown(wait=True)
    one.store.close()
