"""What the gate does with records that break the rules: made by members with real keys."""

import pytest

from crdt.authoring.intents import AddStory, AdmitNode, ClaimStory, FireExecution, RevokeNode
from crdt.contract.ready import ForkProven, Now
from crdt.ledger.feed import EntryStatus
from crdt.primitives import limits
from crdt.primitives.errors import NotWritable, Reason
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role
from crdt.wire.messages import Records, Update, encode_frame
from crdt.wire.yjs_update import FeedSlice, encode_update
from machines import execution as x
from machines import pipeline as p
from machines.values import AgentName, BranchName, FreeText, StoryId
from tests.support.builders.cluster import Cluster
from tests.support.builders.record_author import RecordAuthor, as_frame

BRANCH = BranchName("feature/x")
WHY = FreeText("why")


@pytest.fixture
def quad():
    """Nodes 0 (founder), 1 and 2 are honest daemons; node 3 is a member that lies."""
    cluster = Cluster(4)
    cluster.admit_all()
    for one, other in ((0, 1), (0, 2), (1, 2)):
        cluster.link(one, other)
    cluster.deliver()
    cluster.add(0, "s-1")
    cluster.fire(0, "s-1", p.DepsMet())
    cluster.deliver()
    cluster.settle(3)
    return cluster


@pytest.fixture
def liar(quad):
    return RecordAuthor(quad.keys[3], quad.found.id, quad.ms)


def coding(cluster):
    """The event that brought s-1 to coding."""
    return cluster.replicas[0].ledger.board.state("s-1").fold.last


def show(cluster, *records, to=(0,)):
    """The liar shows its records to some nodes, who take it for a peer."""
    for number in to:
        ready = cluster.replicas[number].receive(
            cluster.keys[3].pubkey, as_frame(*records), cluster.now
        )
        cluster.carry(number, ready)
    cluster.deliver()


def reasons(cluster, number=0):
    return [row.reason for row in cluster.quarantined[number]]


def honest_agree(cluster):
    cluster.settle()
    cluster.assert_agreed(nodes=(0, 1, 2))


def test_an_illegal_transition_never_enters_the_document_and_holds_nothing_up(quad, liar):
    illegal = liar.transition("s-1", p.Accepted(), coding(quad))
    legal = liar.transition("s-1", p.GatesStarted(), coding(quad))
    show(quad, illegal, legal)
    assert reasons(quad) == [Reason.ILLEGAL_TRANSITION]
    assert not quad.faults
    honest_agree(quad)
    for replica in quad.replicas[:3]:
        assert replica.ledger.board.state("s-1").stage == p.Qa()
        assert replica.ledger.entry(illegal.ref) is None
    assert reasons(quad, 1) == reasons(quad, 2) == []  # it was never handed on


def test_a_child_of_a_rejected_event_is_rejected_in_either_order(quad, liar):
    illegal = liar.transition("s-1", p.Accepted(), coding(quad))
    child = liar.transition("s-1", p.DepsMet(), illegal)
    show(quad, illegal, child, to=(0,))
    show(quad, child, illegal, to=(1,))
    assert (
        reasons(quad)
        == reasons(quad, 1)
        == [
            Reason.ILLEGAL_TRANSITION,
            Reason.REJECTED_PARENT,
        ]
    )
    honest_agree(quad)


def test_a_transition_stamped_before_its_parent_is_rejected(quad, liar):
    back = liar.transition("s-1", p.GatesStarted(), coding(quad), ms=coding(quad).stamp.at.ms)
    show(quad, back)
    assert reasons(quad) == [Reason.STAMP_BACKWARDS]


def test_a_parent_of_another_story_or_kind_is_illegal(quad, liar):
    quad.add(0, "s-2")
    story = next(iter(quad.replicas[0].ledger.board.state("s-2").fields.values()))
    show(quad, liar.transition("s-2", p.GatesStarted(), coding(quad)))
    show(quad, liar.transition("s-2", p.GatesStarted(), story))
    assert reasons(quad) == [Reason.ILLEGAL_TRANSITION] * 2


def test_an_event_whose_parent_is_not_here_waits_for_it(quad, liar):
    parent = liar.transition("s-1", p.GatesStarted(), coding(quad))
    child = liar.transition("s-1", p.GatesPassed(BRANCH, 1), parent)
    show(quad, child)
    assert [w.reason for w in quad.replicas[0].ledger.pending.rows()] == [Reason.MISSING_PARENT]
    assert quad.replicas[0].ledger.board.state("s-1").stage == p.Coding()
    show(quad, parent)
    assert len(quad.replicas[0].ledger.pending) == 0
    assert quad.replicas[0].ledger.board.state("s-1").stage == p.Merge(BRANCH, 1)
    honest_agree(quad)


def test_a_stamp_ahead_waits_and_is_admitted_unchanged(quad, liar):
    ahead = quad.ms + limits.STAMP_AHEAD_MS_MAX + 10_000
    show(quad, liar.story("s-9", ms=ahead))
    assert [w.reason for w in quad.replicas[0].ledger.pending.rows()] == [Reason.STAMP_AHEAD]
    quad.settle(15)
    assert "s-9" in quad.replicas[0].ledger.board
    honest_agree(quad)


def test_an_execution_that_does_not_follow_from_itself_is_rejected(quad, liar):
    coder = AgentName("coder")
    show(quad, liar.execution("s-1", x.Idle(), x.Heartbeat(), x.Idle()))
    show(quad, liar.execution("s-1", x.Idle(), x.SpawnRequested(coder), x.Idle()))
    assert reasons(quad) == [Reason.ILLEGAL_EXECUTION] * 2


def test_a_record_forged_in_anothers_name_costs_nobody_but_its_bringer(quad, liar):
    victim = quad.keys[1].pubkey
    head = (
        quad.replicas[0].ledger.feeds[FeedId(victim, 0)].next_clock
        if (FeedId(victim, 0) in quad.replicas[0].ledger.feeds)
        else 0
    )
    true = liar.story("s-8")
    data = encode_frame(Records(victim, 0, ((head, true.value),)))
    ready = quad.replicas[0].receive(quad.keys[3].pubkey, data, quad.now)
    quad.carry(0, ready)
    assert ready.fault.reason is Reason.BAD_SIGNATURE
    assert quad.quarantined[0][-1].peer == quad.keys[3].pubkey
    # The victim's slot stays open for its own record.
    quad.propose(1, AddStory(StoryId("s-7")))
    quad.deliver()
    assert "s-7" in quad.replicas[0].ledger.board
    honest_agree(quad)


def test_a_forged_record_does_not_cost_the_true_ones_beside_it(quad, liar):
    one, two = liar.story("a"), liar.story("b")
    forged = one.value[:64] + two.value[64:]
    data = encode_frame(Records(liar.node, 0, ((0, one.value), (1, two.value), (2, forged))))
    ready = quad.replicas[0].receive(quad.keys[3].pubkey, data, quad.now)
    assert ready.fault.reason is Reason.BAD_SIGNATURE
    assert len(ready.persist.rows) == 2


def test_a_fork_is_proven_and_cut_at_one_clock_whatever_each_saw(quad, liar):
    before = liar.transition("s-1", p.GatesStarted(), coding(quad))
    one, two = liar.story("left", clock=1), liar.story("right", clock=1)
    after = liar.story("later", clock=2)
    show(quad, before, one, after, to=(0,))
    show(quad, before, two, to=(1,))
    honest_agree(quad)
    for number in range(3):
        feed = quad.replicas[number].ledger.feeds[FeedId(liar.node, 0)]
        assert feed.fork == 1
        board = quad.replicas[number].ledger.board
        assert "left" not in board
        assert "later" not in board
        assert board.state("s-1").stage == p.Qa()  # what stands before the cut stands
        assert quad.replicas[number].ledger.evidence[feed.id]
        assert any(isinstance(o, ForkProven) for o in quad.observed[number])


def test_nobody_undoes_what_others_built_by_forking_himself(quad, liar):
    began = liar.transition("s-1", p.GatesStarted(), coding(quad))
    show(quad, began, to=(0, 1, 2))
    passed = quad.fire(1, "s-1", p.GatesPassed(BRANCH, 1))
    quad.deliver()
    twin = liar.story("twin", clock=0)
    show(quad, twin, to=(2,))
    honest_agree(quad)
    for replica in quad.replicas[:3]:
        assert replica.ledger.feeds[FeedId(liar.node, 0)].fork == 0
        assert replica.ledger.entry(began.ref).verdict is EntryStatus.BUILT_UPON
        assert replica.ledger.board.state("s-1").fold.last.record_id == passed.record_id


def test_a_relay_that_withholds_a_record_is_found_out(quad, liar):
    one, two = liar.story("a"), liar.story("b")
    show(quad, one, two, to=(1,))
    client = FeedId(liar.node, 0).client_id(quad.found.id)
    root = FeedId(liar.node, 0).root
    lie = encode_update([FeedSlice(client, root, 0, 2, [(1, two.value)], [(0, 1)])])
    quad.wire.clear()
    quad.carry(
        2, quad.replicas[2].receive(quad.keys[3].pubkey, encode_frame(Update(lie)), quad.now)
    )
    honest_agree(quad)
    assert "a" in quad.replicas[2].ledger.board


def test_a_gap_with_no_record_after_it_is_not_believed(quad, liar):
    show(quad, liar.story("a"))
    feed = quad.replicas[0].ledger.feeds[FeedId(liar.node, 0)]
    gap = encode_update([FeedSlice(feed.client_id, None, 1, 50, [], [(1, 49)])])
    quad.carry(
        0, quad.replicas[0].receive(quad.keys[3].pubkey, encode_frame(Update(gap)), quad.now)
    )
    assert quad.replicas[0].document.end(feed.id) == 1
    show(quad, liar.story("b"))
    assert quad.replicas[0].document.end(feed.id) == 2


def test_an_observer_writes_nothing():
    cluster = Cluster(3)
    cluster.admit_all(Role.OBSERVER)
    cluster.link_all()
    cluster.deliver()
    with pytest.raises(NotWritable):
        cluster.add(1, "s-1")
    pen = RecordAuthor(cluster.keys[2], cluster.found.id, cluster.ms)
    record = pen.story("s-1")
    cluster.hand(2, 0, as_frame(record))
    assert reasons(cluster) == [Reason.NOT_ALLOWED]


def test_only_admins_admit_and_nobody_admits_himself(quad, liar):
    stranger = Cluster(6).keys[5].pubkey
    show(quad, liar.member(stranger, Role.MEMBER))
    show(quad, liar.member(liar.node, Role.ADMIN))
    show(quad, liar.revocation(quad.keys[0].pubkey, []))
    assert reasons(quad) == [Reason.NOT_ALLOWED] * 3


def test_a_strangers_records_wait_until_somebody_admits_him(quad):
    stranger = RecordAuthor(Cluster(6).keys[5], quad.found.id, quad.ms)
    record = stranger.story("s-5")
    show(quad, record)
    assert [w.reason for w in quad.replicas[0].ledger.pending.rows()] == [Reason.UNKNOWN_AUTHOR]
    founder = RecordAuthor(quad.keys[0], quad.found.id, quad.ms, clock=99)
    show(quad, founder.member(stranger.node, Role.MEMBER))
    assert "s-5" in quad.replicas[0].ledger.board


def test_pending_is_bounded_for_each_author(quad, liar, monkeypatch):
    monkeypatch.setattr(limits, "PENDING_PER_AUTHOR_MAX", 3)
    nowhere = liar.transition("s-1", p.GatesStarted(), coding(quad), clock=7)
    for number in range(6):
        show(quad, liar.transition("s-1", p.GatesFailed(WHY), nowhere, clock=10 + number))
    assert len(quad.replicas[0].ledger.pending) == 3


def test_a_revocation_keeps_what_was_written_before_it_and_voids_the_rest(quad, liar):
    early = liar.story("early")
    show(quad, early, to=(0, 1))
    quad.propose(0, RevokeNode(liar.node))
    quad.deliver()
    late = liar.story("late")
    show(quad, late, to=(1,))
    honest_agree(quad)
    for replica in quad.replicas[:3]:
        assert "early" in replica.ledger.board
        assert "late" not in replica.ledger.board
        assert not replica.ledger.roster.belongs(liar.node)
    held = quad.replicas[1].ledger.entry(late.ref)
    assert held.verdict is EntryStatus.VOID_REVOKED


def test_a_kind_nobody_knows_is_carried_and_superseded_by_its_key(quad, liar):
    fields = {"at": str(liar.at()), "kind": "weather", "n": 0, "key": "k", "wind": 1}
    first = liar.raw(fields)
    second = liar.raw({**fields, "at": str(liar.at()), "wind": 2})
    show(quad, first)
    show(quad, second)
    honest_agree(quad)
    assert quad.replicas[2].ledger.entry(first.ref) is None
    assert quad.replicas[2].ledger.entry(second.ref) is not None


def test_overwrites_leave_one_row_and_one_run_of_deletions(quad):
    coder = AgentName("coder")
    quad.propose(1, FireExecution(StoryId("s-1"), x.SpawnRequested(coder)))
    quad.propose(1, FireExecution(StoryId("s-1"), x.SpawnedSuccessfully()))
    for _ in range(200):
        quad.propose(1, FireExecution(StoryId("s-1"), x.Heartbeat()))
        quad.propose(1, ClaimStory(StoryId("s-1"), 60))
    quad.deliver()
    honest_agree(quad)
    feed = quad.replicas[2].ledger.feeds[FeedId(quad.keys[1].pubkey, 0)]
    assert len(feed.live()) == 3  # execution, claim, seal
    assert len(list(feed.gaps())) <= 3
    assert len(quad.replicas[2].document.doc.get_update()) < 10_000
    assert feed.as_sealed() is True


def test_a_rolled_back_node_goes_on_in_a_new_incarnation(quad):
    quad.add(1, "before")
    quad.deliver()
    quad.settle(3)
    old = dict(quad.stores[1])
    quad.add(1, "after")
    quad.deliver()
    quad.stores[1] = old
    quad.restart(1, doubt="the store was restored")
    quad.link(0, 1)
    quad.add(1, "again")
    quad.settle()
    quad.assert_agreed(nodes=(0, 1, 2))
    for story in ("before", "after", "again"):
        assert story in quad.replicas[1].ledger.board
    assert quad.replicas[1].incarnation != 0
    assert not quad.replicas[0].ledger.proofs


def test_garbage_is_one_fault_with_a_reason(quad):
    for data in (b"", b"\x02", b"\x00\x05", b"\x00\x02\x01\xff", b"\x63" * 10, b"\x68" * 80):
        ready = quad.replicas[0].receive(
            quad.keys[3].pubkey, data, Now(quad.now.wall, quad.now.mono)
        )
        assert ready.fault.reason in (Reason.MALFORMED_FRAME, Reason.MALFORMED_UPDATE)
        assert ready.quarantine[-1].value == data
        assert not ready.persist


def test_a_peer_that_knows_more_of_ones_own_feed_makes_one_go_on_in_another(quad):
    quad.add(1, "before")
    quad.deliver()
    old, rendered = dict(quad.stores[1]), dict(quad.rendered[1])
    quad.add(1, "after")
    quad.deliver()
    quad.stores[1], quad.rendered[1] = old, rendered
    quad.restart(1)
    quad.link(0, 1)
    quad.deliver()
    assert "after" in quad.replicas[1].ledger.board
    receipt = quad.add(1, "again")
    assert receipt.incarnation != 0
    quad.settle()
    quad.assert_agreed(nodes=(0, 1, 2))
    assert not quad.replicas[0].ledger.proofs


def test_a_record_stamped_ahead_counts_nowhere_before_its_time_whatever_else_happens(quad, liar):
    """Void while its author is revoked, it must not slip in when he is taken back."""
    late = liar.story("s-9", ms=quad.ms + 400_000)
    quad.propose(0, RevokeNode(liar.node, keep=()))
    show(quad, late)
    assert quad.replicas[0].ledger.entry(late.ref).verdict is EntryStatus.VOID_REVOKED
    quad.propose(0, AdmitNode(liar.node, Role.MEMBER, FreeText("again")))
    assert quad.replicas[0].ledger.entry(late.ref).verdict is EntryStatus.AHEAD
    quad.restart(0)
    assert quad.replicas[0].ledger.entry(late.ref).verdict is EntryStatus.AHEAD
    assert "s-9" not in quad.replicas[0].ledger.board
    quad.tick(200)
    assert "s-9" in quad.replicas[0].ledger.board


def test_a_clock_set_back_takes_back_what_it_let_in_too_early(quad, liar):
    quad.ms += 3_600_000  # this host alone thinks it is an hour later
    ready = quad.replicas[0].receive(
        liar.node, as_frame(early := liar.story("s-9", ms=quad.ms)), quad.now
    )
    quad.carry(0, ready)
    assert quad.replicas[0].ledger.entry(early.ref).verdict is EntryStatus.ADMITTED
    quad.ms -= 3_600_000
    quad.tick()
    assert quad.replicas[0].ledger.entry(early.ref).verdict is EntryStatus.AHEAD
    assert early.ref in quad.stores[0]
    honest_agree(quad)
    assert "s-9" not in quad.replicas[1].ledger.board


def test_a_hole_that_a_lost_message_left_hides_nothing_from_a_reader(quad):
    """The slot of a superseded record is unknown where only its superseder came."""
    quad.unlink(0, 1)
    for _ in range(2):
        quad.propose(1, ClaimStory(StoryId("s-1"), 60))
    quad.wire.clear()  # all that node 1 said is lost
    quad.link(0, 1)
    quad.wire.clear()  # and so is the sync
    quad.settle()
    quad.assert_agreed(nodes=(0, 1, 2))
    feed = FeedId(quad.keys[1].pubkey, 0)
    for number in (0, 2):
        held = quad.replicas[number].ledger.feeds[feed]
        assert quad.replicas[number].document.end(feed) == held.next_clock


def test_a_claim_is_renewed_by_a_clock_that_went_back_in_a_new_feed(quad):
    quad.propose(1, ClaimStory(StoryId("s-1"), 600))
    quad.deliver()
    rows = dict(quad.stores[1])
    quad.restart(1, doubt="restored")
    quad.stores[1] = rows
    quad.ms -= 100_000
    quad.propose(1, ClaimStory(StoryId("s-1"), 600))
    mine = quad.replicas[1].ledger.board.holder("s-1", quad.now.wall)
    assert mine.node == quad.keys[1].pubkey


def test_what_was_superseded_while_it_waited_on_disk_stays_gone(quad, liar):
    """The later record ripens first; the earlier one must not come back beside it."""
    start = quad.ms
    quad.ms += 3_600_000
    liar.ms = start + 450_000
    first = liar.release("s-1")
    liar.ms = start + 400_000
    second = liar.release("s-1")
    quad.ms = start
    quad.propose(0, RevokeNode(liar.node, keep=()))
    show(quad, first, second)
    quad.propose(0, AdmitNode(liar.node, Role.MEMBER, FreeText("again")))
    verdicts = [quad.replicas[0].ledger.entry(r.ref).verdict for r in (first, second)]
    assert verdicts == [EntryStatus.AHEAD, EntryStatus.AHEAD]
    quad.tick(300)
    live = quad.replicas[0].ledger.feeds[FeedId(liar.node, 0)].live()
    assert [record.clock for record in live] == [1]
    assert first.ref not in quad.stores[0]
    honest_agree(quad)
