"""What operators wish for the roster, and that every node ends with the same one."""

import pytest

from crdt.authoring import roster_intents as m
from crdt.authoring.intents import RevokeNode
from crdt.ledger.feed import EntryStatus
from crdt.primitives.errors import ProposalRefused
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role
from machines.values import FreeText
from tests.support.builders.cluster import Cluster, key
from tests.support.builders.ledger_fixture import LedgerFixture
from tests.support.builders.record_author import RecordAuthor, as_frame


def wish(cluster, number, what):
    cluster.pass_time(0.01)
    ready, receipt = cluster.replicas[number].change_roster(what, cluster.now)
    cluster.carry(number, ready)
    cluster.deliver()
    return receipt


def role(cluster, number, *, seen_by=0):
    return cluster.replicas[seen_by].ledger.roster.role(cluster.keys[number].pubkey)


@pytest.fixture
def team():
    """The founder, two admins, a member that the first admin took in, and an observer."""
    cluster = Cluster(5)
    admins = [cluster.keys[1].pubkey, cluster.keys[2].pubkey]
    for node in admins:
        wish(cluster, 0, m.Admit(node, Role.ADMIN, FreeText("admin")))
    cluster.link_all()
    cluster.deliver()
    wish(cluster, 1, m.Admit(cluster.keys[3].pubkey, Role.MEMBER, FreeText("mem")))
    wish(cluster, 1, m.Admit(cluster.keys[4].pubkey, Role.OBSERVER, FreeText("obs")))
    cluster.add(0, "s-1")
    cluster.deliver()
    return cluster


def pub(cluster, number):
    return cluster.keys[number].pubkey


def test_promotions_go_up_the_ladder_and_demotions_down(team):
    member, observer = pub(team, 3), pub(team, 4)
    wish(team, 2, m.Promote(observer))
    assert role(team, 4, seen_by=3) is Role.MEMBER
    wish(team, 0, m.Promote(member))
    assert role(team, 3, seen_by=4) is Role.ADMIN
    wish(team, 0, m.Demote(member))
    assert role(team, 3, seen_by=4) is Role.MEMBER
    wish(team, 1, m.Demote(member, Role.OBSERVER))
    assert role(team, 3, seen_by=0) is Role.OBSERVER
    with pytest.raises(ProposalRefused, match="no higher"):
        wish(team, 1, m.Demote(member))
    with pytest.raises(ProposalRefused, match="already"):
        wish(team, 0, m.Promote(pub(team, 1)))
    team.settle()
    team.assert_agreed()


def test_who_may_not_is_told_who_may(team):
    member, admin = pub(team, 3), pub(team, 1)
    for what, told in (
        (m.Demote(member), "by the word of"),
        (m.Rename(member, FreeText("x")), "was admitted by"),
        (m.Revoke(member), "the node that admitted it may"),
        (m.Promote(member, Role.ADMIN), "only the founder names admins"),
        (m.Demote(admin), "by the word of"),
        (m.Revoke(admin), "only the founder revokes an admin"),
        (m.Revoke(pub(team, 0)), "nobody revokes the founder"),
        (m.Admit(member, Role.MEMBER, FreeText("x")), "belongs already, as member"),
        (m.Promote(key(9).pubkey), "members admit"),
    ):
        with pytest.raises(ProposalRefused, match=told):
            wish(team, 2, what)
    with pytest.raises(ProposalRefused, match="only an admin changes"):
        wish(team, 3, m.Admit(key(9).pubkey, Role.MEMBER, FreeText("x")))
    with pytest.raises(ProposalRefused, match="founder stays an admin"):
        wish(team, 0, m.Demote(pub(team, 0)))


def test_a_name_comes_from_the_admission_that_gives_the_role(team):
    wish(team, 1, m.Rename(pub(team, 3), FreeText("new")))
    assert team.replicas[4].ledger.roster.name(pub(team, 3)) == "new"
    # An admin's word gives another admin no role, and so no name either.
    pen = RecordAuthor(team.keys[2], team.found.id, team.ms + 1000, incarnation=0)
    pen.clock = team.replicas[2].ledger.feeds[FeedId(pen.node, 0)].next_clock
    ready = team.replicas[0].receive(
        pen.node, as_frame(pen.member(pub(team, 1), Role.MEMBER, "mocked")), team.now
    )
    team.carry(0, ready)
    assert team.replicas[0].ledger.roster.name(pub(team, 1)) == "admin"
    wish(team, 0, m.Rename(pub(team, 0), FreeText("chief")))
    assert team.replicas[4].ledger.roster.name(pub(team, 0)) == "chief"


def test_a_node_that_two_admitted_still_belongs_when_one_takes_it_back(team):
    member = pub(team, 3)
    wish(team, 0, m.Rename(member, FreeText("mem-2")))
    receipt = wish(team, 1, m.Revoke(member))
    assert "still belongs" in receipt.warnings[0]
    assert role(team, 3) is Role.MEMBER
    assert not wish(team, 0, m.Revoke(member)).warnings
    assert role(team, 3, seen_by=4) is None


def test_what_a_revocation_keeps_is_chosen(team):
    member = pub(team, 3)
    first, second = team.add(3, "kept"), team.add(3, "taken")
    team.deliver()
    wish(team, 1, m.Revoke(member, ((0, second.clock),)))
    for replica in team.replicas:
        assert "kept" in replica.ledger.board
        assert "taken" not in replica.ledger.board
        assert replica.ledger.entry(first.ref).verdict is EntryStatus.ADMITTED
    wish(team, 0, m.Admit(member, Role.MEMBER, FreeText("back")))
    for replica in team.replicas:
        assert "taken" in replica.ledger.board  # who is admitted again has all back
    wish(team, 0, m.Revoke(member, ()))
    for replica in team.replicas:
        assert "kept" not in replica.ledger.board
    with pytest.raises(ProposalRefused, match="revoked already"):
        wish(team, 0, m.Revoke(member))


@pytest.mark.parametrize("number", [1, 3, 4])
def test_who_is_taken_back_in_has_the_role_and_the_name_it_had(team, number):
    node, had = pub(team, number), role(team, number)
    called = team.replicas[0].ledger.roster.name(node)
    wish(team, 0, m.Revoke(node))
    wish(team, 0, m.Admit(node))
    assert role(team, number) is had
    assert team.replicas[4].ledger.roster.name(node) == called
    wish(team, 0, m.Revoke(node))
    wish(team, 0, m.Admit(node, Role.OBSERVER, FreeText("other")))
    assert role(team, number) is Role.OBSERVER
    assert team.replicas[4].ledger.roster.name(node) == "other"


def test_the_role_it_had_is_the_last_one_whatever_it_was_before(team):
    member = pub(team, 3)
    wish(team, 0, m.Promote(member, Role.ADMIN))
    team.ms += 1000
    wish(team, 0, m.Demote(member))
    team.ms += 1000
    wish(team, 0, m.Revoke(member))
    team.ms += 1000
    wish(team, 0, m.Revoke(member, ()))  # which takes more of each admission
    wish(team, 0, m.Admit(member))
    assert role(team, 3) is Role.MEMBER
    wish(team, 0, m.Promote(member, Role.ADMIN))
    wish(team, 0, m.Revoke(member))
    with pytest.raises(ProposalRefused, match=f"members admit {member.hex()} --role member"):
        wish(team, 1, m.Admit(member))
    wish(team, 0, m.Admit(member))
    assert role(team, 3) is Role.ADMIN


def test_who_comes_back_in_a_lower_role_than_it_wrote_in_is_told_of_with_a_way_out(team):
    member = pub(team, 3)
    team.add(3, "mine")
    team.deliver()
    wish(team, 0, m.Demote(member))
    wish(team, 0, m.Revoke(member))
    assert wish(team, 0, m.Admit(member)).warnings == (), "a revocation that kept all took nothing"
    wish(team, 0, m.Revoke(member, ()))
    (told,) = wish(team, 0, m.Admit(member)).warnings
    assert told == (
        f"{member.short} is back as an observer: what it wrote in a higher role does not count "
        f"(1 record); to let it count, give it that role with: gangline members promote "
        f"{member.short} --role member"
    )
    assert "mine" not in team.replicas[4].ledger.board
    wish(team, 0, m.Promote(member, Role.MEMBER))
    assert "mine" in team.replicas[4].ledger.board
    wish(team, 0, m.Revoke(member, ()))
    assert wish(team, 0, m.Admit(member, Role.MEMBER)).warnings == ()


def test_who_never_belonged_is_admitted_as_a_member_without_a_name(team):
    wish(team, 0, m.Admit(key(9).pubkey))
    roster = team.replicas[4].ledger.roster
    assert (roster.role(key(9).pubkey), roster.name(key(9).pubkey)) == (Role.MEMBER, "")


def test_what_a_revoked_admin_admits_late_counts_nowhere(team):
    """Nor where it is stamped before the revocation, or stands in another feed."""
    admin, before = pub(team, 1), team.ms
    receipt = team.propose(0, RevokeNode(admin))
    team.deliver()
    assert receipt.clock
    feed = team.replicas[0].ledger.feeds[FeedId(admin, 0)]
    head = feed.next_clock
    for incarnation, clock in ((0, head), (77, 0)):
        pen = RecordAuthor(team.keys[1], team.found.id, before - 5000, incarnation, clock)
        ready = team.replicas[2].receive(
            admin, as_frame(pen.member(key(9).pubkey, Role.MEMBER)), team.now
        )
        team.carry(2, ready)
    team.settle()
    team.assert_agreed()
    for replica in team.replicas:
        assert not replica.ledger.roster.on_roster(key(9).pubkey)
        assert replica.ledger.roster.belongs(pub(team, 3))  # whom it admitted in its time


def test_a_node_is_replaced_by_its_next_key_in_role_and_name():
    court = LedgerFixture()
    before = court.ledger.roster
    admit, revoke = m.expand(m.Replace(court.bob.node, court.sam.node), before, court.founder.node)
    assert (admit.node, admit.role, admit.name) == (
        court.sam.node, Role.MEMBER, before.name(court.bob.node),
    )  # fmt: skip
    assert revoke == RevokeNode(court.bob.node)
    with pytest.raises(ProposalRefused, match="who may replace it"):
        m.expand(m.Replace(court.bob.node, court.sam.node), before, court.ada.node)
