import pytest
from msgspec import UNSET, structs

from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role
from crdt.views.roster import Admission, Roster
from tests.support.tools.steps import steps


def roster(court, *records):
    """Of the founding record, the founder's admissions and these."""
    return Roster(court.founder.node, [court.found.record, *court.admissions.values(), *records])


def bare(court, *records):
    """Of these records and no others."""
    return Roster(court.founder.node, records)


def feed(pen, incarnation=0):
    return FeedId(pen.node, incarnation)


def names(found, *pens):
    return [found.role(pen.node) for pen in pens]


def test_everyone_has_the_role_that_the_founder_gave(court):
    found = roster(court)
    assert names(found, court.founder, court.ada, court.bob, court.obs, court.sam) == [
        Role.ADMIN, Role.ADMIN, Role.MEMBER, Role.OBSERVER, None,
    ]  # fmt: skip
    assert found.on_roster(court.obs.node)
    assert not found.on_roster(court.sam.node)
    assert not found.belongs(court.sam.node)
    assert found.role_of_slot(feed(court.sam), 0) is None


def test_founder_is_always_an_admin(court):
    found = bare(court)
    assert found.on_roster(court.founder.node)
    assert found.belongs(court.founder.node)
    assert found.role(court.founder.node) is Role.ADMIN
    assert found.role_of_slot(feed(court.founder, 7), 99) is Role.ADMIN
    assert found.nodes() == [court.founder.node]
    assert found.name(court.founder.node) == ""


def test_an_admin_admits_members_and_observers(court):
    found = roster(court, one := court.ada.member(court.sam.node, Role.OBSERVER))
    assert found.role(court.sam.node) is Role.OBSERVER
    assert found.counts(one)


def test_admin_admission_adds_to_the_founders(court):
    """Also of one whose own word was asked about before that admin's was read."""
    two = court.founder.member(court.bob.node, Role.ADMIN)
    taken = court.founder.revocation(
        court.ada.node, [court.admissions[court.ada.node]], keep=[(0, 1)]
    )
    said = court.ada.member(court.sam.node, Role.OBSERVER)
    back = court.bob.member(court.ada.node, Role.MEMBER)
    found = roster(court, two, taken, said, back)
    assert found.counts(said)
    assert [found.role_of_slot(feed(court.ada), clock) for clock in (0, 1)] == [
        Role.ADMIN, Role.MEMBER,
    ]  # fmt: skip


@pytest.mark.parametrize("author", ["bob", "obs", "sam"])
def test_nobody_else_admits_anybody(court, author):
    record = getattr(court, author).member(court.sam.node, Role.MEMBER)
    found = roster(court, record)
    assert not found.on_roster(court.sam.node)
    assert not found.counts(record)


def test_only_the_founder_names_admins(court):
    found = roster(court, record := court.ada.member(court.bob.node, Role.ADMIN))
    assert found.role(court.bob.node) is Role.MEMBER
    assert not found.counts(record)


def test_an_admin_admits_neither_itself_nor_the_founder(court):
    itself = court.ada.member(court.ada.node, Role.MEMBER)
    founder = court.ada.member(court.founder.node, Role.OBSERVER)
    found = roster(court, itself, founder)
    assert not found.counts(itself)
    assert not found.counts(founder)
    assert len(found.admissions(court.ada.node)) == 1
    assert found.role(court.founder.node) is Role.ADMIN


def test_founder_may_rename_itself(court):
    lower = court.founder.member(court.founder.node, Role.MEMBER)
    again = court.founder.member(court.founder.node, Role.ADMIN, "palace")
    found = roster(court, lower, again)
    assert not found.counts(lower)
    assert found.counts(again)
    assert found.name(court.founder.node) == "palace"


def test_admin_record_counts_only_in_admin_slots(court):
    before, after = (court.ada.member(court.sam.node, Role.MEMBER, name) for name in "ab")
    take = court.founder.revocation(court.ada.node, [court.admissions[court.ada.node]], [(0, 1)])
    found = roster(court, before, after, take)
    assert found.counts(before)
    assert not found.counts(after)
    assert found.name(court.sam.node) == "a"


def test_revocation_takes_slots_from_keep(court):
    take = court.founder.revocation(
        court.bob.node, [court.admissions[court.bob.node]], [(0, 3), (5, 0)]
    )
    found = roster(court, take)
    held = [found.role_of_slot(feed(court.bob), clock) for clock in (0, 2, 3, 9)]
    assert held == [Role.MEMBER, Role.MEMBER, None, None]
    assert found.role_of_slot(feed(court.bob, 5), 0) is None
    assert found.role_of_slot(feed(court.bob, 1), 0) is None  # an incarnation it does not list
    assert found.on_roster(court.bob.node)
    assert not found.belongs(court.bob.node)
    assert found.role(court.bob.node) is None
    assert found.keeps(feed(court.bob))
    assert found.keeps(feed(court.bob, 5))
    assert not found.keeps(feed(court.bob, 1))
    assert not found.keeps(feed(court.cat))


def test_revocation_takes_from_all_named_admissions(court):
    again = court.founder.member(court.bob.node, Role.MEMBER)
    named = [court.admissions[court.bob.node], again]
    take = court.founder.revocation(court.bob.node, named, [(0, 3)])
    found = roster(court, again, take)
    held = [found.role_of_slot(feed(court.bob), clock) for clock in (2, 3)]
    assert held == [Role.MEMBER, None]


def test_equivalent_admissions_hide_no_others(court):
    given = [court.founder.member(court.sam.node, Role.MEMBER) for _ in range(3)]
    less = court.founder.revocation(court.sam.node, given[:2], [(0, 1)])
    more = court.founder.revocation(court.sam.node, given[2:], [(0, 5)])
    found = roster(court, *given, less, more)
    held = [found.role_of_slot(feed(court.sam), clock) for clock in (0, 4, 5)]
    assert held == [Role.MEMBER, Role.MEMBER, None]


def test_only_the_admitting_admin_may_revoke(court):
    eve = court.cat
    extra = court.founder.member(eve.node, Role.ADMIN)
    admission = court.ada.member(court.sam.node, Role.MEMBER)
    by_other = eve.revocation(court.sam.node, [admission])
    assert roster(court, extra, admission, by_other).belongs(court.sam.node)
    by_ada = court.ada.revocation(court.sam.node, [admission])
    assert not roster(court, extra, admission, by_ada).belongs(court.sam.node)


def test_the_founder_may_revoke_anyone(court):
    admission = court.ada.member(court.sam.node, Role.MEMBER)
    take = court.founder.revocation(court.sam.node, [admission])
    assert not roster(court, admission, take).belongs(court.sam.node)
    whole = court.founder.revocation(court.ada.node, [court.admissions[court.ada.node]])
    found = roster(court, admission, whole)
    assert not found.belongs(court.ada.node)
    assert not found.on_roster(court.sam.node)  # ada admitted it, and had no say


def test_revocation_for_another_node_takes_nothing(court):
    take = court.founder.revocation(court.cat.node, [court.admissions[court.bob.node]])
    found = roster(court, take)
    assert found.belongs(court.bob.node)
    assert found.belongs(court.cat.node)


def test_nobody_revokes_the_founder(court):
    naming = court.founder.member(court.founder.node, Role.ADMIN)
    for pen in (court.founder, court.ada):
        take = pen.revocation(court.founder.node, [naming])
        found = roster(court, naming, take)
        assert not found.may_revoke(take, take.body)
        assert found.belongs(court.founder.node)
        assert not found.admissions(court.founder.node)[-1].revoked


def test_who_may_revoke_whom(court):
    found = roster(court)

    def may(pen, node, **where):
        record = pen.revocation(node, [], **where)
        return found.may_revoke(record, record.body)

    assert may(court.founder, court.ada.node)
    assert may(court.founder, court.sam.node)
    assert may(court.ada, court.bob.node)
    assert not may(court.ada, court.ada.node)
    assert not may(court.bob, court.cat.node)
    assert not may(court.obs, court.cat.node)
    assert not may(court.sam, court.cat.node)


def test_an_admin_revokes_only_while_it_is_one(court):
    take = court.founder.revocation(court.ada.node, [court.admissions[court.ada.node]], [(0, 1)])
    early = court.ada.revocation(court.sam.node, [], clock=0)
    late = court.ada.revocation(court.sam.node, [], clock=1)
    found = roster(court, take)
    assert found.may_revoke(early, early.body)
    assert not found.may_revoke(late, late.body)


def test_readmitted_node_has_all_slots_back(court):
    take = court.founder.revocation(court.bob.node, [court.admissions[court.bob.node]], [(0, 3)])
    found = roster(court, take, court.founder.member(court.bob.node, Role.MEMBER))
    assert found.belongs(court.bob.node)
    assert found.role_of_slot(feed(court.bob), 9) is Role.MEMBER
    assert found.role_of_slot(feed(court.bob, 4), 0) is Role.MEMBER


def test_granted_roles_are_known_after_revocation(court):
    found = roster(
        court, court.founder.revocation(court.bob.node, [court.admissions[court.bob.node]])
    )
    asked = [(court.bob, Role.MEMBER), (court.bob, Role.ADMIN), (court.obs, Role.MEMBER)]
    assert [found.has_granted(pen.node, role) for pen, role in asked] == [True, False, False]
    assert found.has_granted(court.ada.node, Role.MEMBER)
    assert found.has_granted(court.founder.node, Role.ADMIN)
    assert not found.has_granted(court.sam.node, Role.OBSERVER)


def test_the_highest_role_that_holds_for_a_slot_counts(court):
    take = court.founder.revocation(court.bob.node, [court.admissions[court.bob.node]], [(0, 3)])
    found = roster(court, take, court.founder.member(court.bob.node, Role.OBSERVER))
    assert found.role_of_slot(feed(court.bob), 2) is Role.MEMBER
    assert found.role_of_slot(feed(court.bob), 3) is Role.OBSERVER
    assert found.role(court.bob.node) is Role.OBSERVER


def test_cost_of_the_role_of_an_unrevoked_node(court):
    counts = []
    for many in (1, 50):
        given = [court.founder.member(court.sam.node, Role.MEMBER) for _ in range(many)]
        found = roster(court, *given)
        counts.append(steps(lambda found=found: found.role_of_slot(feed(court.sam), 4)))
        assert found.role_of_slot(feed(court.sam), 4) is Role.MEMBER
    assert counts[0] == counts[1]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("lower", "higher"), [(Role.OBSERVER, Role.MEMBER), (Role.MEMBER, Role.ADMIN)]
)
def test_higher_of_two_roles_counts(court, lower, higher, turned):
    order = (higher, lower) if turned else (lower, higher)
    given = [court.founder.member(court.sam.node, role, role.value) for role in order]
    found = roster(court, *given)
    assert found.role(court.sam.node) is higher
    assert found.role_of_slot(feed(court.sam), 4) is higher
    assert found.name(court.sam.node) == higher.value, "the name comes with the role"


def test_name_of_a_revoked_admission_is_not_used(court):
    stands = court.founder.member(court.sam.node, Role.MEMBER, "stands")
    gone = court.founder.member(court.sam.node, Role.MEMBER, "gone")
    found = roster(court, stands, gone, court.founder.revocation(court.sam.node, [gone]))
    assert found.name(court.sam.node) == "stands"


def test_two_revocations_take_what_either_takes(court):
    admission = [court.admissions[court.bob.node]]
    one = court.founder.revocation(court.bob.node, admission, [(0, 3), (1, 5)])
    two = court.founder.revocation(court.bob.node, admission, [(0, 5), (1, 3)])
    found = roster(court, one, two)
    held = [
        [found.role_of_slot(feed(court.bob, incarnation), clock) for clock in (2, 3)]
        for incarnation in (0, 1)
    ]
    assert held == [[Role.MEMBER, None]] * 2


def test_unrevoked_admission_holds_everywhere():
    admission = Admission(None, None)
    assert not admission.revoked
    assert admission.ends() == ({}, 2**31)


def test_admission_ends_at_its_first_revocation(court):
    keeps = [[(0, 5), (1, 3), (2, 9)], [(0, 7), (1, 1), (3, 9)]]
    admission = [court.admissions[court.bob.node]]
    revocations = [court.founder.revocation(court.bob.node, admission, keep) for keep in keeps]
    found = roster(court, *revocations)
    [taken] = found.admissions(court.bob.node)
    assert taken.ends() == ({0: 5, 1: 1}, 0)
    more = court.founder.member(court.bob.node, Role.OBSERVER)
    over = court.founder.revocation(court.bob.node, [more], [(1, 8)])
    found = roster(court, *revocations, more, over)
    roles = [found.role_of_slot(feed(court.bob, 1), clock) for clock in (0, 1, 7, 8)]
    assert roles == [Role.MEMBER, Role.OBSERVER, Role.OBSERVER, None]
    assert found.role_of_slot(feed(court.bob, 2), 0) is None


def test_the_latest_name_is_shown(court):
    later = court.founder.member(court.bob.node, Role.MEMBER, "kennel")
    found = roster(court, later)
    assert found.name(court.bob.node) == "kennel"
    assert later.body.ticket is UNSET
    stamps = [admission.body.stamp for admission in found.admissions(court.bob.node)]
    assert stamps == sorted(stamps)
    assert len(stamps) == 2


def test_everybody_on_it_stands_in_order(court):
    nodes = [court.founder.node, *court.admissions]
    assert roster(court).nodes() == sorted(nodes)


def test_changed_nodes_have_other_admissions(court):
    before = roster(court)
    assert roster(court).changed_nodes(before) == set()
    admission = court.founder.member(court.sam.node, Role.MEMBER)
    take = court.founder.revocation(court.bob.node, [court.admissions[court.bob.node]])
    after = roster(court, admission, take)
    assert (
        after.changed_nodes(before)
        == before.changed_nodes(after)
        == {court.sam.node, court.bob.node}
    )


def test_the_order_of_the_records_does_not_show(court):
    admission = court.ada.member(court.sam.node, Role.MEMBER)
    records = [
        court.found.record,
        *court.admissions.values(),
        admission,
        court.ada.revocation(court.sam.node, [admission], [(0, 1)]),
        court.founder.revocation(court.sam.node, [admission], [(0, 2)]),
        court.founder.revocation(court.sam.node, [admission], [(0, 3)]),
        court.bob.story("s-1"),
    ]
    one, other = bare(court, *records), bare(court, *reversed(records))
    assert one.changed_nodes(other) == set()
    assert one.nodes() == other.nodes()


def test_revoked_node_keeps_its_last_name(court):
    again = court.founder.member(court.bob.node, Role.MEMBER, "kennel")
    admissions = [court.admissions[court.bob.node], again]
    found = roster(court, again, court.founder.revocation(court.bob.node, admissions))
    assert found.name(court.bob.node) == "kennel"


def test_write_block_gives_the_reason(court):
    found = roster(court)
    told = [found.write_block(pen.node) for pen in (court.bob, court.obs, court.sam)]
    assert told[0] == ""
    assert "observer" in told[1]
    assert "not on the roster" in told[2]
    gone = roster(
        court, court.founder.revocation(court.bob.node, [court.admissions[court.bob.node]])
    )
    assert gone.write_block(court.bob.node).endswith(f"members admit {court.bob.node.hex()}")
    assert "was revoked" in gone.write_block(court.bob.node)
    # A founder whose store was lost would write blindly.
    assert "[[peers]]" in bare(court).write_block(court.founder.node)
    assert found.write_block(court.founder.node) == ""


def test_roster_change_has_before_after_and_author(court):
    before = roster(court)
    bob, sam = court.bob.node, court.sam.node
    admitted = court.ada.member(sam, Role.OBSERVER, "fen")
    revoked = court.founder.revocation(bob, [court.admissions[bob]])
    after = roster(court, admitted, revoked)
    assert after.changed_nodes(before) == {bob, sam}
    changes = {change.node: change for change in after.changes(before, after.changed_nodes(before))}
    assert list(changes) == sorted(changes)
    assert structs.astuple(changes[sam]) == (sam, "fen", "observer", "", "", court.ada.node)
    name = before.name(bob)
    assert structs.astuple(changes[bob]) == (
        bob, name, "revoked", name, "member", court.founder.node
    )  # fmt: skip


def test_change_by_several_authors_has_no_author(court):
    sam = court.sam.node
    both = [pen.member(sam, Role.MEMBER) for pen in (court.founder, court.ada)]
    after = roster(court, *both)
    [change] = after.changes(roster(court), {sam})
    assert (change.role, change.by) == ("member", None)
