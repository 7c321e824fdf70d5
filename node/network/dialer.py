"""Keeps links of its own choosing up: whom to dial, and when to try again.

Stands at the start of the line. Back-off from 1 s to 30 s with jitter; the first try after a link
that worked is at once. Source: protocol §10.
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
from node.system import clock
from node.system.log_format import fields

log = logging.getLogger("gangline.dialer")

BACKOFF_SECONDS_MIN = 1.0
BACKOFF_SECONDS_MAX = 30.0
PATIENCE_SECONDS = 5.0
AT_ONCE = ("lost", "closed", "stopping", "silent")
"""After a link that ended so, the first try is at once."""
LOOK_SECONDS = 0.5


@dataclass(slots=True)
class DialAttempt:
    """How dialling one node goes."""

    delay: float = BACKOFF_SECONDS_MIN
    retry_at: float = 0.0
    last_error: str = ""

    def failed(self, error: str) -> bool:
        """Wait longer before the next try; with jitter, so that a fleet does not dial as one.

        Says whether it failed in another way than the last time.
        """
        news, self.last_error = error != self.last_error, error
        self.retry_at = clock.monotonic() + self.delay * random.uniform(0.5, 1.0)  # noqa: S311
        self.delay = min(2 * self.delay, BACKOFF_SECONDS_MAX)
        return news

    def worked(self) -> None:
        """The link was up: the next try is at once."""
        self.delay, self.retry_at, self.last_error = BACKOFF_SECONDS_MIN, 0.0, ""


class Dialer:
    """Dials wanted nodes until there are enough links.

    Attributes:
        spare: gives the key that is to come after the present one. Where that was revoked, the
            records that say so, and take in the next one, may have come everywhere but here.
        given: addresses by node from the config, tried after those that a node tells of itself.

    Args:
        known: addresses by node, from the config and from what was heard before; what is no
            address among them is left out.
        links: how many links to keep up.
        holder: runs a link once it is there.
        has_left: whether this node left the cluster.
    """

    def __init__(
        self,
        driver: Driver,
        me: Identity,
        known: dict[NodePubkey, tuple[str, ...]],
        links: int,
        holder: LinkSupervisor,
        has_left: Callable[[], bool] = lambda: False,
    ) -> None:
        self.attempts: dict[NodePubkey, DialAttempt] = {}
        self.known: dict[NodePubkey, tuple[str, ...]] = {}
        self.door = holder.door
        self.spare: Callable[[], SigningKey | None] = lambda: None
        self.given: Mapping[NodePubkey, Sequence[str]] = {}
        self._driver = driver
        self._me = me
        self._links = links
        self._holder = holder
        self._has_left = has_left
        # Who left dials nobody, but that it asks at a start whether it was taken back in.
        self._once = {*known} if has_left() else set()
        self._revoked: set[NodePubkey] = set()
        self._silent: set[NodePubkey] = set()
        self._raised: set[NodePubkey] = set()
        self._dialling: dict[NodePubkey, asyncio.Task[None]] = {}
        self._among: dict[NodePubkey, int] = {}  # how many were known when a node was drawn
        for node, heard in known.items():
            self._hear(node, heard)

    async def run(self) -> None:
        """Keep links up until cancelled."""
        try:
            while True:
                await self._learn()
                self._spread()
                for node in self._due():
                    self._among[node] = len(self.known)
                    self._dialling[node] = asyncio.create_task(self._dial(node))
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in self._dialling.values():
                task.cancel()
            await asyncio.gather(*self._dialling.values(), return_exceptions=True)

    async def _learn(self) -> None:
        """Take the addresses that nodes told of themselves; part from whom the roster parted."""
        heard, self._silent, self._revoked = await self._driver.query(_look)
        for node, places in heard.items():
            self._hear(node, places)
        own = self._me.key.pubkey in self._revoked and self.spare() is None
        young = clock.monotonic() - PATIENCE_SECONDS
        for node, link in self._driver.links.items():
            if node in self._revoked:
                link.end("revoked")
            # Who takes this node's link may know that it belongs again, and must be heard first.
            elif own and link.since < young:
                link.end("left" if self._has_left() else "outside")

    def _hear(self, node: NodePubkey, heard: tuple[str, ...]) -> None:
        """A node said where it is: at one place at a time, or it could name a crowd of others'."""
        places = addresses.dialable(addresses.in_dial_order(heard, self.given.get(node, ())))
        if not places or self.known.get(node) == places:
            return
        self.known[node] = places
        self.door.homes.note(node, places[0].rpartition(":")[0].strip("[]"))

    def _due(self) -> list[NodePubkey]:
        """Whom to dial now, drawn at random: in one order for all, the first would carry a fleet.

        Beyond the links that are wanted, one node that is silent: it may stand on the other side
        of what was cut in two, each half with links enough.
        """
        busy = self._driver.links.keys() | self._dialling.keys()
        at = clock.monotonic()
        due = [
            node
            for node in sorted(self.known.keys() - busy - self._revoked - {self._me.key.pubkey})
            if not self.door.is_banned(node)
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
        """Give up a link that was drawn among few, to draw again among all that are known now.

        Whoever let all others in is the only one that each of them knows at first.
        """
        links = self._driver.links
        young = clock.monotonic() - PATIENCE_SECONDS
        for node in self._dialling.keys() & links.keys():
            few = 2 * self._among[node] <= len(self.known)
            if few and len(links) >= self._links and links[node].since < young:
                links[node].end("elsewhere")
                self._among[node] = len(self.known)
                return

    async def _reach(self, address: str, node: NodePubkey) -> Link:
        try:
            link, _ = await reach(address, node, self._me, clock.wall())
        except HelloRefused as refusal:
            spare = self.spare() if refusal.reason == "revoked" else None
            if spare is None:
                raise
            link, _ = await reach(address, node, Identity(spare, self._me.cluster), clock.wall())
        return link

    async def _dial(self, node: NodePubkey) -> None:
        """Try a node, and be linked while that lasts; nothing raised escapes the back-off."""
        self._once.discard(node)
        attempt = self.attempts[node]
        pause = attempt.delay
        try:
            await self._try(node, attempt)
        except Exception as fault:
            # Whatever a peer makes a library raise: once in the log, however often it does.
            attempt.delay = max(attempt.delay, pause)
            attempt.failed(f"dialling failed: {type(fault).__name__}")
            if node not in self._raised:
                self._raised.add(node)
                called = self._holder.called(node)
                log.exception("dialling %s failed", called, extra=fields(peer=node.hex()))
        finally:
            del self._dialling[node]

    async def _try(self, node: NodePubkey, attempt: DialAttempt) -> None:
        """Try a node's addresses in turn; where none will do, all of them count as one failure."""
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
        # Who cannot be reached now may well be off; the table of peers says so. Who refuses is
        # told of once, not at every try.
        if attempt.failed(error) and refused and not self._has_left():
            where, known = ", ".join(self.known[node]), fields(peer=node.hex(), reason=error)
            called = self._holder.called(node)
            log.info("no link to %s at %s: %s", called, where, error, extra=known)

    async def _hold(self, node: NodePubkey, link: Link, attempt: DialAttempt) -> None:
        """Be linked until the link ends."""
        pause = attempt.delay
        attempt.worked()
        self.door.homes.note(node, link.host)
        end = await self._holder.hold(link)
        if end.is_duplicate:
            if node not in self._driver.links:
                # Another daemon with our key has the link: leave it some time there.
                attempt.delay = pause
                attempt.failed("another daemon with this node's key took the link")
        elif end.word not in AT_ONCE:
            attempt.failed(end.message)


class SeenAddress(NamedTuple):
    """Where nodes say that they listen, who was not heard of for long, and who is revoked."""

    heard: dict[NodePubkey, tuple[str, ...]]
    silent: set[NodePubkey]
    revoked: set[NodePubkey]


def _look(replica: Replica) -> SeenAddress:
    roster, liveness = replica.ledger.roster, replica.beacon.liveness
    at = clock.monotonic()
    seen = SeenAddress({}, set(), set())
    for node in roster.nodes():
        last = liveness.last(node)
        if last is not None:
            seen.heard[node] = last.state.addresses
        if liveness.status(node, at) == "offline":
            seen.silent.add(node)
        if not roster.belongs(node):
            seen.revoked.add(node)
    return seen
