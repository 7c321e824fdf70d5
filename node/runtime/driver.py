"""The one task that owns the replica, and carries its instructions out in order.

Stands around the line: takes messages from links and intents from local callers, one batch at a
time; commits what the batch must persist, in a thread of its own; and only then lets anything
leave: answers, frames, events. While the disk takes no writes it serves callers who look, and
peers, from what is on it, and tries it again by itself. Source: protocol §11.
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
        build: the replica as a store has it, which calls the given checkpoint at long work, and
            what reading it left to be written.

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
        self._said = 0  # bytes that peers will be sent after this turn
        self._disk = ThreadPoolExecutor(1, "store")
        self._slices = Slices()
        self._carrier = BatchRunner(lambda: build(store, self._slices.checkpoint), store.no_room)
        self._broken: StoreFailure | None = None
        self._refused: Collection[RowKey] = ()
        self.own, self.cluster = self._replica.own, self._replica.cluster
        self.roster = self._replica.ledger.roster

    @property
    def _replica(self) -> Replica:
        """For the task ``run`` alone: between its steps it may hold what is not on disk."""
        return self._carrier.replica

    @property
    def halted(self) -> str:
        """Why nothing can be written, as a sentence; empty while all is well."""
        return self._carrier.halted

    # --- for callers ---------------------------------------------------------------------------

    async def propose(self, intent: Intent) -> Receipt:
        """Write an own record; it is on disk when this returns.

        Raises:
            ProposalRefused: the rules do not allow it; nothing was written.
            HeldUp: this host keeps the node from writing now; nothing was written.
            StoreFailure: it could not be written.
        """
        receipt: Receipt = await self._ask(lambda at: self._replica.propose(intent, at))
        return receipt

    async def change_roster(self, wish: RosterIntent) -> Receipt:
        """Write what an operator wishes for the roster, all of it in one go.

        Raises:
            ProposalRefused: this node may not, or there is nothing to do; nothing was written.
            HeldUp: this host keeps the node from writing now; nothing was written.
            StoreFailure: it could not be written.
        """
        receipt: Receipt = await self._ask(lambda at: self._replica.change_roster(wish, at))
        return receipt

    async def ask_to_part(
        self, peer: NodePubkey, successor: SigningKey | None, nonce: bytes
    ) -> None:
        """Ask a peer to take this node off the roster, or to put its next key in its place."""
        await self._ask(lambda at: (self._replica.ask_to_part(peer, successor, nonce, at), None))

    async def query(self, look: Callable[[Replica], T]) -> T:
        """Look at the replica; what is seen is on disk."""
        found: T = await self._ask(lambda _at: (Ready(), look(self._replica)), looks=True)
        return found

    async def on_disk(self, work: Callable[[Store], T]) -> T:
        """Do something with the store in its own thread."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._disk, work, self.store)
        except StoreDamaged as damage:
            self._broken = damage  # whoever came upon it, all of this ends
            raise

    async def _ask(self, work: Callable[[Now], tuple[Ready, Any]], *, looks: bool = False) -> Any:
        if self._inbox.is_closed:
            raise StoreFailure(STOPPING)
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self._inbox.put(Job(work, _answer(done), looks=looks))
        return await done

    # --- for links -----------------------------------------------------------------------------

    async def attach(self, link: PeerLink, up: Callable[[], None] = lambda: None) -> str:
        """Run a session over a link until it ends; gives one word why it did.

        Args:
            up: called where there was no link with the peer, and now there is one.
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
        await self._tell(lambda at: self._replica.connected(peer, peer_clock, at))
        try:
            return await link.run(self._received)
        finally:
            if self.links.get(peer) is link:
                del self.links[peer]
                await self._tell(lambda _at: self._disconnect(peer))

    def _prefers(self, link: PeerLink, other: PeerLink) -> bool:
        """Of two links with one peer keep the newer: the old one may be dead, and nobody told us.

        Of two dialled at once, one from each side, both keep the one that the lower key dialled.
        """
        if link.dialled == other.dialled or link.since - other.since > AT_ONCE_SECONDS:
            return True
        return link.dialled == (self.own < link.peer)

    def _disconnect(self, peer: NodePubkey) -> Ready:
        self._replica.disconnected(peer)
        return Ready()

    async def _received(self, link: PeerLink, data: bytes) -> None:
        """One message from a peer; waits while the peer's lane is full, so that it waits too."""
        peer = link.peer
        if self.links.get(peer) is not link:
            return

        await self._do_for(link, lambda at: self._replica.receive(peer, data, at), len(data))

    async def _go_on(self, link: PeerLink) -> None:
        """A peer has taken a part of a long answer."""
        peer = link.peer
        if self.links.get(peer) is link:
            await self._do_for(link, lambda at: self._replica.go_on(peer, at), 0)

    async def _do_for(self, link: PeerLink, work: Callable[[Now], Ready], size: int) -> None:
        """Queue work that is done for a peer, at its cost."""

        def work_at_its_cost(at: Now) -> tuple[Ready, None]:
            begin, away = clock.monotonic(), self._slices.away
            ready = work(at)
            took = clock.monotonic() - begin - (self._slices.away - away)
            self._inbox.charge(link.peer, took)
            self._said += sum(len(out.data) for out in (*ready.reply, *ready.publish))
            return ready, None

        job = Job(work_at_its_cost, drop=link.drop, looks=True)
        await self._inbox.put_from(link.peer, job, size)

    async def _tell(self, work: Callable[[Now], Ready]) -> None:
        await self._inbox.put(Job(lambda at: (work(at), None), looks=True))

    # --- the task --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            StoreFailure: a commit failed, and what is on disk cannot be read either. Nothing that
                rested on it left the process.
            StoreDamaged: what is on disk is not what was written.
        """
        try:
            if not self.halted:
                await self._do([self._carrier.startup_effects()])
            next_tick = clock.monotonic()
            while self._broken is None:
                await self._inbox.wait(next_tick - clock.monotonic())
                if self.halted and clock.monotonic() >= self._carrier.try_at:
                    await self._try_disk()
                jobs = self._inbox.local()
                if clock.monotonic() >= next_tick:
                    next_tick = clock.monotonic() + TICK_SECONDS
                    # Before the callers: at a start, what moves to the next key moves first.
                    jobs.insert(0, Job(lambda at: (self._replica.tick(at), None), looks=True))
                # Who only looks sees what is on disk now, and need not wait for the next commit.
                await self._do([job for job in jobs if job.looks and job.answer])
                others = [job for job in jobs if not (job.looks and job.answer)]
                await self._do(chain(others, self._of_peers(BATCH_MAX - len(jobs))))
            raise self._broken
        finally:
            self._inbox.close()
            self._refuse_the_rest()

    def _of_peers(self, most: int) -> Iterator[Job]:
        """What peers ask for, until the answers are as much as may wait in memory at once."""
        self._said = 0
        for job in self._inbox.of_peers(most):
            yield job
            if self._said >= limits.TURN_BYTES_MAX:
                return

    async def _do(self, jobs: Iterable[Job]) -> None:
        """Do a batch, commit it, and only then let its results out."""
        at = clock.now()
        turn = await self._slices.run(lambda: self._carrier.work(jobs, at))
        if turn.must_commit:
            try:
                await self._slices.finish(self.on_disk(partial(self._commit, turn, at)))
            except StoreFailure as failure:
                turn = await self._halt(turn, failure, at)
        self.roster = self._replica.ledger.roster
        turn.release(self._send, self.bus.publish)
        self._slices.give_way()

    @staticmethod
    def _commit(turn: Batch, at: Now, store: Store) -> None:
        store.commit(turn.persist, turn.quarantine, at.wall.ms, turn.events)

    async def _halt(self, turn: Batch, failure: StoreFailure, at: Now) -> Batch:
        """Go on without writing, from what is on disk: what rested on the failed commit goes."""
        self._open_links_anew(DisconnectReason.READ_ONLY)
        try:
            if isinstance(failure, StoreDamaged):
                raise failure
            log.error("%s; reads are served, writes refused until it works again", failure)
            return await self.on_disk(lambda _store: self._carrier.fail(turn, str(failure), at))
        except StoreFailure as worse:
            self._broken = worse
            self._refused = turn.persist.rows.keys()
            for job, _, _ in turn.results:
                if job.answer is not None:
                    job.answer(worse)
            raise

    async def _try_disk(self) -> None:
        """See whether the disk takes writes again, and if so, go back to work."""
        try:
            first = await self.on_disk(lambda store: self._carrier.resume(anew=store.probe()))
        except StoreDamaged:
            raise
        except StoreFailure:
            self._carrier.try_at = clock.monotonic() + PROBE_SECONDS
            return
        log.warning("%s takes writes again", self.store.path)
        self._open_links_anew(DisconnectReason.WRITES_AGAIN)
        await self._do([first])

    def _open_links_anew(self, why: DisconnectReason) -> None:
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
        """Seal the own feed, let what is owed out, and close the store.

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
    """Give an answer, or raise a failure, to whoever still waits."""

    def answer(result: Any) -> None:
        if done.done():
            return
        if isinstance(result, Exception):
            done.set_exception(result)
        else:
            done.set_result(result)

    return answer
