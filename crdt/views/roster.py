"""Who belongs: the roster, computed from ``member`` and ``revocation`` records alone.

Takes every verified ``member`` and ``revocation`` from ``ledger.py``, whatever its verdict, and
gives the role that holds for a slot. Authority has three strata (founder, admins, the rest), each
decided by the one above it, so the result depends on the set of records and on no order. Pure and
rebuilt whole: rosters are small and change rarely. Source: protocol §9.
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
    """A revocation that counts, as far as it takes slots of one admission.

    ``keep`` holds for each incarnation the first clock taken.
    """

    ref: RecordRef
    at: Instant
    keep: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Admission:
    """An admission that counts, and the revocations that take slots of it."""

    ref: RecordRef
    body: Member
    revocations: tuple[RevocationScope, ...] = ()

    @property
    def revoked(self) -> bool:
        """Whether any revocation that counts names it."""
        return bool(self.revocations)

    def ends(self) -> tuple[dict[int, int], int]:
        """The first clock that is taken in each incarnation that is named, and in all others."""
        if not self.revocations:
            return {}, limits.CLOCK_MAX + 1
        first, *more = {id(take.keep): take.keep for take in self.revocations}.values()
        ends = dict(first)
        for keep in more:
            ends = {n: min(end, keep[n]) for n, end in ends.items() if n in keep}
        return ends, 0


class Roster:
    """The standing of every key, from one set of records.

    Args:
        founder: the founder's key; an admin for every slot, whatever anybody writes.
        records: verified records; those that are no ``member`` or ``revocation`` are passed over.
    """

    def __init__(self, founder: NodePubkey, records: Iterable[VerifiedRecord] = ()) -> None:
        self.founder = founder
        self._admissions: dict[NodePubkey, list[Admission]] = {}
        self._counting: set[RecordId] = set()
        self._whole: dict[NodePubkey, Role] = {}
        self._reach: dict[NodePubkey, list[tuple[Role, dict[int, int], int]]] = {}
        statements = [r for r in records if isinstance(r.body, Statement)]
        # First the founder's word, which alone names admins; then the word of those admins, at
        # the slots where the founder's lets their role stand. What others say is passed over, but
        # for one look: any member may say as much as he likes.
        by_founder = _in_order(r for r in statements if r.feed.author == founder)
        self._add(by_founder, by_founder)
        by_admins = _in_order(
            r
            for r in statements
            if r.feed.author != founder and self.role_of_slot(r.feed, r.clock) is Role.ADMIN
        )
        self._add(by_admins, by_admins + by_founder)
        self._reach.clear()  # the admins' word may have widened it
        # Of most nodes no slot is taken: one look then says the role of every slot.
        self._whole = {
            node: max((admission.body.role for admission in admissions), key=RANK.__getitem__)
            for node, admissions in self._admissions.items()
            if not any(admission.revocations for admission in admissions)
        }
        self._kept: dict[NodePubkey, set[int]] = {}
        for node, admissions in self._admissions.items():
            # Once for each revocation, however many admissions it names.
            keeps = {id(take.keep): take.keep for one in admissions for take in one.revocations}
            if keeps:
                self._kept[node] = set().union(*keeps.values())

    def _add(self, stratum: list[VerifiedRecord], revoking: list[VerifiedRecord]) -> None:
        """Count a stratum's admissions, each with the revocations that may take slots of it."""
        takes: dict[tuple[RecordId, NodePubkey], list[RevocationScope]] = {}
        for record in revoking:
            body = record.body
            if isinstance(body, Revocation) and self.may_revoke(record, body):
                take = RevocationScope(record.ref, body.at, dict(body.keep))
                for record_id in body.admissions:
                    takes.setdefault((record_id, body.node), []).append(take)
        for record in stratum:
            body = record.body
            if not isinstance(body, Member) or not self.may_admit(record.feed.author, body):
                continue
            taken = tuple(
                take
                for take in takes.get((record.record_id, body.node), ())
                if take.ref.author in (record.feed.author, self.founder)
                and body.node != self.founder
            )
            admission = Admission(record.ref, body, taken)
            self._admissions.setdefault(body.node, []).append(admission)
            self._counting.add(record.record_id)

    def may_admit(self, author: NodePubkey, body: Member) -> bool:
        """Whether an author that is an admin may say this (protocol §9)."""
        if author == self.founder:
            return body.node != self.founder or body.role is Role.ADMIN
        return body.role is not Role.ADMIN and body.node not in (author, self.founder)

    # --- questions -----------------------------------------------------------------------------

    def on_roster(self, node: NodePubkey) -> bool:
        """Whether the node has an admission that counts, taken or not."""
        return node == self.founder or node in self._admissions

    def belongs(self, node: NodePubkey) -> bool:
        """Whether the node may link and write: an admission counts and is not revoked."""
        return node == self.founder or any(
            not admission.revoked for admission in self._admissions.get(node, ())
        )

    def role_of_slot(self, feed: FeedId, clock: int) -> Role | None:
        """The highest role that holds for a slot; ``None`` where all are taken or none counts."""
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

    def gave(self, node: NodePubkey, least: Role) -> bool:
        """Whether a counting admission gave the node this role or a higher one, taken or not."""
        given = (admission.body.role for admission in self._admissions.get(node, ()))
        return node == self.founder or any(RANK[role] >= RANK[least] for role in given)

    def role(self, node: NodePubkey) -> Role | None:
        """The highest role that is not revoked, or ``None``."""
        if node == self.founder:
            return Role.ADMIN
        roles = [a.body.role for a in self._admissions.get(node, ()) if not a.revoked]
        return max(roles, key=RANK.__getitem__, default=None)

    def write_block(self, node: NodePubkey) -> str:
        """Why a node may write nothing; empty where it may."""
        if not self._admissions.get(self.founder):
            # Not even the founding record: the store is new, and the founder's word would be blind.
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
        """Whether a revocation that counts keeps a clock of this feed."""
        return feed.incarnation in self._kept.get(feed.author, ())

    def counts(self, record: VerifiedRecord) -> bool:
        """Whether this ``member`` record is an admission that counts."""
        return record.record_id in self._counting

    def may_revoke(self, record: VerifiedRecord, body: Revocation) -> bool:
        """Whether the author may say this at all.

        Nobody revokes the founder, and nobody but the founder whoever is an admin; which
        admissions a revocation takes is a question of who wrote those.
        """
        if self.role_of_slot(record.feed, record.clock) is not Role.ADMIN:
            return False
        if body.node == self.founder:
            return False
        if record.feed.author == self.founder:
            return True
        return self.role(body.node) is not Role.ADMIN

    def admissions(self, node: NodePubkey) -> tuple[Admission, ...]:
        """Every admission of a node that counts, in order of stamp."""
        found = self._admissions.get(node, [])
        return tuple(sorted(found, key=lambda admission: (admission.body.stamp, admission.ref)))

    def nodes(self) -> list[NodePubkey]:
        """Every key on the roster, in order."""
        return sorted({self.founder, *self._admissions})

    def name(self, node: NodePubkey) -> str:
        """The name in the latest of the admissions that give the node its role.

        So nobody renames an admin but the founder. Where all are revoked, the latest of all.
        """
        admissions = self.admissions(node)
        role = self.role(node)
        giving = [a for a in admissions if not a.revoked and a.body.role is role]
        named = giving or admissions
        return named[-1].body.name if named else ""

    def changed_nodes(self, before: "Roster") -> set[NodePubkey]:
        """The nodes whose standing is another than before."""
        return {
            node
            for node in {*self.nodes(), *before.nodes()}
            if _rests_on(self, node) != _rests_on(before, node)
        }

    def changes(self, before: "Roster", nodes: Iterable[NodePubkey]) -> tuple[RosterChange, ...]:
        """How these nodes stand, and how they stood before, in order of their keys."""
        return tuple(self._change(before, node) for node in sorted(nodes))

    def _change(self, before: "Roster", node: NodePubkey) -> RosterChange:
        said = {*_words(self.admissions(node))} - {*_words(before.admissions(node))}
        authors = {ref.author for ref in said}
        return RosterChange(
            node=node,
            name=self.name(node),
            role=_standing(self, node),
            before_name=before.name(node),
            before_role=_standing(before, node),
            by=authors.pop() if len(authors) == 1 else None,
        )


def _in_order(records: Iterable[VerifiedRecord]) -> list[VerifiedRecord]:
    """One order, so that two rosters of the same records compare equal."""
    return sorted(records, key=lambda record: record.ref)


def _reach(admissions: Iterable[Admission]) -> list[tuple[Role, dict[int, int], int]]:
    """For each role, the highest first: where it ends in some incarnations, and in all others."""
    found: dict[Role, tuple[dict[int, int], int]] = {}
    known: set[tuple[Role, tuple[int, ...]]] = set()
    for admission in admissions:
        # Those of which the same is taken are one: whoever revokes names every admission.
        alike = (admission.body.role, tuple(id(take.keep) for take in admission.revocations))
        if alike in known:
            continue
        known.add(alike)
        ends, end = found.get(admission.body.role, ({}, 0))
        mine, others = admission.ends()
        both = {n: max(ends.get(n, end), mine.get(n, others)) for n in {*ends, *mine}}
        found[admission.body.role] = both, max(end, others)
    return [(role, *found[role]) for role in sorted(found, key=RANK.__getitem__, reverse=True)]


def _rests_on(roster: Roster, node: NodePubkey) -> list[tuple[RecordRef, ...]]:
    """The records that each admission of a node rests on: they say all of it."""
    return [(a.ref, *(take.ref for take in a.revocations)) for a in roster.admissions(node)]


def _standing(roster: Roster, node: NodePubkey) -> str:
    return str(roster.role(node) or ("revoked" if roster.on_roster(node) else ""))


def _words(admissions: Iterable[Admission]) -> Iterator[RecordRef]:
    """The records that the admissions of a node, and their revocations, rest on."""
    for admission in admissions:
        yield admission.ref
        yield from (take.ref for take in admission.revocations)
