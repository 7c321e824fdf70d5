"""Holds a link as long as it lasts, and tells of it: when it came up, who dialled, why it ended.

Stands between ``driver.py`` and who brings links, ``dialer.py`` and ``listener.py``. Each change is
logged once; a peer whose links come and go faster than anybody reads is told of in a summary.
Source: protocol §10.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from machines.values import NodePubkey
from node.network.connection_limits import FAULTS, ConnectionLimiter
from node.network.disconnect_reasons import message_for_peer, message_for_us
from node.network.link import Link
from node.runtime.driver import Driver
from node.system import clock
from node.system.log_format import LogRateLimit, fields
from node.system.plurals import counted

log = logging.getLogger("gangline.links")

AT_ONCE: Final = 8
EVERY_SECONDS: Final = 60.0
SUMMARY_SECONDS: Final = 60.0


class LinkClosed(NamedTuple):
    """Why a link ended: the word, and its sentence for this side."""

    word: str
    message: str

    @property
    def is_duplicate(self) -> bool:
        """Whether another link with the same key took its place."""
        return self.word == "duplicate"


class LinkSupervisor:
    """Every link goes through its hands.

    Args:
        parted: the word for why this node's key is off the roster by its own wish, which then is
            why its links end; empty where it is not.

    Attributes:
        door: says who must stay away; told here of what a peer did.
        called: what a node is called in the log.
    """

    def __init__(
        self,
        driver: Driver,
        door: ConnectionLimiter,
        called: Callable[[NodePubkey], str],
        parted: Callable[[], str] = lambda: "",
    ) -> None:
        self.limiter = door
        self.called = called
        self._driver = driver
        self._parted = parted
        self._paces: dict[NodePubkey, LogRateLimit] = {}
        self._summaries: set[NodePubkey] = set()

    async def hold(self, link: Link) -> LinkClosed:
        """Run a session over a link until it ends; gives why it did."""
        reason = await self._driver.attach(link, partial(self._up, link))
        if reason in FAULTS:
            self.limiter.fault_of_node(link.peer, reason)
        end = self._why(link, reason)
        # Where another link with the same peer took its place, that is no news; where it did not,
        # a second daemon with one key has it.
        if not (end.is_duplicate and link.peer in self._driver.links):
            self._tell(link, f"ended: {end.message}", what="link_ended", reason=end.word)
        return end

    def _why(self, link: Link, reason: str) -> LinkClosed:
        if reason != "closed":
            word, sentence = reason, message_for_us(reason)
        else:
            word = link.told or "lost"
            sentence = message_for_peer(word)
        if word == "revoked" and (parted := self._parted()):
            word, sentence = parted, message_for_us(parted)
        return LinkClosed(word, sentence)

    def _up(self, link: Link) -> None:
        where = "here" if link.dialled else "there"
        self._tell(link, f"at {link.address} is up, dialled {where}", what="link_up")

    def _tell(self, link: Link, sentence: str, **known: str) -> None:
        at = clock.monotonic()
        pace = self._paces.setdefault(link.peer, LogRateLimit(AT_ONCE, EVERY_SECONDS, at))
        if pace.allow(at):
            way = "to" if link.dialled else "from"
            by = "this_node" if link.dialled else "peer"
            known |= {"peer": link.peer.hex(), "address": link.address, "dialled_by": by}
            log.info("link %s %s %s", way, self.called(link.peer), sentence, extra=fields(**known))
        elif link.peer not in self._summaries:
            self._summaries.add(link.peer)
            asyncio.get_running_loop().call_later(SUMMARY_SECONDS, self._sum_up, link.peer)

    def _sum_up(self, peer: NodePubkey) -> None:
        """Say once what was held back, and how things stand: what was last told may be over."""
        self._summaries.discard(peer)
        now = "one is up" if peer in self._driver.links else "none is up"
        known = fields(peer=peer.hex(), what="links_summary")
        log.info(
            "links with %s came and went, %s more than is told here; %s now",
            self.called(peer), counted(self._paces[peer].reset(), "time"), now, extra=known,
        )  # fmt: skip
