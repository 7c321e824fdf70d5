"""The roster: the types, operations and routes of the local API.

``crdt/authoring/roster_intents.py`` turns an operator's request into records. Source: protocol §9.
"""

import re
from typing import Final

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from msgspec import UNSET

from crdt.authoring import roster_intents
from crdt.authoring.intents import Receipt
from crdt.primitives import limits
from crdt.primitives.errors import ProposalRefused
from crdt.records.signatures import is_valid_key
from crdt.views.roster import Admission, Roster
from machines.values import NodePubkey
from node.api import request_parsing
from node.api.request_parsing import Malformed
from node.api.tickets import HASH_SHOWN
from node.config.node_name import node_name
from node.reporting import queries, rows
from node.reporting.node_names import PREFIX_MIN, free_name, named_nodes, taken_by
from node.runtime.driver import Driver
from node.runtime.leave_rotate import LeaveOrRotate

KEY_DIGITS: Final = 64
KEEP: Final = re.compile(r"\d{1,10}:\d{1,10}(,\d{1,10}:\d{1,10})*")


class AdmitRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Admit a node by its key; a role or name that is left out is the one that it had."""

    node: str
    role: str | None = None
    name: str = ""


class ChangeRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give a node a higher or a lower role; without one, the next."""

    node: str
    up: bool
    role: str | None = None


class RenameRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rename a node."""

    node: str
    name: str


class RevokeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Take a node off; ``keep`` is ``written``, ``nothing``, or a list of incarnation:clock."""

    node: str
    keep: str = "written"


class Revoked(msgspec.Struct, frozen=True):
    """A revocation of an admission."""

    by: str
    by_name: str
    at: str


class AdmitResponse(msgspec.Struct, frozen=True):
    """One admission of a node that counts."""

    role: str
    name: str
    by: str
    by_name: str
    at: str
    ticket: str
    revoked: tuple[Revoked, ...]


class MemberRow(msgspec.Struct, frozen=True):
    """One key on the roster; ``role`` is empty where every admission is revoked."""

    node: str
    name: str
    role: str
    belongs: bool
    founder: bool
    admissions: tuple[AdmitResponse, ...]


class Membership:
    """The roster, for local callers."""

    def __init__(self, driver: Driver, parting: LeaveOrRotate) -> None:
        self._driver = driver
        self._parting = parting

    async def members(self) -> list[MemberRow]:
        """Every key on the roster."""
        return await self._driver.query(lambda replica: member_rows(replica.ledger.roster))

    async def admit(self, asked: AdmitRequest) -> rows.Written:
        """Admit a node by its key."""
        if len(asked.node) != KEY_DIGITS:
            raise Malformed(
                f"to admit a node, give its whole key: {KEY_DIGITS} lower-case hex digits"
            )
        node = NodePubkey.from_hex(asked.node)
        if not is_valid_key(node):
            raise Malformed(f"no node has the key {node.short}…: nothing can be signed with it")
        name = node_name(asked.name) if asked.name else None
        role = None if asked.role is None else request_parsing.role(asked.role)
        return await self._change(roster_intents.Admit(node, role, name))

    async def change_role(self, asked: ChangeRole) -> rows.Written:
        """Promote or demote a node."""
        node = await self._find(asked.node)
        role = None if asked.role is None else request_parsing.role(asked.role)
        kind = roster_intents.Promote if asked.up else roster_intents.Demote
        return await self._change(kind(node, role))

    async def rename(self, asked: RenameRequest) -> rows.Written:
        """Rename a node."""
        node, name = await self._find(asked.node), node_name(asked.name)
        await self._driver.query(lambda replica: must_be_free(replica.ledger.roster, node, name))
        return await self._change(roster_intents.Rename(node, name))

    async def revoke(self, asked: RevokeRequest) -> rows.Written:
        """Take a node off."""
        node = await self._find(asked.node)
        return await self._change(roster_intents.Revoke(node, kept(asked.keep)))

    async def _change(self, wish: roster_intents.RosterIntent) -> rows.Written:
        receipt = await self._parting.carry_out(self._driver.change_roster(wish))
        return written(receipt, queries.names_on(self._driver.roster))

    async def _find(self, text: str) -> NodePubkey:
        return await self._driver.query(lambda replica: find(replica.ledger.roster, text))


def find(roster: Roster, text: str) -> NodePubkey:
    """A node on the roster by its key, the start of it, or its name.

    Raises:
        ProposalRefused: none, or several.
    """
    nodes = roster.nodes()
    found = [node for node in nodes if len(text) >= PREFIX_MIN and node.hex().startswith(text)]
    found = found or [node for node, name in named_nodes(roster).items() if text and name == text]
    if len(found) == 1:
        return found[0]
    what = "is no node" if not found else f"is {len(found)} nodes"
    shown = text if text.strip() and len(text) <= KEY_DIGITS else "that"
    raise ProposalRefused(f"{shown} {what} of the roster; take a key from: gangline members")


def must_be_free(roster: Roster, node: NodePubkey, name: str) -> None:
    """Check that a new name could not be taken for another node.

    Raises:
        ProposalRefused: another has it, or its key begins like it; offers one that is free.
    """
    other = taken_by(roster, node, name)
    if other is not None:
        free = free_name(roster, node, name)
        raise ProposalRefused(
            f"{name} would be taken for {other.short}; choose another name, such as {free}"
        )


def kept(text: str) -> tuple[tuple[int, int], ...] | None:
    """Parse what a revocation keeps.

    Raises:
        Malformed: it has none of the three forms.
    """
    if text == "written":
        return None
    if text == "nothing":
        return ()
    if KEEP.fullmatch(text):
        pairs = [tuple(map(int, pair.split(":"))) for pair in text.split(",")]
        found = tuple(sorted((incarnation, clock_) for incarnation, clock_ in pairs))
        fits = all(i <= limits.INCARNATION_MAX and c <= limits.CLOCK_MAX for i, c in found)
        if fits and len({incarnation for incarnation, _ in found}) == len(found):
            return found
    raise Malformed(
        f"keep is written, nothing, or incarnation:clock pairs such as 0:120,8153:7, not {text}"
    )


def member_rows(roster: Roster) -> list[MemberRow]:
    """The roster as rows."""
    return [
        MemberRow(
            node=node.hex(),
            name=roster.name(node),
            role=str(roster.role(node) or ""),
            belongs=roster.belongs(node),
            founder=node == roster.founder,
            admissions=tuple(_admitted(one, roster) for one in roster.admissions(node)),
        )
        for node in roster.nodes()
    ]


def _admitted(admission: Admission, roster: Roster) -> AdmitResponse:
    body, by = admission.body, admission.ref.author
    return AdmitResponse(
        role=str(body.role),
        name=body.name,
        by=by.hex(),
        by_name=roster.name(by),
        at=body.at,
        ticket="" if body.ticket is UNSET else body.ticket.hex()[:HASH_SHOWN],
        revoked=tuple(
            Revoked(take.ref.author.hex(), roster.name(take.ref.author), take.at)
            for take in admission.revocations
        ),
    )


def written(receipt: Receipt, names: queries.Names, holders: int = 0) -> rows.Written:
    """The answer for a record that was written, which ``holders`` other nodes have."""
    return rows.Written(
        author=receipt.author.hex(),
        name=names.get(receipt.author.hex(), ""),
        incarnation=receipt.incarnation,
        clock=receipt.clock,
        record=receipt.record_id.hex(),
        warnings=receipt.warnings,
        holders=holders,
    )


def routes(desk: Membership) -> list[HTTPRouteHandler]:
    """The HTTP routes."""

    @get("/members")
    async def members() -> list[MemberRow]:
        """Every key on the roster."""
        return await desk.members()

    @post("/members")
    async def admit(data: JSONBody[AdmitRequest]) -> rows.Written:
        """Admit a node by its key."""
        return await desk.admit(data)

    @post("/members/role")
    async def change_role(data: JSONBody[ChangeRole]) -> rows.Written:
        """Promote or demote a node."""
        return await desk.change_role(data)

    @post("/members/name")
    async def rename(data: JSONBody[RenameRequest]) -> rows.Written:
        """Rename a node."""
        return await desk.rename(data)

    @post("/members/revoke")
    async def revoke(data: JSONBody[RevokeRequest]) -> rows.Written:
        """Take a node off."""
        return await desk.revoke(data)

    return [members, admit, change_role, rename, revoke]
