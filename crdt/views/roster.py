"""The roster: the nodes that belong, computed from ``member`` and ``revocation`` records.

All verified records of these kinds count as input, whatever their verdict. Authority has three
strata (founder, admins, the rest), each decided by the one above, so the result does not depend on
order. A roster is small and changes rarely, so it is recomputed as a whole. Source: protocol §9.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from machines.values import Instant, NodePubkey

from crdt.contract.ready import RosterChange
from crdt.primitives import limits
from crdt.primitives.identity import FeedId, RecordId, RecordRef
from crdt.records.bodies import Member, Revocation, Role, Statement
from crdt.records.record import VerifiedRecord

RANK = {Role.OBSERVER: 0, Role.MEMBER: 1, Role.ADMIN: 2}


@dataclass(frozen=True, slots=True)
class RevocationScope:
    """The slots that a counting revocation takes from an admission.

    Attributes:
        keep: the first clock taken, by incarnation. Incarnations not listed are taken whole.
    """

    ref: RecordRef
    at: Instant
    keep: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Admission:
    """A counting admission, and the revocations that take slots from it."""

    ref: RecordRef
    body: Member
    revocations: tuple[RevocationScope, ...] = ()

    @property
    def revoked(self) -> bool:
        """Whether a counting revocation names it."""
        return bool(self.revocations)

    def ends(self) -> tuple[dict[int, int], int]:
        """Return the first clock taken, by incarnation, and in all incarnations not listed."""
        if not self.revocations:
            return {}, limits.CLOCK_MAX + 1
        first, *more = {id(scope.keep): scope.keep for scope in self.revocations}.values()
        ends = dict(first)
        for keep in more:
            ends = {n: min(end, keep[n]) for n, end in ends.items() if n in keep}
        return ends, 0


class Roster:
    """The admissions and roles of all nodes, from a set of records.

    Args:
        founder: the founder's key; always an admin, for every slot.
        records: verified records; kinds other than ``member`` and ``revocation`` are ignored.
    """

    def __init__(self, founder: NodePubkey, records: Iterable[VerifiedRecord] = ()) -> None:
        self.founder = founder
        self._admissions: dict[NodePubkey, list[Admission]] = {}
        self._counting: set[RecordId] = set()
        self._whole: dict[NodePubkey, Role] = {}
        self._reach: dict[NodePubkey, list[tuple[Role, dict[int, int], int]]] = {}
        statements = [r for r in records if isinstance(r.body, Statement)]
        # First the records of the founder, who alone names admins; then those of admins, in slots
        # where their role holds. Records of others cost one check each: a member may write many.
        by_founder = _in_order(r for r in statements if r.feed.author == founder)
        self._add(by_founder, by_founder)
        by_admins = _in_order(
            r
            for r in statements
            if r.feed.author != founder and self.role_of_slot(r.feed, r.clock) is Role.ADMIN
        )
        self._add(by_admins, by_admins + by_founder)
        self._reach.clear()  # the admins' records may have extended it
        # Most nodes have no slot taken: one role holds for all their slots.
        self._whole = {
            node: max((admission.body.role for admission in admissions), key=RANK.__getitem__)
            for node, admissions in self._admissions.items()
            if not any(admission.revocations for admission in admissions)
        }
        self._kept: dict[NodePubkey, set[int]] = {}
        for node, admissions in self._admissions.items():
            # Once for each revocation, however many admissions it names.
            keeps = {id(scope.keep): scope.keep for one in admissions for scope in one.revocations}
            if keeps:
                self._kept[node] = set().union(*keeps.values())

    def _add(self, stratum: list[VerifiedRecord], revoking: list[VerifiedRecord]) -> None:
        """Add the admissions of a stratum, with the revocations that may take slots from them."""
        scopes: dict[tuple[RecordId, NodePubkey], list[RevocationScope]] = {}
        for record in revoking:
            body = record.body
            if isinstance(body, Revocation) and self.may_revoke(record, body):
                scope = RevocationScope(record.ref, body.at, dict(body.keep))
                for record_id in body.admissions:
                    scopes.setdefault((record_id, body.node), []).append(scope)
        for record in stratum:
            body = record.body
            if not isinstance(body, Member) or not self.may_admit(record.feed.author, body):
                continue
            taken = tuple(
                scope
                for scope in scopes.get((record.record_id, body.node), ())
                if scope.ref.author in (record.feed.author, self.founder)
                and body.node != self.founder
            )
            admission = Admission(record.ref, body, taken)
            self._admissions.setdefault(body.node, []).append(admission)
            self._counting.add(record.record_id)

    def may_admit(self, author: NodePubkey, body: Member) -> bool:
        """Whether an admin may write this admission (protocol §9)."""
        if author == self.founder:
            return body.node != self.founder or body.role is Role.ADMIN
        return body.role is not Role.ADMIN and body.node not in (author, self.founder)

    # --- questions -----------------------------------------------------------------------------

    def on_roster(self, node: NodePubkey) -> bool:
        """Whether the node has a counting admission, revoked or not."""
        return node == self.founder or node in self._admissions

    def belongs(self, node: NodePubkey) -> bool:
        """Whether the node may link and write: it has a counting admission that is not revoked."""
        return node == self.founder or any(
            not admission.revoked for admission in self._admissions.get(node, ())
        )

    def role_of_slot(self, feed: FeedId, clock: int) -> Role | None:
        """Return the highest role for a slot; ``None`` if no admission holds for it."""
        whole = self._whole.get(feed.author)
        if whole is not None:
            return whole
        if feed.author == self.founder:
            return Role.ADMIN
        if feed.author not in self._reach:
            self._reach[feed.author] = _reach(self._admissions.get(feed.author, ()))
        for role, ends, end in self._reach[feed.author]:
            if clock < ends.get(feed.incarnation, end):
                return role
        return None

    def has_granted(self, node: NodePubkey, least: Role) -> bool:
        """Whether a counting admission, revoked or not, gives ``least`` or a higher role."""
        given = (admission.body.role for admission in self._admissions.get(node, ()))
        return node == self.founder or any(RANK[role] >= RANK[least] for role in given)

    def role(self, node: NodePubkey) -> Role | None:
        """Return the highest role that is not revoked, or ``None``."""
        if node == self.founder:
            return Role.ADMIN
        roles = [a.body.role for a in self._admissions.get(node, ()) if not a.revoked]
        return max(roles, key=RANK.__getitem__, default=None)

    def write_block(self, node: NodePubkey) -> str:
        """Return why a node may write nothing; empty if it may write."""
        if not self._admissions.get(self.founder):
            # Not even the founding record: even the founder must not write without it.
            return (
                "this node holds nothing of its cluster; a peer must tell it: name one under "
                "[[peers]] in the config, or put a backup back with: gangline restore FILE --force"
            )
        role = self.role(node)
        if role is None and self.on_roster(node):
            return (
                "this node's admission was revoked; an admin may take it back by running "
                f"gangline members admit {node.hex()}"
            )
        if role is None:
            return (
                "this node is not on the roster, as far as it knows: a peer must tell it, or an "
                f"admin admit it by running gangline members admit {node.hex()}"
            )
        return "an observer writes nothing" if role is Role.OBSERVER else ""

    def keeps(self, feed: FeedId) -> bool:
        """Whether a counting revocation ``keep``s a clock of this feed."""
        return feed.incarnation in self._kept.get(feed.author, ())

    def counts(self, record: VerifiedRecord) -> bool:
        """Whether this ``member`` record is a counting admission."""
        return record.record_id in self._counting

    def may_revoke(self, record: VerifiedRecord, body: Revocation) -> bool:
        """Whether the author may revoke this node.

        Nobody may revoke the founder; only the founder may revoke an admin. Which admissions the
        revocation takes from depends on their authors.
        """
        if self.role_of_slot(record.feed, record.clock) is not Role.ADMIN:
            return False
        if body.node == self.founder:
            return False
        if record.feed.author == self.founder:
            return True
        return self.role(body.node) is not Role.ADMIN

    def admissions(self, node: NodePubkey) -> tuple[Admission, ...]:
        """Return the counting admissions of a node in order of stamp."""
        found = self._admissions.get(node, [])
        return tuple(sorted(found, key=lambda admission: (admission.body.stamp, admission.ref)))

    def nodes(self) -> list[NodePubkey]:
        """Return all keys on the roster, in order."""
        return sorted({self.founder, *self._admissions})

    def name(self, node: NodePubkey) -> str:
        """Return the name in the latest admission that gives the node its role.

        So only the founder can rename an admin. If all are revoked, the latest of all counts.
        """
        admissions = self.admissions(node)
        role = self.role(node)
        giving = [a for a in admissions if not a.revoked and a.body.role is role]
        named = giving or admissions
        return named[-1].body.name if named else ""

    def changed_nodes(self, before: "Roster") -> set[NodePubkey]:
        """Return the nodes whose admissions or revocations differ from ``before``."""
        return {
            node
            for node in {*self.nodes(), *before.nodes()}
            if _statements(self, node) != _statements(before, node)
        }

    def changes(self, before: "Roster", nodes: Iterable[NodePubkey]) -> tuple[RosterChange, ...]:
        """Return the roles and names of these nodes, now and before, in order of key."""
        return tuple(self._change(before, node) for node in sorted(nodes))

    def _change(self, before: "Roster", node: NodePubkey) -> RosterChange:
        added = {*_refs(self.admissions(node))} - {*_refs(before.admissions(node))}
        authors = {ref.author for ref in added}
        return RosterChange(
            node=node,
            name=self.name(node),
            role=_role_text(self, node),
            before_name=before.name(node),
            before_role=_role_text(before, node),
            by=authors.pop() if len(authors) == 1 else None,
        )


def _in_order(records: Iterable[VerifiedRecord]) -> list[VerifiedRecord]:
    """Sort records, so that two rosters of the same records compare equal."""
    return sorted(records, key=lambda record: record.ref)


def _reach(admissions: Iterable[Admission]) -> list[tuple[Role, dict[int, int], int]]:
    """Return (role, its end by incarnation, its end in all others), highest role first."""
    found: dict[Role, tuple[dict[int, int], int]] = {}
    known: set[tuple[Role, tuple[int, ...]]] = set()
    for admission in admissions:
        # Admissions with the same role and revocations are equivalent.
        shape = (admission.body.role, tuple(id(scope.keep) for scope in admission.revocations))
        if shape in known:
            continue
        known.add(shape)
        ends, end = found.get(admission.body.role, ({}, 0))
        own, others = admission.ends()
        both = {n: max(ends.get(n, end), own.get(n, others)) for n in {*ends, *own}}
        found[admission.body.role] = both, max(end, others)
    return [(role, *found[role]) for role in sorted(found, key=RANK.__getitem__, reverse=True)]


def _statements(roster: Roster, node: NodePubkey) -> list[tuple[RecordRef, ...]]:
    """Return, for each admission of a node, its record and those of its revocations."""
    return [(a.ref, *(scope.ref for scope in a.revocations)) for a in roster.admissions(node)]


def _role_text(roster: Roster, node: NodePubkey) -> str:
    return str(roster.role(node) or ("revoked" if roster.on_roster(node) else ""))


def _refs(admissions: Iterable[Admission]) -> Iterator[RecordRef]:
    """Yield the records of admissions and of their revocations."""
    for admission in admissions:
        yield admission.ref
        yield from (scope.ref for scope in admission.revocations)
