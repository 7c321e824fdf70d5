"""Tickets issued by this node: the types, operations and routes of the local API.

Which nodes joined with a ticket is read from the roster. Source: protocol §9.
"""

import secrets
from typing import Final

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody

from crdt.authoring.write_state import require_writable
from crdt.primitives.errors import ProposalRefused
from crdt.primitives.identity import H
from crdt.records.bodies import Role
from crdt.replica import Replica
from machines.values import Instant
from node.api import request_parsing
from node.api.request_parsing import Malformed
from node.config import addresses
from node.config.settings import Config
from node.network.ticket import SECRET_BYTES, Ticket
from node.runtime.driver import Driver
from node.storage.ticket_rows import TicketRow
from node.system import clock

USES_MAX: Final = 1000
SECONDS_MAX: Final = 30 * 86_400
HASH_SHOWN: Final = 16
ADVERTISE_EXAMPLE: Final = 'advertise = ["den.example:7467"]'


class Invite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask for a ticket."""

    role: str = "member"
    seconds: int = 3600
    uses: int = 1


class Invited(msgspec.Struct, frozen=True):
    """A ticket's one line."""

    ticket: str


class TicketShown(msgspec.Struct, frozen=True):
    """A ticket as its inviter knows it; it holds no secret."""

    ticket: str
    role: str
    expires: str
    uses: int
    used_by: tuple[str, ...]
    state: str


class Which(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which ticket: the start of its hash."""

    ticket: str


class Tickets:
    """The tickets of this node, for local callers.

    Args:
        listen: the address this node listens on; empty if it does not listen.
    """

    def __init__(self, driver: Driver, config: Config, listen: str) -> None:
        self._driver = driver
        self._advertise = config.advertise
        self._listen = listen

    async def invite(self, asked: Invite) -> Invited:
        """Issue a ticket."""
        # A node that cannot write could not admit the bearer.
        await self._driver.query(lambda r: require_writable(r.write_state(clock.now())))
        role = await self._driver.query(lambda r: r.ledger.roster.role(r.own))
        if role is not Role.ADMIN:
            raise ProposalRefused("only an admin invites")
        if request_parsing.role(asked.role) is Role.ADMIN:
            raise ProposalRefused(
                "a ticket makes a member or an observer; an admin is made of one by the founder, "
                "with: gangline members promote NODE --role admin"
            )
        if not self._listen:
            raise ProposalRefused("this node does not listen, so nobody can join through it")
        places = addresses.advertised(self._advertise, self._listen)
        if not places:
            raise ProposalRefused(
                f"a ticket says where to join, and {self._listen} names no host: set advertise in "
                f"the config, such as {ADVERTISE_EXAMPLE}, and start the daemon again"
            )
        if not (0 < asked.seconds <= SECONDS_MAX and 0 < asked.uses <= USES_MAX):
            raise Malformed(f"a ticket works for a second to 30 days, and 1 to {USES_MAX} times")
        secret = secrets.token_bytes(SECRET_BYTES)
        at = clock.wall_ms()
        row = TicketRow(H(secret), asked.role, at + asked.seconds * 1000, asked.uses)
        await self._driver.on_disk(lambda store: store.add_ticket(row, at))
        own, cluster = bytes(self._driver.own), bytes(self._driver.cluster)
        ticket = Ticket(places[0], cluster, own, secret, row.expires_ms)
        return Invited(ticket.text())

    async def tickets(self) -> list[TicketShown]:
        """The tickets issued here, and the nodes that joined with each."""
        rows = await self._driver.on_disk(lambda store: store.tickets())
        at = clock.wall_ms()

        def look(replica: Replica) -> list[TicketShown]:
            shown = []
            for row in rows:
                users = sorted(replica.ledger.statements.ticket_users(row.secret_hash))
                state = _state(row, len(users), at)
                expires = Instant.from_ms(row.expires_ms)
                used_by = tuple(node.hex() for node in users)
                hashed = row.secret_hash.hex()[:HASH_SHOWN]
                shown.append(TicketShown(hashed, row.role, expires, row.uses, used_by, state))
            return shown

        return await self._driver.query(look)

    async def withdraw(self, asked: Which) -> None:
        """Withdraw a ticket."""
        rows = await self._driver.on_disk(lambda store: store.tickets())
        found = [row for row in rows if row.secret_hash.hex().startswith(asked.ticket)]
        if len(found) != 1 or not asked.ticket:
            raise ProposalRefused(
                f"tickets that start with {asked.ticket or 'nothing'}: {len(found)}; see: gangline "
                "invite --list"
            )
        await self._driver.on_disk(lambda store: store.withdraw_ticket(found[0].secret_hash))


def _state(row: TicketRow, used: int, at_ms: int) -> str:
    if used >= row.uses:
        return "used"
    if row.withdrawn:
        return "withdrawn"
    return "expired" if at_ms > row.expires_ms else "open"


def routes(desk: Tickets) -> list[HTTPRouteHandler]:
    """The HTTP routes."""

    @post("/invite")
    async def invite(data: JSONBody[Invite]) -> Invited:
        """Issue a ticket."""
        return await desk.invite(data)

    @get("/tickets")
    async def tickets() -> list[TicketShown]:
        """List the tickets issued here."""
        return await desk.tickets()

    @post("/tickets/withdraw", status_code=204)
    async def withdraw(data: JSONBody[Which]) -> None:
        """Withdraw a ticket."""
        await desk.withdraw(data)

    return [invite, tickets, withdraw]
