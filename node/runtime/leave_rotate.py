"""``leave`` and ``rotate``: asks those who may, waits for the roster, and changes keys.

Stands beside ``daemon.py``. The next key lies beside the present one until its admission is on
disk here; only then, at a start, does it take its place. So whatever crashes when, the node has a
key that its store knows. Source: protocol §9; docs/decisions/0003.
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
from crdt.authoring.roster_requests import BEHIND, DONE, TOO_SOON
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

WORDS: Final = {
    "not_direct": "it takes this only from the node itself",
    "not_yours": "it did not admit this node",
    "founder_stays": "the founder cannot leave, and its key cannot be replaced",
    "stale": "its clock and this host's are more than five minutes apart; set them right",
    "known_key": "the next key is on the roster already",
    "cannot_write": "it cannot write now; its status says why",
    "revoked": "this node's admission was revoked",
    TOO_SOON: "this node took a new key three times; from then on it may once an hour",
    BEHIND: "it does not have everything that this node wrote; wait until status says 0 unshared",
}

MOVING: Final = (
    "this node is still writing again, under its new key, what it wrote with the former one; try "
    "again in a moment"
)
PASSING: Final = ("", "stale", "cannot_write", BEHIND)
"""What is no word on what was asked: a clock, a disk or a link, and it may be done later."""


class LeaveOrRotate:
    """One daemon's way out of the roster.

    Args:
        switch: ends the daemon, which then starts again under the next key.

    Attributes:
        switching: that is what it was ended for.
    """

    def __init__(self, driver: Driver, home: Home, switch: Callable[[], None]) -> None:
        self.switching = False
        self._driver = driver
        self._home = home
        self._switch = switch
        self._note = driver.store.meta(MetaKey.LEFT) or b""

    async def leave(self) -> None:
        """Be taken off the roster; what this node wrote stands.

        Raises:
            ProposalRefused: the rules do not allow it, or who may do it does not.
            Trouble: nobody who may do it is linked, or can do it now; says who may.
        """
        if self.has_left():
            raise ProposalRefused(self.why_gone())
        # Before it is asked for: whatever crashes when, it is known that this node wished it.
        await self._write_note(ASKED)
        try:
            await self._ask(None)
        except (ProposalRefused, OperatorError):
            await self._write_note(b"")
            raise
        await self._until(lambda r: not r.ledger.roster.belongs(r.own), "left")

    def has_left(self) -> bool:
        """Whether this node is off the roster, and wished to be."""
        return bool(self._note) and not self._belongs()

    def own_reason(self) -> DisconnectReason | None:
        """Why this node took its key off the roster; ``None`` if it did not."""
        if self.has_left():
            return DisconnectReason.LEFT
        return DisconnectReason.ROTATED if self.is_due() else None

    def why_gone(self) -> str:
        """That this node left, and the way back; empty where it did not."""
        if not self.has_left():
            return ""
        return (
            "this node left the cluster and writes nothing; what it holds can be read. To come "
            f"back, let an admin run gangline members admit {self._driver.own.hex()}; "
            "then start this daemon anew. Or join as another node, by a ticket, in another --home"
        )

    def _belongs(self) -> bool:
        return self._driver.roster.belongs(self._driver.own)

    async def asked_meanwhile(self, write: Awaitable[Receipt]) -> Receipt:
        """Carry out a write; if this node may not, say so in terms of its parting.

        Raises:
            ProposalRefused: the rules do not allow it; or this node left.
            Trouble: it cannot be written now; or this node is changing its key.
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

    async def _keep_note(self) -> None:
        """Once it is gone, a node that belongs was taken back; a later revocation is another's."""
        belongs = self._belongs()
        with contextlib.suppress(StoreFailure):  # tried again: a full disk, say
            if self._note == ASKED and not belongs:
                await self._write_note(GONE)
                log.warning("%s", self.why_gone())
            elif self._note == GONE and belongs:
                await self._write_note(b"")

    async def rotate(self) -> NodePubkey:
        """Go on under a new key; gives it. The daemon starts again under it in a moment.

        Raises:
            ProposalRefused: the rules do not allow it, or who may do it does not.
            Trouble: nobody who may do it is linked, or can do it now; says who may.
        """
        path = self._home.next_key
        key = key_file.load(path) if path.exists() else key_file.generate(path)
        await self._ask(key)
        await self._until(
            lambda r: is_replaced(r.ledger.roster, r.own, key.pubkey), "changed its key"
        )
        return key.pubkey

    async def watch(self) -> None:
        """Change keys as soon as the roster has the next one, whoever asked for it and when.

        Keeps in mind, too, whether this node left.
        """
        if self.has_left():
            log.warning("%s", self.why_gone())
        while True:
            if not self._driver.halted and self.is_due():
                # A moment, so that who asked for it still gets an answer.
                await asyncio.sleep(2 * LOOK_SECONDS)
                self.switching = True
                self._switch()
                return
            await self._keep_note()
            await asyncio.sleep(LOOK_SECONDS)

    def is_due(self) -> bool:
        """Whether the roster has put the next key in the present one's place."""
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
            raise OperatorError(_unheard(known.keys() - {self._driver.own}, linked))
        for peer in peers:
            await self._ask_one(peer, successor)

    async def _ask_one(self, peer: NodePubkey, successor: SigningKey | None) -> None:
        end = clock.monotonic() + PATIENCE_SECONDS
        word = ""
        while word != DONE:
            nonce = secrets.token_bytes(NONCE_BYTES)
            wanted = _answering(peer, nonce)
            with self._driver.bus.subscribe(wanted) as answers:
                await self._driver.ask_to_part(peer, successor, nonce)
                word = await _first(answers)
            if word not in (BEHIND, DONE, "") or clock.monotonic() > end:
                why = WORDS.get(word, "it gave no answer that this version knows")
                told = f"{peer.short} did not do it: {why}"
                raise OperatorError(told) if word in PASSING else ProposalRefused(told)
            if word == "" and peer not in self._driver.links:
                return  # done or not: the roster says which
            await asyncio.sleep(LOOK_SECONDS)

    async def _until(self, holds: Callable[[Replica], bool], what: str) -> None:
        end = clock.monotonic() + PATIENCE_SECONDS
        while not await self._driver.query(holds):
            if clock.monotonic() > end:
                raise OperatorError(
                    f"no word yet that this node has {what}; it may still come: look at "
                    "gangline members, or ask again"
                )
            await asyncio.sleep(LOOK_SECONDS)


def _answering(peer: NodePubkey, nonce: bytes) -> Callable[[object], bool]:
    def wanted(event: object) -> bool:
        return isinstance(event, PetitionAnswered) and (event.peer, event.nonce) == (peer, nonce)

    return wanted


async def _first(answers: Subscription) -> str:
    """The word of the first answer; empty where none comes."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            async for event in answers:
                if isinstance(event, PetitionAnswered):
                    return event.word
    except TimeoutError:
        pass
    return ""


def whom_to_ask(replica: Replica, linked: set[NodePubkey]) -> tuple[list[NodePubkey], str]:
    """Who may do it all, nobody if this node knows of no admission of its own; and a sentence that
    says who of them is not linked, if anybody.

    Raises:
        ProposalRefused: nobody.
    """
    roster = replica.ledger.roster
    if replica.own == roster.founder:
        raise ProposalRefused(WORDS["founder_stays"])
    standing = roster_intents.active_admissions(replica.own, roster)
    if not roster.on_roster(replica.own):
        return [], ""
    if not standing:
        raise ProposalRefused("this node does not belong to the cluster any longer")
    if replica.rewriting.is_moving():  # or nobody would know whose it is, two keys later
        return [], MOVING
    if roster.founder in linked:
        return [roster.founder], ""
    authors = sorted({admission.ref.author for admission in standing})
    missing = [node for node in authors if node not in linked]
    if missing:
        who = ", ".join(f"{roster.name(node)} ({node.short})" for node in missing)
        return authors, (
            f"the node that admitted this one must do it, or the founder, over a link of its own; "
            f"{who} is not linked now; see: gangline peers"
        )
    return authors, ""


def _unheard(known: Collection[NodePubkey], linked: Collection[NodePubkey]) -> str:
    """What to wait for if this node joined, and nobody has told it of its admission yet."""
    told = "this node has not heard of its admission yet"
    if not known:
        return f"{told}, and knows no other node; name one under [[peers]] in the config"
    who = " or ".join(
        f"{node.short} ({'linked' if node in linked else 'not linked'} now)"
        for node in sorted(known)
    )
    return f"{told}: wait until {who} has told it, see: gangline peers; then ask again"


def is_replaced(roster: Roster, own: NodePubkey, successor: NodePubkey) -> bool:
    """Whether the successor belongs and the present key no longer does: both changes are needed."""
    return roster.belongs(successor) and not roster.belongs(own)


def former(store: Store) -> NodePubkey | None:
    """The key that this node had before its present one."""
    raw = store.meta(MetaKey.FORMER)
    return NodePubkey(raw) if raw else None


def settle(home: Home, store: Store, replica: Replica) -> bool:
    """At a start: put the next key in its place, where the roster on disk has it.

    Says whether it did; then the replica must be made anew.
    """
    if not home.next_key.exists():
        return False
    key = key_file.load(home.next_key)
    if not is_replaced(replica.ledger.roster, replica.own, key.pubkey):
        return False
    # The key changes last and in one step. Before it the present key can write nothing any more,
    # so that it does not matter what these two say of it.
    store.set_meta(MetaKey.FORMER, bytes(replica.own))
    store.set_meta(MetaKey.FORMER_END, store.meta(MetaKey.OWN_END) or b"")
    store.set_meta(MetaKey.INCARNATION, bytes(4))
    os.replace(home.next_key, home.key)  # noqa: PTH105 - its name says that it replaces
    folder = os.open(home.path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True
