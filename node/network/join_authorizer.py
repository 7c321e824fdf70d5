"""Which nodes may link: those on the roster, and those that show a valid ticket.

Asked by ``handshake.py``. How often a ticket was used is counted on the roster, where each
admission names its ticket: the record of a use is the use itself, so that no crash can add one.
Source: protocol §9.
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
from node.runtime.peer_link import DisconnectReason
from node.system import clock
from node.system.errors import StoreFailure


class JoinAuthorizer:
    """Decides which nodes may link to this daemon, and admits nodes by ticket."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._one_at_a_time = asyncio.Lock()

    def why_not(self, node: NodePubkey) -> str:
        """Why a node may not link; empty if it may."""
        return _why_not(self._driver.roster, node)

    async def join(self, node: NodePubkey, ticket: bytes, name: str) -> AcceptMessage:
        """Admit a node by ticket; a node that it admitted before gets the same answer again.

        Raises:
            HelloRefused: the ticket is unknown, used up, withdrawn or expired, the key was revoked,
                or this node may not admit nodes or cannot write now.
        """
        key = H(ticket)
        async with self._one_at_a_time:
            rows = await self._driver.on_disk(lambda store: store.tickets())
            known = next((row for row in rows if row.secret_hash == key), None)
            if known is None:
                raise HelloRefused(DisconnectReason.BAD_TICKET)
            users, why_not = await self._driver.query(lambda r: _look(r, key, node))
            shown = await self._driver.query(_accepted)
            if shown is None:
                raise HelloRefused(DisconnectReason.READ_ONLY)
            if not why_not and node in users:
                return shown
            if why_not == DisconnectReason.REVOKED:
                raise HelloRefused(why_not)
            if len(users) >= known.uses:
                raise HelloRefused(DisconnectReason.USED_TICKET)
            if known.withdrawn:
                raise HelloRefused(DisconnectReason.WITHDRAWN_TICKET)
            if clock.wall_ms() > known.expires_ms:
                raise HelloRefused(DisconnectReason.EXPIRED_TICKET)
            if why_not:
                await self._admit(node, Role(known.role), name, key)
            return shown

    async def _admit(self, node: NodePubkey, role: Role, name: str, ticket: bytes) -> None:
        try:
            called = node_name(name)
        except InvalidValue as fault:
            raise HelloRefused(DisconnectReason.MALFORMED_FRAME) from fault
        free = await self._driver.query(lambda r: _free_instead(r.ledger.roster, node, called))
        if free:
            raise HelloRefused(DisconnectReason.NAME_TAKEN, free=free)
        try:
            await self._driver.propose(AdmitNode(node, role, called, ticket))
        except (HeldUp, StoreFailure) as fault:
            raise HelloRefused(DisconnectReason.READ_ONLY) from fault
        except ProposalRefused as refusal:
            raise HelloRefused(DisconnectReason.NOT_AN_ADMIN) from refusal


def _why_not(roster: Roster, node: NodePubkey) -> str:
    if roster.belongs(node):
        return ""
    known = roster.on_roster(node)
    return DisconnectReason.REVOKED if known else DisconnectReason.NOT_A_MEMBER


def _look(replica: Replica, ticket: bytes, node: NodePubkey) -> tuple[set[NodePubkey], str]:
    users = replica.ledger.statements.ticket_users(ticket)
    return users, _why_not(replica.ledger.roster, node)


def _free_instead(roster: Roster, node: NodePubkey, name: str) -> str:
    """A free name if this one is taken; else empty."""
    taken = taken_by(roster, node, name) is not None
    return free_name(roster, node, name) if taken else ""


def _accepted(replica: Replica) -> AcceptMessage | None:
    """The founder and the founding record, which a joining node checks against the cluster id.

    ``None`` if this node does not have the record, as after a loss that peers have not repaired.
    """
    feed = replica.ledger.feeds.get(FeedId(replica.founder, 0))
    for entry in feed.entries_at(0) if feed is not None else ():
        body = entry.record.value[limits.SIGNATURE_BYTES :]
        if cluster_id_of(replica.founder, body) == replica.cluster:
            return AcceptMessage(replica.founder.hex(), entry.record.value.hex())
    return None
