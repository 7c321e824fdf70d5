"""What an operator wishes for the roster, turned into the records that bring it about.

Stands before ``handlers.py``, which checks and words each record. An admission cannot be changed,
so a change is a new admission, a revocation, or both: the steps of one wish are written in one go.
Reads the ledger, changes nothing. Source: protocol §9.
"""

from collections.abc import Callable
from typing import assert_never

import msgspec
from machines.values import FreeText, NodePubkey
from msgspec.structs import replace

from crdt.authoring.intents import AdmitNode, Receipt, RevokeNode
from crdt.contract.checkpoint import in_steps
from crdt.ledger.feed import EntryStatus
from crdt.ledger.ledger import Ledger
from crdt.primitives.errors import ProposalRefused
from crdt.records.bodies import Role
from crdt.views.roster import RANK, Admission, Roster

LADDER = (Role.OBSERVER, Role.MEMBER, Role.ADMIN)


class Admit(msgspec.Struct, frozen=True):
    """Let a key in, or in again; ``None``: in the role, by the name, that it had."""

    node: NodePubkey
    role: Role | None = None
    name: FreeText | None = None


class Promote(msgspec.Struct, frozen=True):
    """Give a node a higher role; ``None``: the next one."""

    node: NodePubkey
    role: Role | None = None


class Demote(msgspec.Struct, frozen=True):
    """Give a node a lower role; ``None``: the next one. What it wrote up to now is kept."""

    node: NodePubkey
    role: Role | None = None


class Rename(msgspec.Struct, frozen=True):
    """Call a node something else."""

    node: NodePubkey
    name: FreeText


class Revoke(msgspec.Struct, frozen=True):
    """Take a node off; ``keep`` as in ``RevokeNode``."""

    node: NodePubkey
    keep: tuple[tuple[int, int], ...] | None = None


class Replace(msgspec.Struct, frozen=True):
    """Admit a node's next key in its role and name, and revoke the one it has."""

    node: NodePubkey
    successor: NodePubkey


RosterIntent = Admit | Promote | Demote | Rename | Revoke | Replace
Step = AdmitNode | RevokeNode


def expand(wish: RosterIntent, roster: Roster, own: NodePubkey) -> list[Step]:
    """The records to write, in order; never empty.

    Raises:
        ProposalRefused: this node may not, or there is nothing to do; says who may, or what to ask.
    """
    if roster.role(own) is not Role.ADMIN:
        raise ProposalRefused("this node is no admin, and only an admin changes the roster")
    match wish:
        case Admit(node, role, name):
            return _admit(node, role, name, roster, own)
        case Promote(node, role):
            return _promote(node, role, roster)
        case Demote(node, role):
            return _demote(node, role, roster, own)
        case Rename(node, name):
            role = _present(node, roster)
            _must_have_admitted(node, roster, own, "rename")
            return [AdmitNode(node, role, name)]
        case Revoke(node, keep):
            return [RevokeNode(node, keep)]
        case Replace(node, successor):
            role = _present(node, roster)
            _must_have_admitted(node, roster, own, "replace")
            name = FreeText(roster.name(node))
            return [AdmitNode(successor, role, name), RevokeNode(node)]
        case _:
            assert_never(wish)


def carry_out(
    wish: RosterIntent, ledger: Ledger, own: NodePubkey, write: Callable[[Step], Receipt]
) -> Receipt:
    """Write the records of a wish; gives the receipt of the last, with what to warn of.

    Raises:
        ProposalRefused: as ``expand``, or the rules do not allow it; nothing was written.
    """
    written = [write(step) for step in expand(wish, ledger.roster, own)]
    left = ""
    if isinstance(wish, Revoke):
        left = remaining(wish.node, ledger.roster)
    elif isinstance(wish, Admit):
        left = left_out(wish.node, ledger)
    return replace(written[-1], warnings=(left,)) if left else written[-1]


def active_admissions(node: NodePubkey, roster: Roster) -> list[Admission]:
    """The admissions by which a node belongs."""
    return [admission for admission in roster.admissions(node) if not admission.revoked]


def remaining(node: NodePubkey, roster: Roster) -> str:
    """What to say after a revocation that left the node on the roster; empty where it did not."""
    left = active_admissions(node, roster)
    if not left:
        return ""
    who = _names({admission.ref.author for admission in left}, roster)
    return f"{node.short} still belongs: it was also admitted by {who}, who may revoke that"


def left_out(node: NodePubkey, ledger: Ledger) -> str:
    """What to say of a node that was taken back in a role too low for what it wrote in another.

    Empty if all that it wrote counts again.
    """
    roster = ledger.roster
    many = sum(
        entry.verdict is EntryStatus.VOID_REVOKED
        for feed in ledger.feeds.values()
        if feed.author == node
        for entry in in_steps(feed.entries(), ledger.checkpoint)
    )
    role, had = (
        roster.role(node),
        max((a.body.role for a in roster.admissions(node)), key=RANK.__getitem__),
    )
    if not many or role is None or RANK[role] >= RANK[had]:
        return ""
    return (
        f"{node.short} is back as {_a(role)}: what it wrote in a higher role does not count "
        f"({many} record{'' if many == 1 else 's'}); to let it count, give it that role with: "
        f"gangline members promote {node.short} --role {had}"
    )


def _admit(
    node: NodePubkey, role: Role | None, name: FreeText | None, roster: Roster, own: NodePubkey
) -> list[Step]:
    present = roster.role(node)
    if present is not None:
        raise ProposalRefused(
            f"{node.short} belongs already, as {present}; change that with: gangline members "
            f"promote {node.short}, or demote, or rename"
        )
    if role is None:
        role = role_before(node, roster)
        if role is Role.ADMIN and own != roster.founder:
            way = f"take it back as less with: gangline members admit {node.hex()} --role member"
            raise ProposalRefused(
                f"{node.short} was an admin, and only the founder names admins; {way}"
            )
    return [AdmitNode(node, role, FreeText(roster.name(node)) if name is None else name)]


def role_before(node: NodePubkey, roster: Roster) -> Role:
    """The highest role that a node had when it last belonged; member if it never did."""
    ended = (
        (min(take.at.ms for take in one.revocations), RANK[one.body.role], one.body.role)
        for one in roster.admissions(node)
        if one.revocations
    )
    return max(ended, default=(0, 0, Role.MEMBER))[2]


def _promote(node: NodePubkey, role: Role | None, roster: Roster) -> list[Step]:
    present = _present(node, roster)
    if role is None:
        role = LADDER[min(RANK[present] + 1, len(LADDER) - 1)]
    if RANK[role] <= RANK[present]:
        raise ProposalRefused(f"{node.short} is {_a(present)} already; nothing to promote it to")
    return [AdmitNode(node, role, FreeText(roster.name(node)))]


def _demote(node: NodePubkey, role: Role | None, roster: Roster, own: NodePubkey) -> list[Step]:
    present = _present(node, roster)
    if role is None:
        role = LADDER[max(RANK[present] - 1, 0)]
    if RANK[role] >= RANK[present]:
        way = f"take it off the roster with: gangline members revoke {node.short}"
        raise ProposalRefused(f"{node.short} is {_a(present)}, which is no higher; {way}")
    higher = [a for a in active_admissions(node, roster) if RANK[a.body.role] > RANK[role]]
    others = {a.ref.author for a in higher} - {own}
    if others and own != roster.founder:
        who = _names(others, roster)
        raise ProposalRefused(
            f"{node.short} is {_a(present)} by the word of {who}; that node may demote it, "
            f"and the founder"
        )
    admissions = tuple(admission.ref.record_id for admission in higher)
    revocation = RevokeNode(node, None, admissions)
    if any(a.body.role is role for a in active_admissions(node, roster)):
        return [revocation]
    return [AdmitNode(node, role, FreeText(roster.name(node))), revocation]


def _present(node: NodePubkey, roster: Roster) -> Role:
    role = roster.role(node)
    if role is None:
        way = f"let it in with: gangline members admit {node.hex()}"
        raise ProposalRefused(f"{node.short} does not belong to the cluster; {way}")
    return role


def _must_have_admitted(node: NodePubkey, roster: Roster, own: NodePubkey, what: str) -> None:
    """Whoever takes a node in answers for it: a second word would outlive the first one's."""
    authors = {admission.ref.author for admission in active_admissions(node, roster)}
    if own not in authors and own != roster.founder:
        who = _names(authors or {roster.founder}, roster)
        raise ProposalRefused(f"{node.short} was admitted by {who}, who may {what} it")


def _names(nodes: set[NodePubkey], roster: Roster) -> str:
    return ", ".join(f"{roster.name(n) or 'an unnamed node'} ({n.short})" for n in sorted(nodes))


def _a(role: Role) -> str:
    return f"an {role}" if role is not Role.MEMBER else f"a {role}"
