"""Runs each link until it ends, and logs when it came up, which side dialled, and why it ended.

Stands between ``driver.py`` and the two sources of links, ``dialer.py`` and ``listener.py``. Each
change is logged once; if the links with a peer come and go fast, one summary is logged instead.
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
from node.runtime.peer_link import DisconnectReason
from node.system import clock
from node.system.log_format import LogRateLimit, fields
from node.system.plurals import counted

log = logging.getLogger("gangline.links")

AT_ONCE: Final = 8
EVERY_SECONDS: Final = 60.0
SUMMARY_SECONDS: Final = 60.0


class LinkClosed(NamedTuple):
    """Why a link ended: the reason, and its sentence for this side."""

    reason: str
    message: str

    @property
    def is_duplicate(self) -> bool:
        """Whether another link with the same key replaced it."""
        return self.reason == DisconnectReason.DUPLICATE


class LinkSupervisor:
    """Runs every link, dialled or accepted.

    Args:
        parted: returns why this node took its key off the roster, if it did: then that is why its
            links end, and not that the key was revoked.

    Attributes:
        door: keeps the bans; learns here of a peer's fault.
        called: returns what a node is called in the log.
    """

    def __init__(
        self,
        driver: Driver,
        door: ConnectionLimiter,
        called: Callable[[NodePubkey], str],
        parted: Callable[[], DisconnectReason | None] = lambda: None,
    ) -> None:
        self.limiter = door
        self.called = called
        self._driver = driver
        self._parted = parted
        self._paces: dict[NodePubkey, LogRateLimit] = {}
        self._summaries: set[NodePubkey] = set()

    async def hold(self, link: Link) -> LinkClosed:
        """Run a session over a link until it ends; returns why it did."""
        reason = await self._driver.attach(link, partial(self._up, link))
        if reason in FAULTS:
            self.limiter.fault_of_node(link.peer, reason)
        end = self._why(link, reason)
        # A duplicate is news only if the other link is not here: a second daemon with this node's
        # key has it.
        if not (end.is_duplicate and link.peer in self._driver.links):
            self._log(link, f"ended: {end.message}", what="link_ended", reason=end.reason)
        return end

    def _why(self, link: Link, reason: str) -> LinkClosed:
        if reason != DisconnectReason.CLOSED:
            sentence = message_for_us(reason)
        else:
            reason = link.peer_reason or DisconnectReason.LOST
            sentence = message_for_peer(reason)
        if reason == DisconnectReason.REVOKED and (parted := self._parted()):
            return LinkClosed(parted, message_for_us(parted))
        return LinkClosed(reason, sentence)

    def _up(self, link: Link) -> None:
        where = "here" if link.dialled else "there"
        self._log(link, f"at {link.address} is up, dialled {where}", what="link_up")

    def _log(self, link: Link, sentence: str, **known: str) -> None:
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
        """Log how many changes were not logged, and whether a link is up now."""
        self._summaries.discard(peer)
        now = "one is up" if peer in self._driver.links else "none is up"
        known = fields(peer=peer.hex(), what="links_summary")
        log.info(
            "links with %s came and went %s more than logged here; %s now",
            self.called(peer), counted(self._paces[peer].reset(), "time"), now, extra=known,
        )  # fmt: skip
