"""The one task that owns the replica, and carries out its instructions in order.

Takes messages from links and intents from local callers in batches; commits what a batch must
persist, in a separate thread; and only then sends answers, frames and events. While the disk takes
no writes, it serves queries and peers from what is stored, and tries the disk again by itself.
Source: protocol §11.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from crdt.authoring.intents import Intent, Receipt
from crdt.authoring.roster_intents import RosterIntent
from crdt.contract.checkpoint import Checkpoint
from crdt.contract.ready import Now, Outgoing, Ready, RowKey
from crdt.primitives import limits
from crdt.primitives.identity import SigningKey
from crdt.replica import Replica
from machines.values import NodePubkey
from node.runtime.batch import PROBE_SECONDS, Batch, BatchRunner, Job
from node.runtime.event_bus import EventBus
from node.runtime.fair_queue import BATCH_MAX, FairQueue
from node.runtime.peer_link import DisconnectReason, PeerLink
from node.runtime.slices import Slices
from node.storage import recovery
from node.storage.recovery_scan import InMemoryRows
from node.storage.store import Store
from node.system import clock
from node.system.errors import StoreDamaged, StoreFailure

log = logging.getLogger("gangline.driver")

T = TypeVar("T")
TICK_SECONDS = 0.25
AT_ONCE_SECONDS = 5.0
STOPPING = "the daemon is stopping"


class Driver:
    """Owns a replica and its store.

    Args:
        build: builds the replica from a store; returns it, and what reading the store left to be
            written. The replica calls the given checkpoint during long work.

    Attributes:
        links: the open link to each peer.
        bus: what happened, once it is on disk.
        own: this node's key.
        cluster: the cluster's id.
        roster: the roster as it is on disk; a new object at each change.
    """

    def __init__(
        self, store: Store, build: Callable[[Store, Checkpoint], tuple[Replica, Ready]]
    ) -> None:
        self.store = store
        self.links: dict[NodePubkey, PeerLink] = {}
        self.bus = EventBus()
        self._inbox = FairQueue()
        self._reply_bytes = 0  # that peers will be sent after this batch
        self._disk = ThreadPoolExecutor(1, "store")
        self._slices = Slices()
        self._runner = BatchRunner(lambda: build(store, self._slices.checkpoint), store.no_room)
        self._broken: StoreFailure | None = None
        self._refused: Collection[RowKey] = ()
        self.own, self.cluster = self._replica.own, self._replica.cluster
        self.roster = self._replica.ledger.roster

    @property
    def _replica(self) -> Replica:
        """For the task ``run`` alone: between its steps it may hold what is not on disk."""
        return self._runner.replica

    @property
    def halted(self) -> str:
        """Why the store takes no writes, as a sentence; empty if it does."""
        return self._runner.halted

    # --- for callers ---------------------------------------------------------------------------

    async def propose(self, intent: Intent) -> Receipt:
        """Write a record of this node; it is on disk when this returns.

        Raises:
            ProposalRefused: the rules do not allow it; nothing was written.
            HeldUp: a cause in this host keeps the node from writing now; nothing was written.
            StoreFailure: it could not be written.
        """
        receipt: Receipt = await self._ask(lambda at: self._replica.propose(intent, at))
        return receipt

    async def change_roster(self, wish: RosterIntent) -> Receipt:
        """Write the records of one roster change, all in one batch.

        Raises:
            ProposalRefused: this node may not, or there is nothing to change; nothing was written.
            HeldUp: a cause in this host keeps the node from writing now; nothing was written.
            StoreFailure: it could not be written.
        """
        receipt: Receipt = await self._ask(lambda at: self._replica.change_roster(wish, at))
        return receipt

    async def ask_to_part(
        self, peer: NodePubkey, successor: SigningKey | None, nonce: bytes
    ) -> None:
        """Ask a peer to take this node off the roster, or to replace its key by the next one."""
        await self._ask(lambda at: (self._replica.ask_to_part(peer, successor, nonce, at), None))

    async def query(self, look: Callable[[Replica], T]) -> T:
        """Read from the replica; all that is read is on disk."""
        found: T = await self._ask(lambda _at: (Ready(), look(self._replica)), reads=True)
        return found

    async def on_disk(self, work: Callable[[Store], T]) -> T:
        """Run a function on the store, in the store's thread."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._disk, work, self.store)
        except StoreDamaged as damage:
            self._broken = damage  # ``run`` ends too
            raise

    async def _ask(self, work: Callable[[Now], tuple[Ready, Any]], *, reads: bool = False) -> Any:
        if self._inbox.is_closed:
            raise StoreFailure(STOPPING)
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self._inbox.put(Job(work, _answer(done), reads=reads))
        return await done

    # --- for links -----------------------------------------------------------------------------

    async def attach(self, link: PeerLink, up: Callable[[], None] = lambda: None) -> str:
        """Run a session over a link until it ends; returns the reason.

        Args:
            up: called if this is the first link with the peer.
        """
        if link.peer == self.own:
            link.drop(DisconnectReason.OWN_KEY)
            return await link.run(self._received)
        other = self.links.get(link.peer)
        if other is not None:
            if not self._prefers(link, other):
                link.drop(DisconnectReason.DUPLICATE)
                return await link.run(self._received)
            other.drop(DisconnectReason.DUPLICATE)
        self.links[link.peer] = link
        if other is None:
            up()
        peer, peer_clock = link.peer, link.peer_clock
        await self._enqueue(lambda at: self._replica.connected(peer, peer_clock, at))
        try:
            return await link.run(self._received)
        finally:
            if self.links.get(peer) is link:
                del self.links[peer]
                await self._enqueue(lambda _at: self._disconnect(peer))

    def _prefers(self, link: PeerLink, other: PeerLink) -> bool:
        """Whether to keep a new link rather than the other one with the same peer.

        The newer is kept, since the older may be dead without notice. Of two that were dialled at
        the same time, one from each side, both sides keep the one that the lower key dialled.
        """
        if link.dialled == other.dialled or link.since - other.since > AT_ONCE_SECONDS:
            return True
        return link.dialled == (self.own < link.peer)

    def _disconnect(self, peer: NodePubkey) -> Ready:
        self._replica.disconnected(peer)
        return Ready()

    async def _received(self, link: PeerLink, data: bytes) -> None:
        """Queue a peer's message; waits while its queue is full, so that the peer waits too."""
        peer = link.peer
        if self.links.get(peer) is not link:
            return
        await self._do_for(link, lambda at: self._replica.receive(peer, data, at), len(data))

    async def _go_on(self, link: PeerLink) -> None:
        """A peer has taken a part of a long answer: queue the next part."""
        peer = link.peer
        if self.links.get(peer) is link:
            await self._do_for(link, lambda at: self._replica.go_on(peer, at), 0)

    async def _do_for(self, link: PeerLink, work: Callable[[Now], Ready], size: int) -> None:
        """Queue work for a peer, and charge its time to the peer."""

        def charged(at: Now) -> tuple[Ready, None]:
            begin, away = clock.monotonic(), self._slices.away
            ready = work(at)
            took = clock.monotonic() - begin - (self._slices.away - away)
            self._inbox.charge(link.peer, took)
            self._reply_bytes += sum(len(out.data) for out in (*ready.reply, *ready.publish))
            return ready, None

        job = Job(charged, drop=link.drop, reads=True)
        await self._inbox.put_from(link.peer, job, size)

    async def _enqueue(self, work: Callable[[Now], Ready]) -> None:
        await self._inbox.put(Job(lambda at: (work(at), None), reads=True))

    # --- the task --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            StoreFailure: a commit failed, and the store cannot be read either. Nothing that
                depended on the commit left the process.
            StoreDamaged: the store does not hold what was written.
        """
        try:
            if not self.halted:
                await self._do([self._runner.startup_effects()])
            next_tick = clock.monotonic()
            while self._broken is None:
                await self._inbox.wait(next_tick - clock.monotonic())
                if self.halted and clock.monotonic() >= self._runner.try_at:
                    await self._try_disk()
                jobs = self._inbox.local()
                if clock.monotonic() >= next_tick:
                    next_tick = clock.monotonic() + TICK_SECONDS
                    # Before the callers: after a change of key, records are written again first.
                    jobs.insert(0, Job(lambda at: (self._replica.tick(at), None), reads=True))
                # Queries see what is on disk now, and need not wait for the next commit.
                await self._do([job for job in jobs if job.reads and job.answer])
                others = [job for job in jobs if not (job.reads and job.answer)]
                await self._do(chain(others, self._of_peers(BATCH_MAX - len(jobs))))
            raise self._broken
        finally:
            self._inbox.close()
            self._refuse_the_rest()

    def _of_peers(self, most: int) -> Iterator[Job]:
        """Jobs of peers, until their replies reach the most that may wait in memory."""
        self._reply_bytes = 0
        for job in self._inbox.of_peers(most):
            yield job
            if self._reply_bytes >= limits.TURN_BYTES_MAX:
                return

    async def _do(self, jobs: Iterable[Job]) -> None:
        """Do a batch, commit it, and only then release its results."""
        at = clock.now()
        batch = await self._slices.run(lambda: self._runner.work(jobs, at))
        if batch.must_commit:
            try:
                await self._slices.finish(self.on_disk(partial(self._commit, batch, at)))
            except StoreFailure as failure:
                batch = await self._halt(batch, failure, at)
        self.roster = self._replica.ledger.roster
        batch.release(self._send, self.bus.publish)
        self._slices.give_way()

    @staticmethod
    def _commit(batch: Batch, at: Now, store: Store) -> None:
        store.commit(batch.persist, batch.quarantine, at.wall.ms, batch.events)

    async def _halt(self, batch: Batch, failure: StoreFailure, at: Now) -> Batch:
        """Go on read-only from what is on disk; drop what depended on the failed commit."""
        self._drop_links(DisconnectReason.READ_ONLY)
        try:
            if isinstance(failure, StoreDamaged):
                raise failure
            log.error("%s; reads are served, writes refused until it works again", failure)
            return await self.on_disk(lambda _store: self._runner.fail(batch, str(failure), at))
        except StoreFailure as worse:
            self._broken = worse
            self._refused = batch.persist.rows.keys()
            for job, _, _ in batch.results:
                if job.answer is not None:
                    job.answer(worse)
            raise

    async def _try_disk(self) -> None:
        """Go back to work if the disk takes writes again."""
        try:
            first = await self.on_disk(lambda store: self._runner.resume(rebuild=store.probe()))
        except StoreDamaged:
            raise
        except StoreFailure:
            self._runner.try_at = clock.monotonic() + PROBE_SECONDS
            return
        log.warning("%s takes writes again", self.store.path)
        self._drop_links(DisconnectReason.WRITES_AGAIN)
        await self._do([first])

    def _drop_links(self, why: DisconnectReason) -> None:
        for link in self.links.values():
            link.drop(why)
        self.links.clear()

    def _send(self, peer: NodePubkey, outgoing: Outgoing) -> None:
        link = self.links.get(peer)
        if link is not None:
            link.send(outgoing.data, partial(self._go_on, link) if outgoing.goes_on else None)

    def _refuse_the_rest(self) -> None:
        while len(self._inbox):
            for job in (*self._inbox.local(), *self._inbox.of_peers(BATCH_MAX)):
                if job.answer is not None:
                    job.answer(StoreFailure(STOPPING))

    def advertise(self, addresses: tuple[str, ...]) -> None:
        """Set the addresses at which others can dial this node; before ``run`` begins."""
        self._replica.beacon.addresses = addresses

    def recall(self) -> InMemoryRows:
        """What this node still knows when ``run`` has ended because its store is damaged."""
        return recovery.in_memory_rows(self._replica, self._refused)

    async def stop(self) -> None:
        """Seal the own feed, send what is queued, and close the store.

        Raises:
            StoreFailure: the disk fails.
        """
        try:
            if self._broken is None:
                await self._do([Job(lambda at: (self._replica.seal(at), None))])
        finally:
            self._refuse_the_rest()
            self.bus.close()
            self._disk.shutdown(wait=True)
            self.store.close()


def _answer(done: asyncio.Future[Any]) -> Callable[[Any], None]:
    """Returns what hands a result, or a failure, to the caller, if it still waits."""

    def answer(result: Any) -> None:
        if done.done():
            return
        if isinstance(result, Exception):
            done.set_exception(result)
        else:
            done.set_result(result)

    return answer
