"""Lives of one daemon in this process: the shipping store, replica and driver on a frail disk.

Beside it stands a peer that never fails, in memory: what it was sent has been seen. A life ends in
order, or when its disk fails it; the next one starts from what the disk kept.
"""

import asyncio
import contextlib
from functools import partial
from unittest import mock

from crdt.authoring.intents import AddStory, AdmitNode, ClaimStory, EditStory
from crdt.primitives import limits
from crdt.primitives.identity import FeedId, SigningKey
from crdt.records.bodies import Role, parse_body
from crdt.records.record import signed_bytes_and_id, signed_record
from crdt.replica import Replica
from crdt.wire.messages import Records, SyncStep2, Update, decode_frame
from crdt.wire.yjs_update import decode_update
from machines.values import FreeText, StoryId
from node.config import settings
from node.daemon import open_replica
from node.provisioning import init_join
from node.runtime.driver import Driver
from node.storage.rollback_guard import SUFFIX, RollbackGuard
from node.storage.store import Store
from node.system import clock
from node.system.errors import StoreFailure
from node.system.home import Home
from tests.support.faults.faulty_vfs import FrailDisk
from tests.support.invariants.acked_writes import AckedWrites, SeenRecord
from tests.support.invariants.laws import Broken

PEER_SEED = b"p" * 32
WRITERS = 3
RETRY_SECONDS = 0.002


class House:
    """A node's home, its disk, its peer, and the account of what it promised and showed."""

    def __init__(self, folder, rng):
        self.home = Home(folder / "home")
        self.rng = rng
        self.disk = FrailDisk()
        self.account = AckedWrites()
        self.node, self.cluster = init_join.found(self.home, "house", "")
        self.settings = settings.load(self.home.config)
        self.peer = SoakPeer(self.cluster, self.node)
        self.stories = 0
        self.may_doubt = False
        self.dropped = []
        self.witnessed = [self._witness_path.read_bytes()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.disk.unregister()

    @property
    def _witness_path(self):
        return self.home.store.with_name(self.home.store.name + SUFFIX)

    async def life(self, writes):
        """Live until all is written and closed, or until the disk fails.

        Raises:
            StoreFailure: the disk failed, and this is how the daemon would have said so.
        """
        store = Store.__new__(Store)  # held even where opening it fails half-way
        try:
            with self._watching_the_witness(), _no_pause():
                self._open(store)
                driver = Driver(store, partial(open_replica, self.home, self.settings))
                await self._serve(driver, writes)
        finally:
            _let_go(store)

    def _open(self, store):
        """A store that nobody put back is trusted, unless its witness was lost in a cut."""
        try:
            store.__init__(self.home.store, vfs=self.disk.name)
        except StoreFailure:
            # It may have changed its token and never told the witness: a doubt too many is right.
            self.may_doubt = True
            raise
        if store.doubt and not self.may_doubt:
            raise Broken("L5", f"the store is doubted for nothing: {store.doubt}")
        # On a full disk as after a failure: nobody knows how far its opening came.
        self.may_doubt = bool(store.doubt or store.no_room)

    async def _serve(self, driver, writes):
        running = [asyncio.create_task(driver.run()), asyncio.create_task(self._link(driver))]
        if self.disk.syncs is not None:
            running.append(asyncio.create_task(self.disk.syncs.serve()))
        script = asyncio.create_task(self._write_all(driver, writes))
        try:
            await asyncio.wait((script, *running), return_when=asyncio.FIRST_COMPLETED)
            for task in (script, *running):
                if task.done():
                    task.result()
        finally:
            for task in (script, *running):
                task.cancel()
            await asyncio.gather(script, *running, return_exceptions=True)
            try:
                await driver.stop()
            finally:
                driver._disk.shutdown(wait=True)

    async def _link(self, driver):
        """Keep the link up; a daemon that cannot write drops it until it can."""
        while True:
            await driver.attach(SoakPeerLink(self, driver))
            await asyncio.sleep(RETRY_SECONDS)

    async def _write_all(self, driver, writes):
        if not driver.roster.belongs(self.peer.node):
            await self._propose(
                driver, AdmitNode(self.peer.node, Role.MEMBER, FreeText("peer")), None
            )
        await asyncio.gather(*(self._write(driver, number, writes) for number in range(WRITERS)))

    async def _write(self, driver, writer, writes):
        for number in range(writes):
            self.stories += 1
            story = StoryId(f"s-{self.stories}-{writer}")
            await self._propose(driver, AddStory(story, FreeText("x" * self.rng.randint(1, 200))))
            if number % 2:
                await self._propose(driver, ClaimStory(story, 60), ("claim", str(story)))
                await self._propose(driver, ClaimStory(story, 90), ("claim", str(story)))
            else:
                await self._propose(driver, EditStory(story, FreeText("again")))

    async def _propose(self, driver, intent, key=None):
        while True:
            try:
                receipt = await driver.propose(intent)
                break
            except StoreFailure:
                if self.disk.fault is None or self.disk.fault.lasting:
                    raise
                await asyncio.sleep(RETRY_SECONDS)  # the disk failed once: it goes on
        feed = driver._replica.ledger.feeds[FeedId(receipt.author, receipt.incarnation)]
        for entry in feed.entries_at(receipt.clock):
            self.must_be_durable(receipt.clock, entry.record.value, feed, "a caller is told of")
        slot = (bytes(receipt.author), receipt.incarnation, receipt.clock)
        self.account.acknowledge(slot, bytes(receipt.record_id), key)

    def must_be_durable(self, clock, value, feed, what):
        """A cut at this instant would leave it, or what supersedes it."""
        size = limits.SIGNATURE_BYTES
        key = parse_body(bytes(value[size:])).key
        later = [
            one.value
            for one in feed.live()
            if key is not None and one.clock > clock and one.body.key == key
        ]
        if not any(self.disk.holds(one[:size]) for one in (value, *later)):
            raise Broken("L5", f"{what} #{clock} before it is on disk")

    # --- the power -----------------------------------------------------------------------------

    def cut(self):
        """The power goes and comes back; of the witness, any text it held since may be left."""
        self.disk.cut(self.rng)
        left = self.rng.choice(["last", "earlier", "empty"])
        if left == "empty":
            kept = b""
        elif left == "last":
            kept = self.witnessed[-1]
        else:
            kept = self.rng.choice(self.witnessed)
        self._witness_path.write_bytes(kept)
        self.may_doubt |= _token(kept) != _token(self.witnessed[-1])
        self.witnessed = [kept]

    def check(self):
        """The laws, over what the disk holds now."""
        self.account.check(self.home.store, shown=False)
        if self.peer.replica.ledger.proofs:
            raise Broken("L5", "the peer was shown a fork")

    @contextlib.contextmanager
    def _watching_the_witness(self):
        """Keep every text that the witness ever held: none was synced, so a cut may leave any."""
        real = RollbackGuard.note

        def note(witness, writes):
            real(witness, writes)
            self.witnessed.append(witness.path.read_bytes())

        with mock.patch.object(RollbackGuard, "note", note):
            yield


class SoakPeer:
    """A member in memory that never fails."""

    def __init__(self, cluster, founder):
        self.replica = Replica(SigningKey(PEER_SEED), cluster, founder, seed=PEER_SEED)
        self.node = self.replica.own


class SoakPeerLink:
    """The link to the peer, as the driver has it. What is sent over it must be on disk."""

    dialled = True
    address = "in memory"

    def __init__(self, house, driver):
        self.house, self.driver = house, driver
        self.peer = house.peer.node
        self.peer_clock = clock.now().wall
        self.reason = ""
        self._replies = asyncio.Queue()

    def send(self, data, then=None):
        for record, record_id in self._records(data):
            feed = self.driver._replica.ledger.feeds[record.feed]
            self.house.must_be_durable(record.clock, record.value, feed, "a peer sees")
            seen = SeenRecord.of(*record.feed, record.clock, record_id, record.value)
            # What a peer was sent is as good as promised.
            self.house.account.acknowledge(seen.slot, seen.record_id, seen.key)
        ready = self.house.peer.replica.receive(self.house.node, data, clock.now())
        if ready.fault is not None:
            raise Broken("L6", f"an honest peer found fault: {ready.fault}")
        self._hand_over(ready)
        if then is not None:
            self._replies.put_nowait(then)

    def _hand_over(self, ready):
        for outgoing in (*ready.reply, *ready.publish):
            self._replies.put_nowait(outgoing.data)
            if outgoing.goes_on:
                self._hand_over(self.house.peer.replica.go_on(self.house.node, clock.now()))

    def _records(self, data):
        """The records of the house's node in a frame."""
        match decode_frame(data):
            case Update(update) | SyncStep2(update):
                by_client = self.driver._replica.document.by_client
                slots = [
                    (by_client[piece.client], clock, value)
                    for piece in decode_update(update)
                    for clock, value in piece.records
                ]
            case Records(author, incarnation, rows):
                feed = FeedId(author, incarnation)
                slots = [(feed, clock, value) for clock, value in rows]
            case _:
                slots = []
        for feed, slot, value in slots:
            assert feed.author == self.house.node, "the peer writes nothing"
            signed = signed_record(feed, slot, value)
            yield signed, signed_bytes_and_id(self.house.cluster, signed)[1]

    def drop(self, reason):
        self.reason = reason
        self.house.dropped.append(reason)
        self._replies.put_nowait(None)

    async def run(self, received):
        replica = self.house.peer.replica
        self._hand_over(replica.connected(self.house.node, self.peer_clock, clock.now()))
        try:
            while (due := await self._replies.get()) is not None:
                await (received(self, due) if isinstance(due, bytes) else due())
        finally:
            replica.disconnected(self.house.node)
        return self.reason or "closed"


@contextlib.contextmanager
def _no_pause():
    """A disk that failed is tried again at once."""
    with (
        mock.patch("node.runtime.batch.PROBE_SECONDS", 0.0),
        mock.patch("node.runtime.driver.PROBE_SECONDS", 0.0),
    ):
        yield


def _token(witness):
    """What a witness says of which start wrote it last."""
    return witness.split(b"\n")[2:3]


def _let_go(store):
    """As the system does when a process ends."""
    with contextlib.suppress(Exception):
        store.close()
    for name, close in (("_db", lambda db: db.close(True)), ("_guard", RollbackGuard.close)):
        if hasattr(store, name):
            close(getattr(store, name))
    if getattr(store, "_lock", None) is not None:
        store._lock.close()
