"""Who may come in: the roster's nodes, and whoever shows a good ticket.

Stands beside ``handshake.py``, which asks. How often a ticket was used is read off the roster,
where each admission names its ticket: what counts a use is the record that is the use, so that no
crash between the two can give one too many. Source: protocol §9.
"""

import asyncio

from crdt.authoring.intents import AdmitNode
from crdt.primitives import limits
from crdt.primitives.errors import HeldUp, ProposalRefused
from crdt.primitives.identity import FeedId, H, cluster_id_of
from crdt.records.bodies import Role
from crdt.replica import Replica
from crdt.views.roster import Roster
from machines.errors import InvalidValue
from machines.values import NodePubkey
from node.config.node_name import node_name
from node.network.handshake import AcceptMessage, HelloRefused
from node.reporting.node_names import free_name, taken_by
from node.runtime.driver import Driver
from node.system import clock
from node.system.errors import StoreFailure


class JoinAuthorizer:
    """The gatekeeper of one daemon."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._one_at_a_time = asyncio.Lock()

    def why_not(self, node: NodePubkey) -> str:
        """One word why a node may not link; empty where it may."""
        return _why_not(self._driver.roster, node)

    async def join(self, node: NodePubkey, ticket: bytes, name: str) -> AcceptMessage:
        """Let a node in by ticket; who was let in by it and asks again gets the same answer.

        Raises:
            HelloRefused: the ticket is unknown, used, withdrawn or expired, the key was revoked,
                or this node may not admit, or can write nothing now.
        """
        key = H(ticket)
        async with self._one_at_a_time:
            rows = await self._driver.on_disk(lambda store: store.tickets())
            known = next((row for row in rows if row.secret_hash == key), None)
            if known is None:
                raise HelloRefused("bad_ticket")
            users, why_not = await self._driver.query(lambda r: _look(r, key, node))
            shown = await self._driver.query(_accepted)
            if shown is None:
                raise HelloRefused("read_only")
            if not why_not and node in users:
                return shown
            if why_not == "revoked":
                raise HelloRefused(why_not)
            if len(users) >= known.uses:
                raise HelloRefused("used_ticket")
            if known.withdrawn:
                raise HelloRefused("withdrawn_ticket")
            if clock.wall_ms() > known.expires_ms:
                raise HelloRefused("expired_ticket")
            if why_not:
                await self._admit(node, Role(known.role), name, key)
            return shown

    async def _admit(self, node: NodePubkey, role: Role, name: str, ticket: bytes) -> None:
        try:
            called = node_name(name)
        except InvalidValue as fault:
            raise HelloRefused("malformed_frame") from fault
        free = await self._driver.query(lambda r: _free_instead(r.ledger.roster, node, called))
        if free:
            raise HelloRefused("name_taken", free=free)
        try:
            await self._driver.propose(AdmitNode(node, role, called, ticket))
        except (HeldUp, StoreFailure) as fault:
            raise HelloRefused("read_only") from fault
        except ProposalRefused as refusal:
            raise HelloRefused("not_an_admin") from refusal


def _why_not(roster: Roster, node: NodePubkey) -> str:
    if roster.belongs(node):
        return ""
    return "revoked" if roster.on_roster(node) else "not_a_member"


def _look(replica: Replica, ticket: bytes, node: NodePubkey) -> tuple[set[NodePubkey], str]:
    users = replica.ledger.statements.ticket_users(ticket)
    return users, _why_not(replica.ledger.roster, node)


def _free_instead(roster: Roster, node: NodePubkey, name: str) -> str:
    """A name that is free, if this one is not; else empty."""
    taken = taken_by(roster, node, name) is not None
    return free_name(roster, node, name) if taken else ""


def _accepted(replica: Replica) -> AcceptMessage | None:
    """What is shown to whoever joins: the founder, and the founding record, which proves itself.

    ``None`` where it is not here, as after a loss that peers have not made good yet.
    """
    feed = replica.ledger.feeds.get(FeedId(replica.founder, 0))
    for entry in feed.entries_at(0) if feed is not None else ():
        body = entry.record.value[limits.SIGNATURE_BYTES :]
        if cluster_id_of(replica.founder, body) == replica.cluster:
            return AcceptMessage(replica.founder.hex(), entry.record.value.hex())
    return None
