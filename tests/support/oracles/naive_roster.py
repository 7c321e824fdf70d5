"""The roster a second time, written from the words of protocol §9 and from nothing else.

Every question is answered by looking at all statements again, stratum by stratum. Shares no code
with ``crdt/views/roster.py``.

    Authority has three strata: the founder names and revokes admins; admins admit and revoke
    members and observers; who admitted may revoke, the founder may revoke anyone, nobody revokes
    the founder. An admission holds for every slot of its node but those that a revocation naming it
    takes: all from the clock that keep gives an incarnation, and the whole of one it does not list.
    A revocation counts for admissions that its author wrote, the founder's for any.
"""

from bisect import bisect_right

from crdt.records.bodies import Member, Revocation, Role

ROLES = (Role.ADMIN, Role.MEMBER, Role.OBSERVER)


class NaiveRoster:
    """Who belongs, from one set of ``member`` and ``revocation`` records."""

    def __init__(self, founder, records):
        self.founder = founder
        self.admissions = [r for r in records if isinstance(r.body, Member)]
        self.revocations = [r for r in records if isinstance(r.body, Revocation)]

    # --- who may say what

    def is_admin_at(self, author, incarnation, clock):
        """Only the founder's word makes an admin, and takes it back."""
        if author == self.founder:
            return True
        return any(
            record.feed.author == self.founder
            and record.body.node == author
            and record.body.role is Role.ADMIN
            and not any(
                self.takes(revocation, record, incarnation, clock)
                for revocation in self.revocations
                if revocation.feed.author == self.founder
            )
            for record in self.admissions
        )

    def is_admin_still(self, node):
        """Whether the founder's word that it is an admin stands unrevoked."""
        if node == self.founder:
            return True
        return any(
            record.feed.author == self.founder
            and record.body.node == node
            and record.body.role is Role.ADMIN
            and not any(
                revocation.feed.author == self.founder and self.names(revocation, record)
                for revocation in self.revocations
            )
            for record in self.admissions
        )

    def admission_counts(self, record):
        author, body = record.feed.author, record.body
        if not self.is_admin_at(author, record.feed.incarnation, record.clock):
            return False
        if author == self.founder:
            return body.role is Role.ADMIN or body.node != self.founder
        return body.role is not Role.ADMIN and body.node not in (author, self.founder)

    def revocation_counts(self, revocation, record):
        """Whether a revocation that names an admission takes slots of it."""
        author, node = revocation.feed.author, revocation.body.node
        if not self.names(revocation, record) or node == self.founder:
            return False
        if author == self.founder:
            return True
        if not self.is_admin_at(author, revocation.feed.incarnation, revocation.clock):
            return False
        return author == record.feed.author and not self.is_admin_still(node)

    @staticmethod
    def names(revocation, record):
        same = revocation.body.node == record.body.node
        return same and record.record_id in revocation.body.admissions

    def takes(self, revocation, record, incarnation, clock):
        if not self.names(revocation, record) or revocation.body.node == self.founder:
            return False
        return clock >= dict(revocation.body.keep).get(incarnation, 0)

    # --- what is asked

    def nodes(self):
        """Every key on the roster."""
        return {self.founder} | {r.body.node for r in self.admissions if self.admission_counts(r)}

    def of(self, node):
        """The admissions of a node that count."""
        return [r for r in self.admissions if r.body.node == node and self.admission_counts(r)]

    def revoking(self, record):
        return [r for r in self.revocations if self.revocation_counts(r, record)]

    def on_roster(self, node):
        return node == self.founder or bool(self.of(node))

    def role_of_slot(self, node, incarnation, clock):
        if node == self.founder:
            return Role.ADMIN
        held = {
            record.body.role
            for record in self.of(node)
            if not any(self.takes(r, record, incarnation, clock) for r in self.revoking(record))
        }
        return next((role for role in ROLES if role in held), None)

    def role(self, node):
        if node == self.founder:
            return Role.ADMIN
        held = {record.body.role for record in self.of(node) if not self.revoking(record)}
        return next((role for role in ROLES if role in held), None)

    def keeps(self, node, incarnation):
        return any(
            incarnation in dict(revocation.body.keep)
            for record in self.of(node)
            for revocation in self.revoking(record)
        )


class RememberedRoster(NaiveRoster):
    """The same, asked often: each answer is found once.

    Between two clocks that some revocation keeps, every slot of an incarnation has one answer.
    """

    def __init__(self, founder, records):
        super().__init__(founder, records)
        self._found = {}

    def admission_counts(self, record):
        return self._once(("counts", record.record_id), super().admission_counts, record)

    def nodes(self):
        return self._once("nodes", super().nodes)

    def of(self, node):
        return self._once(("of", node), super().of, node)

    def role(self, node):
        return self._once(("role", node), super().role, node)

    def role_of_slot(self, node, incarnation, clock):
        steps = self._once(("steps", node, incarnation), self._steps, node, incarnation)
        where = ("slot", node, incarnation, bisect_right(steps, clock))
        return self._once(where, super().role_of_slot, node, incarnation, clock)

    def _steps(self, node, incarnation):
        kept = (dict(r.body.keep) for r in self.revocations if r.body.node == node)
        return sorted({keep[incarnation] for keep in kept if incarnation in keep})

    def _once(self, question, ask, *args):
        if question not in self._found:
            self._found[question] = ask(*args)
        return self._found[question]
