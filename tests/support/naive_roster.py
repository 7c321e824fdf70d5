"""The roster a second time, written from the words of protocol §9 and from nothing else.

Every question is answered by looking at all statements again, stratum by stratum. Shares no code
with ``crdt/roster.py``.

    Authority has three strata: the founder names and revokes admins; admins admit and revoke
    members and observers; who admitted may revoke, the founder may revoke anyone, nobody revokes
    the founder. An admission holds for every slot of its node but those that a revocation naming it
    takes: all from the clock that keep gives an incarnation, and the whole of one it does not list.
    A revocation counts for admissions that its author wrote, the founder's for any.
"""

from crdt.bodies import Member, Revocation, Role

ROLES = (Role.ADMIN, Role.MEMBER, Role.OBSERVER)


class Naive:
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
