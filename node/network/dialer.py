"""Dials other nodes: which ones, and when to retry.

The back-off is 1 s to 30 s with jitter; after a link that worked, the first retry is immediate.
Source: protocol §10.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from crdt.primitives.identity import SigningKey
from crdt.replica import Replica
from machines.values import NodePubkey
from node.config import addresses
from node.network.disconnect_reasons import message_for_peer
from node.network.handshake import HelloRefused, Identity
from node.network.link import Link, reach
from node.network.link_supervisor import LinkSupervisor
from node.runtime.driver import Driver
from node.runtime.peer_link import DisconnectReason
from node.system import clock
from node.system.log_format import fields

log = logging.getLogger("gangline.dialer")

BACKOFF_SECONDS_MIN = 1.0
BACKOFF_SECONDS_MAX = 30.0
PATIENCE_SECONDS = 5.0
RETRY_AT_ONCE = (
    DisconnectReason.LOST,
    DisconnectReason.CLOSED,
    DisconnectReason.STOPPING,
    DisconnectReason.SILENT,
)
"""If a link ended for one of these reasons, the first retry is immediate."""
POLL_SECONDS = 0.5


@dataclass(slots=True)
class DialAttempt:
    """The state of dialling one node."""

    delay: float = BACKOFF_SECONDS_MIN
    retry_at: float = 0.0
    last_error: str = ""

    def failed(self, error: str) -> bool:
        """Back off; jitter keeps the nodes of a fleet from dialling at the same time.

        Returns:
            Whether the error differs from the last one.
        """
        is_new, self.last_error = error != self.last_error, error
        self.retry_at = clock.monotonic() + self.delay * random.uniform(0.5, 1.0)  # noqa: S311
        self.delay = min(2 * self.delay, BACKOFF_SECONDS_MAX)
        return is_new

    def worked(self) -> None:
        """Reset the back-off: the link was up."""
        self.delay, self.retry_at, self.last_error = BACKOFF_SECONDS_MIN, 0.0, ""


class Dialer:
    """Dials nodes until there are enough links.

    Attributes:
        spare: returns the next key during ``rotate``. If a peer refuses the present key as revoked,
            the next one is tried: its admission may have reached every node but this one.
        given: addresses by node from the config, tried after those from presence.

    Args:
        known: addresses by node, from the config and the store; invalid ones are ignored.
        links: the number of links to keep.
        supervisor: runs a link once it is up.
        has_left: returns whether this node has left the cluster.
    """

    def __init__(
        self,
        driver: Driver,
        me: Identity,
        known: dict[NodePubkey, tuple[str, ...]],
        links: int,
        supervisor: LinkSupervisor,
        has_left: Callable[[], bool] = lambda: False,
    ) -> None:
        self.attempts: dict[NodePubkey, DialAttempt] = {}
        self.known: dict[NodePubkey, tuple[str, ...]] = {}
        self.limiter = supervisor.limiter
        self.spare: Callable[[], SigningKey | None] = lambda: None
        self.given: Mapping[NodePubkey, Sequence[str]] = {}
        self._driver = driver
        self._me = me
        self._links = links
        self._supervisor = supervisor
        self._has_left = has_left
        # A node that left dials each node once after a start, to ask if it was taken back.
        self._once = {*known} if has_left() else set()
        self._revoked: set[NodePubkey] = set()
        self._silent: set[NodePubkey] = set()
        self._raised: set[NodePubkey] = set()
        self._dialling: dict[NodePubkey, asyncio.Task[None]] = {}
        self._among: dict[NodePubkey, int] = {}  # how many nodes were known when this one was drawn
        for node, heard in known.items():
            self._hear(node, heard)

    async def run(self) -> None:
        """Dial until cancelled."""
        try:
            while True:
                await self._learn()
                self._spread()
                for node in self._due():
                    self._among[node] = len(self.known)
                    self._dialling[node] = asyncio.create_task(self._dial(node))
                await asyncio.sleep(POLL_SECONDS)
        finally:
            for task in self._dialling.values():
                task.cancel()
            await asyncio.gather(*self._dialling.values(), return_exceptions=True)

    async def _learn(self) -> None:
        """Read addresses from presence; end links to nodes that the roster revoked."""
        heard, self._silent, self._revoked = await self._driver.query(_look)
        for node, places in heard.items():
            self._hear(node, places)
        own = self._me.key.pubkey in self._revoked and self.spare() is None
        young = clock.monotonic() - PATIENCE_SECONDS
        for node, link in self._driver.links.items():
            if node in self._revoked:
                link.end(DisconnectReason.REVOKED)
            # The peer may know that this node belongs again; give it time to send that.
            elif own and link.since < young:
                link.end(DisconnectReason.LEFT if self._has_left() else DisconnectReason.OUTSIDE)

    def _hear(self, node: NodePubkey, heard: tuple[str, ...]) -> None:
        """Take a node's addresses; only the first counts as a member's, or it could list many."""
        places = addresses.dialable(addresses.in_dial_order(heard, self.given.get(node, ())))
        if not places or self.known.get(node) == places:
            return
        self.known[node] = places
        self.limiter.members.note(node, places[0].rpartition(":")[0].strip("[]"))

    def _due(self) -> list[NodePubkey]:
        """The nodes to dial now, in random order: in a fixed order one node would get all links.

        If there are enough links, one silent node: it may be on the other side of a partition in
        which both halves have enough links.
        """
        busy = self._driver.links.keys() | self._dialling.keys()
        at = clock.monotonic()
        due = [
            node
            for node in sorted(self.known.keys() - busy - self._revoked - {self._me.key.pubkey})
            if not self.limiter.is_banned(node)
            and (node in self._once or not self._has_left())
            and self.attempts.setdefault(node, DialAttempt()).retry_at <= at
        ]
        random.shuffle(due)
        room = self._links - len(busy)
        if room > 0:
            return due[:room]
        if not self._dialling.keys() <= self._driver.links.keys():
            return []  # one at a time
        return [node for node in due if node in self._silent][:1]

    def _spread(self) -> None:
        """End a link that was drawn when few nodes were known, to draw again among all.

        At first each new node knows only the one that admitted it.
        """
        links = self._driver.links
        young = clock.monotonic() - PATIENCE_SECONDS
        for node in self._dialling.keys() & links.keys():
            few = 2 * self._among[node] <= len(self.known)
            if few and len(links) >= self._links and links[node].since < young:
                links[node].end(DisconnectReason.ELSEWHERE)
                self._among[node] = len(self.known)
                return

    async def _reach(self, address: str, node: NodePubkey) -> Link:
        try:
            link, _ = await reach(address, node, self._me, clock.wall())
        except HelloRefused as refusal:
            spare = self.spare() if refusal.reason == DisconnectReason.REVOKED else None
            if spare is None:
                raise
            link, _ = await reach(address, node, Identity(spare, self._me.cluster), clock.wall())
        return link

    async def _dial(self, node: NodePubkey) -> None:
        """Dial a node and run the link; any exception counts as a failed attempt."""
        self._once.discard(node)
        attempt = self.attempts[node]
        pause = attempt.delay
        try:
            await self._try(node, attempt)
        except Exception as fault:
            # A peer may make a library raise anything; logged once for each node.
            attempt.delay = max(attempt.delay, pause)
            attempt.failed(f"dialling failed: {type(fault).__name__}")
            if node not in self._raised:
                self._raised.add(node)
                called = self._supervisor.called(node)
                log.exception("dialling %s failed", called, extra=fields(peer=node.hex()))
        finally:
            del self._dialling[node]

    async def _try(self, node: NodePubkey, attempt: DialAttempt) -> None:
        """Try a node's addresses in turn; if all fail, that is one failed attempt."""
        errors: dict[str, None] = {}
        refused = False
        for address in self.known[node]:
            try:
                link = await self._reach(address, node)
            except HelloRefused as refusal:
                refused = True
                errors[message_for_peer(refusal.reason, refusal.version)] = None
            except OSError as fault:
                errors[str(fault)] = None
            else:
                await self._hold(node, link, attempt)
                return
        error = "; ".join(errors)
        # A node that cannot be reached may be off, and `gangline peers` shows it. A refusal is
        # logged once, not at each attempt.
        if attempt.failed(error) and refused and not self._has_left():
            where, known = ", ".join(self.known[node]), fields(peer=node.hex(), reason=error)
            called = self._supervisor.called(node)
            log.info("no link to %s at %s: %s", called, where, error, extra=known)

    async def _hold(self, node: NodePubkey, link: Link, attempt: DialAttempt) -> None:
        """Run a link until it ends."""
        pause = attempt.delay
        attempt.worked()
        self.limiter.members.note(node, link.host)
        end = await self._supervisor.hold(link)
        if end.is_duplicate:
            if node not in self._driver.links:
                # Another daemon with this node's key has the link; back off.
                attempt.delay = pause
                attempt.failed("another daemon with this node's key took the link")
        elif end.reason not in RETRY_AT_ONCE:
            attempt.failed(end.message)


class RosterSnapshot(NamedTuple):
    """The addresses of nodes from presence, the nodes that are offline, and the revoked ones."""

    heard: dict[NodePubkey, tuple[str, ...]]
    silent: set[NodePubkey]
    revoked: set[NodePubkey]


def _look(replica: Replica) -> RosterSnapshot:
    roster, liveness = replica.ledger.roster, replica.beacon.liveness
    at = clock.monotonic()
    seen = RosterSnapshot({}, set(), set())
    for node in roster.nodes():
        last = liveness.last(node)
        if last is not None:
            seen.heard[node] = last.state.addresses
        if liveness.status(node, at) == "offline":
            seen.silent.add(node)
        if not roster.belongs(node):
            seen.revoked.add(node)
    return seen
