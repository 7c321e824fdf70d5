"""``leave`` and ``rotate``: ask the nodes that may do it, wait for the roster, and change keys.

The next key lies beside the present one until its admission is on disk here; it takes the present
key's place at the following start. So a crash at any moment leaves the node a key that its store
knows. Source: protocol §9; docs/decisions/0003.
"""

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from crdt.authoring import roster_intents
from crdt.authoring.intents import Receipt
from crdt.authoring.roster_requests import RequestOutcome
from crdt.contract.ready import PetitionAnswered
from crdt.primitives.errors import NotWritable, ProposalRefused
from crdt.primitives.identity import SigningKey
from crdt.replica import Replica
from crdt.views.roster import Roster
from crdt.wire.roster_request import NONCE_BYTES
from machines.values import NodePubkey
from node.config import key_file
from node.runtime.driver import Driver
from node.runtime.event_bus import Subscription
from node.runtime.peer_link import DisconnectReason
from node.storage.meta_keys import MetaKey
from node.storage.store import Store
from node.system import clock
from node.system.errors import OperatorError, StoreFailure
from node.system.home import Home

log = logging.getLogger("gangline")

PATIENCE_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.1
ASKED: Final = b"asked"
GONE: Final = b"gone"

WORDS: Final[dict[str, str]] = {
    RequestOutcome.NOT_DIRECT: "it accepts this only from the node itself",
    RequestOutcome.NOT_YOURS: "it did not admit this node",
    RequestOutcome.FOUNDER_STAYS: "the founder cannot leave, and its key cannot be replaced",
    RequestOutcome.STALE: (
        "its clock and this host's are more than five minutes apart; set them right"
    ),
    RequestOutcome.KNOWN_KEY: "the next key is on the roster already",
    RequestOutcome.CANNOT_WRITE: "it cannot write now; see its status",
    RequestOutcome.REVOKED: "this node's admission was revoked",
    RequestOutcome.TOO_SOON: (
        "this node has changed its key three times; it may do so again once an hour"
    ),
    RequestOutcome.BEHIND: (
        "it does not have everything that this node wrote; wait until status shows 0 unshared"
    ),
}

MOVING: Final = (
    "this node is still writing again, under its new key, what it wrote with the former key; try "
    "again in a moment"
)
PASSING: Final = (
    "",
    RequestOutcome.STALE,
    RequestOutcome.CANNOT_WRITE,
    RequestOutcome.BEHIND,
)
"""Not a refusal: a clock, a disk or a link is in the way, and it may be done later."""


class LeaveOrRotate:
    """Takes this daemon's node off the roster, or puts its next key in its place.

    Args:
        switch: stops the daemon, which then starts again under the next key.

    Attributes:
        switching: whether the daemon stops to change its key.
    """

    def __init__(self, driver: Driver, home: Home, switch: Callable[[], None]) -> None:
        self.switching = False
        self._driver = driver
        self._home = home
        self._switch = switch
        self._note = driver.store.meta(MetaKey.LEFT) or b""

    async def leave(self) -> None:
        """Have this node taken off the roster; its records stand.

        Raises:
            ProposalRefused: the rules do not allow it, or the asked node refused.
            OperatorError: no node that may do it is linked, or can do it now; names those nodes.
        """
        if self.has_left():
            raise ProposalRefused(self.why_gone())
        # Noted before it asks, so that after a crash the node knows that it left by its own wish.
        await self._write_note(ASKED)
        try:
            await self._ask(None)
        except (ProposalRefused, OperatorError):
            await self._write_note(b"")
            raise
        await self._wait_until(lambda r: not r.ledger.roster.belongs(r.own), "left")

    def has_left(self) -> bool:
        """Whether this node is off the roster by its own wish."""
        return bool(self._note) and not self._belongs()

    def own_reason(self) -> DisconnectReason | None:
        """Why this node took its key off the roster; ``None`` if it did not."""
        if self.has_left():
            return DisconnectReason.LEFT
        return DisconnectReason.ROTATED if self.is_due() else None

    def why_gone(self) -> str:
        """That this node left, and how it can come back; empty if it did not leave."""
        if not self.has_left():
            return ""
        return (
            "this node left the cluster and writes nothing; what it holds can be read. To come "
            f"back, let an admin run gangline members admit {self._driver.own.hex()}; then "
            "start this daemon again. Or join as another node, with a ticket, in another --home"
        )

    def _belongs(self) -> bool:
        return self._driver.roster.belongs(self._driver.own)

    async def carry_out(self, write: Awaitable[Receipt]) -> Receipt:
        """Await a write; if it is refused because this node leaves or rotates, raise that instead.

        Raises:
            ProposalRefused: the rules do not allow it; or this node left.
            OperatorError: it cannot be written now; or this node is changing its key.
        """
        try:
            return await write
        except NotWritable:
            if self.is_due():
                raise OperatorError(
                    "this node is changing its key; ask again in a moment"
                ) from None
            if self.has_left():
                raise ProposalRefused(self.why_gone()) from None
            raise

    async def _write_note(self, note: bytes) -> None:
        await self._driver.on_disk(lambda store: store.set_meta(MetaKey.LEFT, note))
        self._note = note

    async def _update_note(self) -> None:
        """Note that this node is off the roster; clear the note once it was admitted again.

        Without that, a later revocation by an admin would count as this node's own wish.
        """
        belongs = self._belongs()
        with contextlib.suppress(StoreFailure):  # such as a full disk; tried again
            if self._note == ASKED and not belongs:
                await self._write_note(GONE)
                log.warning("%s", self.why_gone())
            elif self._note == GONE and belongs:
                await self._write_note(b"")

    async def rotate(self) -> NodePubkey:
        """Replace this node's key; returns the new one. The daemon then starts again under it.

        Raises:
            ProposalRefused: the rules do not allow it, or the asked node refused.
            OperatorError: no node that may do it is linked, or can do it now; names those nodes.
        """
        path = self._home.next_key
        key = key_file.load(path) if path.exists() else key_file.generate(path)
        await self._ask(key)
        await self._wait_until(
            lambda r: is_replaced(r.ledger.roster, r.own, key.pubkey), "changed its key"
        )
        return key.pubkey

    async def watch(self) -> None:
        """Change keys as soon as the roster has the next one; note whether this node left."""
        if self.has_left():
            log.warning("%s", self.why_gone())
        while True:
            if not self._driver.halted and self.is_due():
                # A moment, so that the caller still gets an answer.
                await asyncio.sleep(2 * LOOK_SECONDS)
                self.switching = True
                self._switch()
                return
            await self._update_note()
            await asyncio.sleep(LOOK_SECONDS)

    def is_due(self) -> bool:
        """Whether the roster has replaced the present key by the next one."""
        path = self._home.next_key
        if not path.exists():
            return False
        return is_replaced(self._driver.roster, self._driver.own, key_file.load(path).pubkey)

    async def _ask(self, successor: SigningKey | None) -> None:
        linked = set(self._driver.links)
        peers, missing = await self._driver.query(lambda r: whom_to_ask(r, linked))
        if missing:
            raise OperatorError(missing)
        if not peers:
            known = await self._driver.on_disk(lambda store: store.addresses())
            raise OperatorError(_admission_unknown(known.keys() - {self._driver.own}, linked))
        for peer in peers:
            await self._ask_one(peer, successor)

    async def _ask_one(self, peer: NodePubkey, successor: SigningKey | None) -> None:
        end = clock.monotonic() + PATIENCE_SECONDS
        word = ""
        while word != RequestOutcome.DONE:
            nonce = secrets.token_bytes(NONCE_BYTES)
            wanted = _answer_of(peer, nonce)
            with self._driver.bus.subscribe(wanted) as answers:
                await self._driver.ask_to_part(peer, successor, nonce)
                word = await _first(answers)
            if (
                word not in (RequestOutcome.BEHIND, RequestOutcome.DONE, "")
                or clock.monotonic() > end
            ):
                why = WORDS.get(word, "it gave no answer that this version knows")
                message = f"{peer.short} did not do it: {why}"
                raise OperatorError(message) if word in PASSING else ProposalRefused(message)
            if word == "" and peer not in self._driver.links:
                return  # done or not: the roster will show it
            await asyncio.sleep(LOOK_SECONDS)

    async def _wait_until(self, holds: Callable[[Replica], bool], what: str) -> None:
        end = clock.monotonic() + PATIENCE_SECONDS
        while not await self._driver.query(holds):
            if clock.monotonic() > end:
                raise OperatorError(
                    f"the roster does not show yet that this node has {what}; it may still come: "
                    "see gangline members, or ask again"
                )
            await asyncio.sleep(LOOK_SECONDS)


def _answer_of(peer: NodePubkey, nonce: bytes) -> Callable[[object], bool]:
    def wanted(event: object) -> bool:
        return isinstance(event, PetitionAnswered) and (event.peer, event.nonce) == (peer, nonce)

    return wanted


async def _first(answers: Subscription) -> str:
    """The outcome in the first answer; empty if no answer comes in time."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            async for event in answers:
                if isinstance(event, PetitionAnswered):
                    return event.word
    except TimeoutError:
        pass
    return ""


def whom_to_ask(replica: Replica, linked: set[NodePubkey]) -> tuple[list[NodePubkey], str]:
    """The nodes that together may do it, and why they cannot be asked now; empty if they can.

    There are none if this node knows no admission of its own.

    Raises:
        ProposalRefused: no node may do it.
    """
    roster = replica.ledger.roster
    if replica.own == roster.founder:
        raise ProposalRefused(WORDS[RequestOutcome.FOUNDER_STAYS])
    standing = roster_intents.active_admissions(replica.own, roster)
    if not roster.on_roster(replica.own):
        return [], ""
    if not standing:
        raise ProposalRefused("this node no longer belongs to the cluster")
    if replica.rewriting.is_moving():  # two keys later, its author would be unknown
        return [], MOVING
    if roster.founder in linked:
        return [roster.founder], ""
    authors = sorted({admission.ref.author for admission in standing})
    missing = [node for node in authors if node not in linked]
    if missing:
        who = ", ".join(f"{roster.name(node)} ({node.short})" for node in missing)
        return authors, (
            f"the node that admitted this one must do it, or the founder, over a direct link; "
            f"{who} is not linked now; see: gangline peers"
        )
    return authors, ""


def _admission_unknown(known: Collection[NodePubkey], linked: Collection[NodePubkey]) -> str:
    """What to wait for if this node joined, but its admission has not arrived yet."""
    problem = "this node has not received its admission yet"
    if not known:
        return f"{problem}, and knows no other node; name one under [[peers]] in the config"
    who = " or ".join(
        f"{node.short} ({'linked' if node in linked else 'not linked'} now)"
        for node in sorted(known)
    )
    return f"{problem}: wait until {who} has sent it, see: gangline peers; then ask again"


def is_replaced(roster: Roster, own: NodePubkey, successor: NodePubkey) -> bool:
    """Whether the successor belongs and the present key no longer does: both changes are needed."""
    return roster.belongs(successor) and not roster.belongs(own)


def former(store: Store) -> NodePubkey | None:
    """The key that this node had before its present one; ``None`` if there was none."""
    raw = store.meta(MetaKey.FORMER)
    return NodePubkey(raw) if raw else None


def settle(home: Home, store: Store, replica: Replica) -> bool:
    """At a start, replace the key by the next one if the roster on disk has done so.

    Returns whether it did; then the replica must be built again.
    """
    if not home.next_key.exists():
        return False
    key = key_file.load(home.next_key)
    if not is_replaced(replica.ledger.roster, replica.own, key.pubkey):
        return False
    # The key file changes last, in one step. The present key can no longer write, so a crash in
    # between does no harm.
    store.set_meta(MetaKey.FORMER, bytes(replica.own))
    store.set_meta(MetaKey.FORMER_END, store.meta(MetaKey.OWN_END) or b"")
    store.set_meta(MetaKey.INCARNATION, bytes(4))
    os.replace(home.next_key, home.key)  # noqa: PTH105 - the name shows that it replaces
    folder = os.open(home.path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True
