from crdt.contract.ready import ForkProven, RecordRejected, RosterMoved, Row
from crdt.ledger import ledger as ledger_module
from crdt.ledger.ledger import Ledger
from crdt.primitives import limits
from crdt.primitives.errors import Reason
from crdt.primitives.identity import FeedId
from crdt.records.bodies import Role
from crdt.records.fork_proof import proof_of, proof_side
from crdt.records.signatures import verify_batch
from machines import pipeline as p
from machines.values import BranchName, FreeText
from tests.support.builders.cluster import Found, key
from tests.support.builders.ledger_fixture import (
    ADMITTED,
    AHEAD,
    BUILT_UPON,
    REJECTED,
    VOID_FORK,
    VOID_REVOKED,
    WAITING,
    LedgerFixture,
)
from tests.support.builders.record_author import RecordAuthor

BRANCH = BranchName("feature/x")
WHY = FreeText("why")
BEYOND = limits.STAMP_AHEAD_MS_MAX + limits.STAMP_LEEWAY_MS + 1


def revoke(court, pen, keep=()):
    return court.founder.revocation(pen.node, [court.admissions[pen.node]], keep)


def twins(pen, clock=0):
    return [pen.story(title, clock=clock) for title in ("left", "right")]


def unreadable(pen, clock=0):
    return pen.sign_bytes(b'{"kind":"story"}', clock=clock)


def rows(changes):
    """What must be stored, and what must be gone."""
    return {tuple(key)[3]: row is not None for key, row in changes.rows.items()}


# What is taken


def test_an_admitted_record_is_stored_shown_and_found(court):
    record = court.bob.story("s-1")
    changes = court.take(record)
    assert changes.rows == {record.ref: Row(*record.ref, record.value)}
    assert court.verdict(record) is ADMITTED
    assert court.ledger.find(record.ref) is record
    assert court.ledger.find(court.cat.story("s-1").ref) is None
    assert "s-1" in court.board
    assert changes.live == [record]


def test_what_comes_from_the_own_store_is_not_written_again(court):
    record = court.bob.story("s-1")
    assert not court.take(record, stored=True).rows
    assert court.verdict(record) is ADMITTED


def test_what_waits_in_the_own_store_is_not_written_again_when_its_parent_comes(court):
    parent = court.bob.transition("s-1", p.DepsMet())
    child = court.cat.transition("s-1", p.GatesStarted(), parent, ms=court.ms)
    assert not court.take(child, stored=True).rows
    assert court.verdict(child) is WAITING
    later = court.bob.transition("s-1", p.GatesPassed(BRANCH, 1), child, ms=court.ms + 1)
    court.take(later)
    assert court.verdict(later) == "pending"  # as it would where the child never came
    assert rows(court.take(parent)) == {parent.record_id: True, later.record_id: True}
    assert court.verdict(child) is court.verdict(later) is ADMITTED


def test_what_waits_in_the_own_store_keeps_its_row_if_it_comes_to_break_the_rules(court):
    parent = court.bob.transition("s-1", p.Accepted())
    child = court.cat.transition("s-1", p.GatesStarted(), parent, ms=court.ms)
    court.take(child, stored=True)
    assert court.verdict(child) is WAITING
    changes = court.take(parent)
    assert not changes.rows
    assert court.verdict(child) is REJECTED
    assert [turned.reason for turned in changes.quarantined] == [
        Reason.ILLEGAL_TRANSITION, Reason.REJECTED_PARENT,
    ]  # fmt: skip
    assert court.ledger.broken == {child.record_id: child}
    grandchild = court.bob.transition("s-1", p.Abandon(), child, ms=court.ms + 1)
    court.take(grandchild)
    assert court.verdict(grandchild) == "rejected"


def test_what_waited_in_the_own_store_is_held_as_void_whatever_the_bound(court, monkeypatch):
    monkeypatch.setattr(limits, "VOID_MAX", 0)
    parent = court.bob.transition("s-1", p.DepsMet())
    child = court.cat.transition("s-1", p.GatesStarted(), parent, ms=court.ms)
    court.take(child, stored=True)
    changes = court.take(revoke(court, court.cat))
    assert court.verdict(child) is VOID_REVOKED
    assert child.record_id not in rows(changes)


def test_of_a_store_that_was_torn_goes_what_is_superseded_alone(court):
    illegal = court.bob.transition("s-1", p.Accepted())
    first, second = court.cat.release("s-2"), court.cat.release("s-2")
    changes = court.take(illegal, second, first, stored=True)
    assert rows(changes) == {first.record_id: False}
    assert court.verdict(illegal) is REJECTED
    assert not changes.quarantined  # it was told of when it came to be so
    assert court.live(court.cat) == [second]


# What is turned away


def test_a_rejected_record_leaves_an_empty_slot_and_goes_to_quarantine(court):
    illegal = court.bob.transition("s-1", p.Accepted())
    changes = court.take(illegal, peer=court.cat.node)
    [row] = changes.quarantined
    assert (row.peer, row.feed, row.clock, row.reason, row.value) == (
        court.cat.node, illegal.feed, 0, Reason.ILLEGAL_TRANSITION, illegal.value,
    )  # fmt: skip
    assert [type(one) for one in changes.observed] == [RecordRejected]
    assert not changes.rows
    assert court.verdict(illegal) == "rejected"
    assert list(court.feed(court.bob).gaps()) == [(0, 1)]
    court.take(illegal)
    assert not court.take(illegal).quarantined


def test_a_body_that_is_no_body_is_rejected_in_its_authors_name(court):
    broken = unreadable(court.bob)
    changes = court.take(broken)
    assert [row.reason for row in changes.quarantined] == [Reason.MALFORMED_RECORD]
    assert court.verdict(broken) == "rejected"
    assert not court.take(broken).quarantined


def test_what_a_stranger_sends_makes_no_feed(court):
    court.take(unreadable(court.sam))
    assert FeedId(court.sam.node, 0) not in court.ledger.feeds


def test_the_rejected_that_were_forgotten_are_not_found_by_their_children(court, monkeypatch):
    monkeypatch.setattr(limits, "REJECTED_MAX", 1)
    first, second = (court.bob.transition(f"s-{n}", p.Accepted()) for n in range(2))
    court.take(unreadable(court.cat), first, second)
    assert court.verdict(first) is None
    child = court.cat.transition("s-0", p.Abandon(), first, ms=court.ms)
    court.take(child)
    assert court.verdict(child) == "pending"


# What waits


def test_an_event_waits_for_its_parent_and_a_chain_of_them_unwinds(court):
    first = court.bob.transition("s-1", p.DepsMet())
    second = court.bob.transition("s-1", p.GatesStarted(), first)
    third = court.bob.transition("s-1", p.GatesPassed(BRANCH, 1), second)
    assert not court.take(third, second).rows
    assert [court.verdict(record) for record in (third, second)] == ["pending"] * 2
    court.take(first)
    assert court.board.state("s-1").stage == p.Merge(BRANCH, 1)
    assert len(court.ledger.pending) == 0


def test_a_strangers_records_wait_until_somebody_admits_him(court):
    record = court.sam.story("s-1")
    court.take(record)
    assert court.verdict(record) == "pending"
    changes = court.take(court.ada.member(court.sam.node, Role.MEMBER))
    assert court.verdict(record) is ADMITTED
    [moved] = [one for one in changes.observed if isinstance(one, RosterMoved)]
    assert [(one.node, one.before_role, one.role) for one in moved.changes] == [
        (court.sam.node, "", "member")
    ]
    assert rows(changes)[record.record_id]


def test_what_does_not_fit_is_not_taken_and_may_come_again(court, monkeypatch):
    monkeypatch.setattr(limits, "PENDING_PER_AUTHOR_MAX", 0)
    parent = court.bob.transition("s-1", p.DepsMet())
    child = court.cat.transition("s-1", p.GatesStarted(), parent, ms=court.ms)
    court.take(child)
    assert court.verdict(child) is None
    court.take(parent, child)
    assert court.verdict(child) is ADMITTED


def test_what_is_on_disk_and_ahead_is_held_and_counts_nowhere_before_its_time(court):
    record = court.bob.story("s-1", ms=court.ms + BEYOND)
    court.take(record, stored=True)
    assert court.verdict(record) is AHEAD
    assert court.ledger.ahead
    assert "s-1" not in court.board
    court.ms += 1
    court.ledger.release_due(court.now)
    assert court.verdict(record) is ADMITTED
    assert not court.ledger.ahead


def test_a_held_record_whose_parent_is_not_here_waits_on_disk(court):
    """A stranger's event that was built on, and that nobody brought; then he is admitted."""
    stranger = court.sam.transition("s-1", p.DepsMet())
    child = court.cat.transition("s-1", p.GatesStarted(), stranger, ms=court.ms)
    changes = court.take(child)
    assert court.verdict(child) is ADMITTED  # whoever built on a stranger could not know
    assert rows(changes) == {child.record_id: True}
    changes = court.take(court.ada.member(court.sam.node, Role.MEMBER))
    assert court.verdict(child) is WAITING
    assert child.record_id not in rows(changes)
    court.take(stranger)
    assert court.verdict(child) is ADMITTED
    assert court.board.state("s-1").stage == p.Qa()


def test_a_held_record_whose_parent_turns_out_illegal_counts_no_longer(court):
    stranger = court.sam.transition("s-1", p.Accepted())
    child = court.cat.transition("s-1", p.Abandon(), stranger, ms=court.ms)
    court.take(child, stranger)
    assert court.verdict(child) is ADMITTED
    admission = court.ada.member(court.sam.node, Role.MEMBER)
    changes = court.take(admission)
    assert court.verdict(stranger) == "rejected"
    assert court.verdict(child) is REJECTED
    assert child.record_id not in rows(changes)
    assert court.live(court.cat) == []
    court.take(court.ada.revocation(court.sam.node, [admission]))
    assert court.verdict(child) is ADMITTED
    assert court.ledger.broken == {}


# Keys


def test_a_keyed_record_supersedes_every_earlier_one_of_its_key(court):
    first, second = court.bob.release("s-1"), court.bob.release("s-1")
    other = court.bob.release("s-2")
    court.take(first, other)
    changes = court.take(second)
    assert rows(changes) == {first.record_id: False, second.record_id: True}
    assert court.live(court.bob) == sorted((other, second), key=lambda record: record.clock)


def test_whichever_of_them_came_first(court):
    first, second = court.bob.release("s-1"), court.bob.release("s-1")
    court.take(second)
    changes = court.take(first)
    assert not changes.rows
    assert court.verdict(first) is None
    assert court.live(court.bob) == [second]
    assert list(court.feed(court.bob).gaps()) == [(0, 1)]


def test_a_superseded_twin_of_what_stands_in_the_slot_leaves_it_alone(court):
    kept = court.bob.story("s-1", clock=0)
    old = court.bob.release("s-1", clock=0)
    court.bob.clock = 1
    court.take(court.bob.release("s-1"))
    court.take(kept)
    court.take(old)
    assert court.verdict(old) is VOID_FORK
    assert court.verdict(kept) is VOID_FORK


def test_where_the_latest_of_a_key_is_void_the_one_before_it_counts_again(court):
    """A revocation that keeps an incarnation's clocks kills keys, so two feeds are looked at."""
    first = court.bob.release("s-1")
    later = court.bob.release("s-1")
    court.take(revoke(court, court.bob, [(0, 1)]))
    court.take(later)
    assert court.verdict(later) is VOID_REVOKED
    court.take(first)
    assert court.verdict(first) is ADMITTED
    court.take(court.founder.member(court.bob.node, Role.MEMBER))
    assert court.verdict(later) is ADMITTED
    assert court.verdict(first) is None


def test_a_keyed_record_that_becomes_void_no_longer_stands_for_its_key(court):
    held = court.bob.release("s-1", clock=4)
    court.take(held)
    court.take(revoke(court, court.bob))
    assert court.feed(court.bob).keys == {}
    court.take(court.founder.member(court.bob.node, Role.MEMBER))
    assert court.feed(court.bob).keys == {("claim", "s-1"): 4}


def test_one_that_ripens_after_what_supersedes_it_is_gone(court):
    ahead = court.ms + limits.STAMP_AHEAD_MS_MAX
    court.bob.ms = ahead + 9_000
    first = court.bob.release("s-1")
    court.bob.ms = ahead + 4_000
    second = court.bob.release("s-1")
    court.take(first, second, stored=True)
    assert [court.verdict(record) for record in (first, second)] == [AHEAD, AHEAD]
    for _ in range(2):
        court.ms += 5_001
        changes = court.ledger.release_due(court.now)
    assert court.verdict(first) is None
    assert court.live(court.bob) == [second]
    assert rows(changes) == {first.record_id: False}


def test_twins_with_a_key_stand_for_it_until_both_are_void(court):
    one, two = (court.bob.release("s-1", clock=3) for _ in range(2))
    court.take(one)
    court.take(two)
    assert court.feed(court.bob).fork == 3
    assert court.feed(court.bob).keys == {}
    assert [court.verdict(record) for record in (one, two)] == [VOID_FORK] * 2


# Forks


def test_two_records_in_one_slot_cut_the_feed_whichever_came_first(court):
    one, two = twins(court.bob, clock=1)
    before, after = court.bob.story("before", clock=0), court.bob.story("after", clock=2)
    court.take(before, one, after)
    changes = court.take(two)
    assert [court.verdict(record) for record in (before, one, two, after)] == [
        ADMITTED, VOID_FORK, VOID_FORK, VOID_FORK,
    ]  # fmt: skip
    assert court.ledger.fork_of(one.feed) == court.feed(court.bob).fork == 1
    assert ForkProven(court.bob.node, 0, 1) in changes.observed
    proof = proof_of(one.feed, 1, proof_side(one.value), proof_side(two.value))
    assert changes.proofs == [proof]
    assert changes.redraw


def test_a_fork_is_found_against_what_waits_and_what_was_turned_away(court):
    parent = court.cat.transition("s-1", p.DepsMet())
    waiting = court.bob.transition("s-1", p.GatesStarted(), parent, clock=0)
    court.take(waiting)
    court.take(court.bob.story("twin", clock=0))
    assert court.ledger.fork_of(waiting.feed) == 0
    illegal = court.ada.transition("s-1", p.Accepted(), clock=5)
    court.take(illegal)
    court.take(court.ada.story("twin", clock=5))
    assert court.ledger.fork_of(illegal.feed) == 5
    court.take(unreadable(court.cat, 7), court.cat.story("twin", clock=7))
    assert court.ledger.fork_of(FeedId(court.cat.node, 0)) == 7


def test_only_the_lowest_fork_counts(court):
    court.take(*twins(court.bob, clock=4))
    court.take(*twins(court.bob, clock=6))
    assert court.ledger.fork_of(FeedId(court.bob.node, 0)) == 4
    court.take(*twins(court.bob, clock=2))
    assert court.ledger.fork_of(FeedId(court.bob.node, 0)) == 2


def test_a_strangers_fork_counts_once_he_is_on_the_roster(court):
    one, two = twins(court.sam)
    court.take(one, two)
    assert court.ledger.fork_of(one.feed) is None
    assert one.feed in court.ledger.proofs
    court.take(court.ada.member(court.sam.node, Role.MEMBER))
    assert court.ledger.fork_of(one.feed) == 0
    assert court.verdict(one) is VOID_FORK


def test_evidence_proves_a_fork_to_whoever_has_neither_record(court):
    one, two = twins(court.bob)
    court.take(evidence := court.cat.evidence(one, two))
    assert court.ledger.fork_of(one.feed) == 0
    assert court.ledger.evidence == {one.feed: [evidence]}


def test_evidence_counts_from_a_stranger_too_and_proves_nothing_where_it_is_none(court):
    court.take(court.sam.evidence(*twins(court.bob)))
    assert court.ledger.fork_of(FeedId(court.bob.node, 0)) == 0
    one, _ = twins(court.cat)
    court.take(court.ada.evidence(one, court.bob.story("other", clock=0)))
    assert court.ledger.fork_of(one.feed) is None


def test_evidence_that_no_longer_counts_is_not_shown(court):
    one, two = twins(court.bob)
    court.take(court.cat.evidence(one, two))
    court.take(revoke(court, court.cat))
    assert court.ledger.evidence == {one.feed: []}
    assert court.ledger.fork_of(one.feed) == 0  # none is ever forgotten


def accuse(court, claimed):
    """Bring a claimed proof; says whether it was taken."""
    before = dict(court.ledger.proofs)
    court.ledger.accuse(claimed)
    return court.ledger.proofs != before


def test_a_proof_is_taken_where_it_is_one_and_lower_than_what_is_known(court):
    def claimed(clock, pen=court.bob):
        one, two = twins(pen, clock)
        return proof_of(one.feed, clock, proof_side(one.value), proof_side(two.value))

    false = claimed(3)._replace(clock=2)
    assert not accuse(court, false)
    assert accuse(court, claimed(3))
    assert not accuse(court, claimed(3))
    assert not accuse(court, claimed(4))
    assert accuse(court, claimed(1))


def test_proofs_against_strangers_are_bounded_and_keep_out_none_against_a_member(
    court, monkeypatch
):
    def claimed(clock, pen):
        one, two = twins(pen, clock)
        return proof_of(one.feed, clock, proof_side(one.value), proof_side(two.value))

    monkeypatch.setattr(limits, "PENDING_MAX", 1)
    other = RecordAuthor(key(9), court.cluster, court.ms)
    assert accuse(court, claimed(3, court.sam))
    assert not accuse(court, claimed(3, other))
    assert accuse(court, claimed(2, court.sam))
    assert accuse(court, claimed(3, court.bob))
    assert court.ledger.fork_of(FeedId(court.bob.node, 0)) == 3


def test_made_up_keys_that_fork_in_one_message_are_bounded_too(court, monkeypatch):
    monkeypatch.setattr(limits, "PENDING_MAX", 3)
    for number in range(20, 30):
        court.take(*twins(RecordAuthor(key(number), court.cluster, court.ms)))
    assert len(court.ledger.proofs) == 3


def bounded(*, openings):
    """A court that takes so many new feeds, or forks, of its members."""
    left = iter(range(openings))
    found = Found()
    ledger = Ledger(
        found.id, found.founder.pubkey, verify_batch, lambda _: next(left, None) is not None
    )
    return LedgerFixture(ledger)


def test_a_feed_that_does_not_fit_has_no_verdict_and_comes_back():
    court = bounded(openings=3)
    records = [court.bob.story("a", incarnation=n, clock=0) for n in range(5)]
    court.take(*records)
    assert [court.verdict(record) for record in records] == [ADMITTED] * 2 + [None] * 3
    assert len(court.ledger.feeds) == 3  # the founder's too
    more = court.bob.story("b", incarnation=1, clock=1)
    court.take(more)
    assert court.verdict(more) is ADMITTED  # of a feed that is open
    court.ledger._openings = lambda _: True
    court.take(*records)
    assert [court.verdict(record) for record in records] == [ADMITTED] * 5


def test_what_is_rejected_or_waits_opens_a_feed_once():
    court = bounded(openings=3)
    gone = court.cat.transition("s-1", p.DepsMet())
    waits = court.bob.transition(
        "s-1", p.GatesStarted(), gone, ms=court.cat.ms + 1, incarnation=7, clock=0
    )
    illegal = court.bob.transition("s-1", p.Accepted(), incarnation=8, clock=0)
    court.take(waits, illegal)
    court.take(waits, illegal)
    assert (court.verdict(waits), court.verdict(illegal)) == ("pending", "rejected")
    court.take(court.bob.story("a", incarnation=9, clock=0))
    assert FeedId(court.bob.node, 9) not in court.ledger.feeds


def test_a_fork_that_does_not_fit_is_proven_later():
    court = bounded(openings=2)
    one, two = twins(court.bob)
    court.take(one)
    court.take(two)
    assert (court.verdict(one), court.verdict(two)) == (ADMITTED, None)
    assert court.ledger.proofs == {}
    proof = proof_of(one.feed, one.clock, proof_side(one.value), proof_side(two.value))
    court.ledger.accuse(proof)
    assert court.ledger.proofs == {}
    court.ledger._openings = lambda _: True
    court.take(two)
    assert court.ledger.fork_of(one.feed) == one.clock
    assert court.verdict(one) is VOID_FORK


def test_what_an_honest_node_writes_down_waits_for_no_liars_share():
    """Who writes evidence pays for it; a stranger's is paid for by the accused."""
    court = bounded(openings=99)
    asked = []
    court.ledger._openings = lambda author: asked.append(author) or author != court.bob.node
    lies = [
        twins(RecordAuthor(key(3), court.cluster, court.ms, incarnation=n), 0) for n in range(3)
    ]
    evidence = court.founder.evidence(*lies[0])
    court.take(evidence)
    assert court.verdict(evidence) is ADMITTED
    assert court.ledger.fork_of(lies[0][0].feed) == 0
    strangers = court.sam.evidence(*lies[1])
    court.take(strangers)
    assert court.verdict(strangers) is None
    assert asked == [court.founder.node, court.bob.node]
    court.take(court.cat.evidence(*lies[0]))  # known: it costs nothing but cat's feed
    assert asked == [court.founder.node, court.bob.node, court.cat.node]


def test_what_stands_in_the_own_store_always_fits():
    court = bounded(openings=1)
    one, two = twins(court.bob)
    court.take(one, two, stored=True)
    assert court.ledger.fork_of(one.feed) == one.clock


def test_a_fork_judges_again_what_rests_on_its_own_feed_and_no_other(court, monkeypatch):
    """Else one who opens many feeds and forks in each costs the square of their number."""
    records = [court.bob.story("a", incarnation=n, clock=c) for n in range(50) for c in range(3)]
    court.take(*records)
    asked = []
    original = ledger_module.judge
    monkeypatch.setattr(
        ledger_module,
        "judge",
        lambda record, *rest: asked.append(record) or original(record, *rest),
    )
    court.take(court.bob.story("x", incarnation=7, clock=2))
    assert {record.feed.incarnation for record in asked} == {7}
    asked.clear()
    # And a lower one no more than what lies between the two.
    lower = court.bob.story("x", incarnation=7, clock=1)
    court.take(lower)
    assert {record.clock for record in asked} == {1}
    assert court.ledger.fork_of(lower.feed) == 1


def test_what_waits_for_a_record_of_a_feed_that_nobody_has_is_judged_when_it_is_cut(court):
    gone = court.bob.transition("s-1", p.DepsMet(), clock=5)
    waits = court.cat.transition("s-1", p.GatesStarted(), gone, ms=court.bob.ms + 1)
    court.take(waits)
    assert court.verdict(waits) == "pending"
    one, two = twins(court.bob, 3)
    court.ledger.accuse(proof_of(one.feed, 3, proof_side(one.value), proof_side(two.value)))
    court.take()
    assert court.verdict(waits) is ADMITTED


def test_a_stored_proof_counts_again_and_the_lowest_of_them(court):
    one, two = twins(court.bob, clock=4)
    for clock, cut in ((4, 4), (2, 2), (3, 2)):
        one, two = twins(court.bob, clock=clock)
        row = proof_of(one.feed, clock, proof_side(one.value), proof_side(two.value))
        assert court.ledger.restore_proof(row)
        assert court.ledger.fork_of(one.feed) == cut
    assert not court.ledger.take_changes().proofs


def test_a_stored_proof_that_proves_nothing_cuts_no_feed(court):
    one, two = twins(court.bob, clock=4)
    row = proof_of(one.feed, 4, proof_side(one.value), proof_side(two.value))
    flipped = (bytes([row.sides[0][0][0] ^ 1]) + row.sides[0][0][1:], row.sides[0][1])
    for spoilt in (row._replace(clock=0), row._replace(sides=(flipped, row.sides[1]))):
        assert not court.ledger.restore_proof(spoilt)
        assert court.ledger.fork_of(one.feed) is None


def test_a_transition_that_others_built_upon_stays_when_its_author_forks(court):
    began = court.bob.transition("s-1", p.DepsMet())
    alone = court.bob.transition("s-2", p.DepsMet())
    court.take(began, alone)
    court.take(court.cat.transition("s-1", p.GatesStarted(), began, ms=court.ms))
    court.take(court.bob.story("twin", clock=0))
    assert court.verdict(began) is BUILT_UPON
    assert court.verdict(alone) is VOID_FORK
    assert court.board.state("s-1").stage == p.Qa()


def test_only_a_transition_can_be_built_upon_and_only_by_what_is_held(court):
    story = court.bob.story("s-1")
    event = court.bob.transition("s-1", p.DepsMet())
    court.take(court.cat.ack("s-1", story), court.sam.ack("s-1", event))
    court.take(story, event, court.bob.story("twin", clock=0))
    assert court.verdict(story) is court.verdict(event) is VOID_FORK


def test_who_builds_on_what_is_not_here_keeps_it_for_when_it_comes(court):
    began = court.bob.transition("s-1", p.DepsMet(), clock=4)
    court.take(court.ada.evidence(*twins(court.bob, clock=2)))
    court.take(court.cat.ack("s-1", began))
    court.take(began)
    assert court.verdict(began) is BUILT_UPON


def test_who_no_longer_builds_on_it_leaves_it_void(court):
    began = court.bob.transition("s-1", p.DepsMet())
    court.take(began, court.cat.ack("s-1", began), court.bob.story("twin", clock=0))
    assert court.verdict(began) is BUILT_UPON
    court.take(revoke(court, court.cat))
    assert court.verdict(began) is VOID_FORK
    court.take(court.founder.member(court.cat.node, Role.MEMBER))
    assert court.verdict(began) is BUILT_UPON


# The roster


def test_a_revocation_voids_what_it_takes_and_an_admission_gives_it_back(court):
    kept, taken = court.bob.story("kept"), court.bob.story("taken")
    court.take(kept, taken)
    court.take(revoke(court, court.bob, [(0, 1)]))
    assert (court.verdict(kept), court.verdict(taken)) == (ADMITTED, VOID_REVOKED)
    assert "taken" not in court.board
    court.take(court.founder.member(court.bob.node, Role.MEMBER))
    assert court.verdict(taken) is ADMITTED
    assert "taken" in court.board


def test_what_was_turned_away_is_judged_again_when_the_roster_moves(court):
    admission = court.bob.member(court.sam.node, Role.MEMBER)
    story = court.obs.story("s-1")
    court.take(admission, story, unreadable(court.obs, 9))
    assert court.verdict(admission) == court.verdict(story) == "rejected"
    court.take(
        court.founder.member(court.bob.node, Role.ADMIN),
        court.founder.member(court.obs.node, Role.MEMBER),
    )
    assert court.verdict(admission) is court.verdict(story) is ADMITTED
    assert court.ledger.roster.role(court.sam.node) is Role.MEMBER


def test_what_is_rejected_in_a_slot_that_is_known_as_empty_leaves_it_so(court):
    court.take(court.bob.story("s-1", clock=5))
    court.ledger.believe_gap(court.feed(court.bob).id, 0, 5)
    court.take(court.bob.transition("s-1", p.Accepted(), clock=2))
    assert list(court.feed(court.bob).gaps()) == [(0, 5)]


def test_what_is_rejected_again_for_the_same_reason_is_told_once(court):
    illegal = court.bob.transition("s-1", p.Accepted())
    court.take(illegal)
    changes = court.take(court.founder.member(court.bob.node, Role.MEMBER, "anew"))
    assert any(isinstance(one, RosterMoved) for one in changes.observed)
    assert not any(isinstance(one, RecordRejected) for one in changes.observed)
    assert changes.quarantined == []
    assert court.verdict(illegal) == "rejected"


def test_a_statement_that_moves_nobody_is_only_a_record(court):
    changes = court.take(court.ada.revocation(court.sam.node, []))
    assert not any(isinstance(one, RosterMoved) for one in changes.observed)


def test_what_is_void_is_bounded_for_each_author_and_in_all(court, monkeypatch):
    court.take(revoke(court, court.bob), revoke(court, court.cat))
    monkeypatch.setattr(limits, "VOID_PER_AUTHOR_MAX", 1)
    first, second, other = court.bob.story("a"), court.bob.story("b"), court.cat.story("c")
    court.take(first, second, other)
    assert [court.verdict(record) for record in (first, second, other)] == [
        VOID_REVOKED, None, VOID_REVOKED,
    ]  # fmt: skip
    monkeypatch.setattr(limits, "VOID_PER_AUTHOR_MAX", 9)
    monkeypatch.setattr(limits, "VOID_MAX", 2)
    court.take(second)
    assert court.verdict(second) is None
    court.take(second, stored=True)
    assert court.verdict(second) is VOID_REVOKED


def test_what_was_taken_stays_on_disk_whatever_becomes_of_the_roster(court):
    mine = court.bob.story("s-1")
    let_in = court.ada.member(court.sam.node, Role.MEMBER)
    theirs = court.sam.story("s-2")
    said = court.ada.revocation(court.cat.node, [])
    court.take(mine, let_in, theirs, said)
    admission = court.admissions[court.bob.node]
    steps = [
        court.founder.member(court.cat.node, Role.ADMIN),  # ada's word on cat counts no longer
        court.founder.revocation(court.ada.node, [court.admissions[court.ada.node]]),
        court.founder.revocation(court.bob.node, [admission]),
        court.founder.member(court.bob.node, Role.OBSERVER),
    ]
    for step in steps:
        assert rows(court.take(step)) == {step.record_id: True}
    for record in (mine, let_in, theirs, said):
        assert court.verdict(record) is VOID_REVOKED
    assert court.board.state("s-1") is None
    back = [court.founder.member(pen.node, Role.ADMIN) for pen in (court.ada, court.bob)]
    court.take(*back)
    assert [court.verdict(record) for record in (mine, let_in, theirs)] == [ADMITTED] * 3
    assert court.verdict(said) is VOID_REVOKED  # cat is an admin still


def test_all_of_a_built_upon_chain_is_taken_however_long(court, monkeypatch):
    monkeypatch.setattr(limits, "VOID_PER_AUTHOR_MAX", 1)
    fork = court.bob.story("x", clock=0), court.bob.story("y", clock=0)
    court.take(*fork)
    court.bob.clock = 1
    steps = [p.DepsMet(), p.GatesStarted(), p.GatesFailed(WHY), p.GatesStarted()]
    chain = [None]
    for event in steps:
        chain.append(court.bob.transition("s-1", event, chain[-1], ms=court.ms + len(chain)))
    chain.append(court.cat.transition("s-1", p.Abandon(), chain[-1], ms=court.ms + 9))
    changes = court.take(*chain[1:])
    assert [court.verdict(record) for record in chain[1:]] == [BUILT_UPON] * 4 + [ADMITTED]
    assert {chain[n].record_id for n in range(1, 6)} == {i for i, on in rows(changes).items() if on}


def test_an_own_record_that_waits_for_its_stamp_is_let_go_of(court):
    late = court.ms + BEYOND
    held, waits = court.bob.story("s-1", ms=late), court.bob.story("s-2", ms=late)
    now = court.cat.story("s-3")
    court.take(held, stored=True)
    court.take(waits, now)
    changes = [court.ledger.retire(record) for record in (held, waits, now)]
    assert [one.rows for one in changes] == [{held.ref: None}, {}, {}]
    assert [(t.record_id, t.reason) for one in changes for t in one.quarantined] == [
        (held.record_id, Reason.STAMP_AHEAD), (waits.record_id, Reason.STAMP_AHEAD),
    ]  # fmt: skip
    court.ms += 2000
    court.ledger.release_due(court.now)
    assert [court.verdict(one) for one in (held, waits, now)] == [None, None, ADMITTED]


def test_what_turned_void_fills_no_room_of_what_is_void_when_it_comes(court, monkeypatch):
    monkeypatch.setattr(limits, "VOID_PER_AUTHOR_MAX", 1)
    many = [court.bob.story(f"s-{number}") for number in range(3)]
    court.take(*many)
    court.take(revoke(court, court.bob))
    late = court.bob.story("late")
    court.take(late)
    assert [court.verdict(record) for record in (*many, late)] == [VOID_REVOKED] * 4


def test_what_a_clock_that_is_none_finds_on_disk_counts(court):
    story = court.bob.story("s-1")
    court.take(story)
    court.ms -= 10 * limits.STAMP_AHEAD_MS_MAX
    court.ledger.release_due(court.now)
    assert court.ledger.horizon.is_clockless
    assert court.verdict(story) is ADMITTED
    new = court.bob.story("s-2")
    court.take(new, court.founder.revocation(court.bob.node, []))
    assert court.verdict(new) == "pending"
    again = Ledger(court.cluster, court.founder.node, verify_batch)
    held = [entry.record for feed in court.ledger.feeds.values() for entry in feed.entries()]
    again.merge(held, court.now, stored=True)
    assert again.entry(story.ref).verdict is ADMITTED


def test_a_statement_counts_no_longer_while_the_clock_is_back_before_it(court):
    court.ms += 60_000
    court.founder.ms = court.ms - 1
    late = court.founder.revocation(court.bob.node, [court.admissions[court.bob.node]])
    court.take(late)
    assert not court.ledger.roster.belongs(court.bob.node)
    court.ms -= BEYOND
    court.ledger.release_due(court.now)
    assert court.verdict(late) is AHEAD
    assert court.ledger.roster.belongs(court.bob.node)
    court.ms += BEYOND
    court.ledger.release_due(court.now)
    assert court.verdict(late) is ADMITTED
    assert not court.ledger.roster.belongs(court.bob.node)


# Gaps


def test_a_gap_is_believed_as_far_as_a_record_follows_it(court):
    court.take(court.bob.story("a", clock=3))
    feed = court.feed(court.bob)
    court.ledger.believe_gap(feed.id, 0, 9)
    assert list(feed.gaps()) == [(0, 3)]
    court.ledger.believe_gap(feed.id, 5, 9)
    assert list(feed.gaps()) == [(0, 3)]
    court.ledger.believe_gap(FeedId(court.sam.node, 0), 0, 9)
    assert FeedId(court.sam.node, 0) not in court.ledger.feeds


def test_a_peer_that_holds_the_same_makes_the_holes_empty(court):
    court.take(court.bob.story("a", clock=3), court.cat.story("b", clock=0))
    court.ledger.believe_holes()
    assert court.feed(court.bob).known_end() == 4
    assert list(court.feed(court.cat).gaps()) == []


def test_a_slot_that_something_waits_for_is_shown_as_empty_and_not_known_to_be(court):
    """Its author would be told that it is on disk here; and another, with no room for what waits,
    shows what stands behind it."""
    parent = court.cat.transition("s-1", p.DepsMet())
    waits = court.bob.transition("s-1", p.GatesStarted(), parent, ms=court.ms)
    court.take(waits, court.bob.story("s-2", clock=3), court.sam.story("s-3"))
    court.ledger.believe_holes()
    assert list(court.feed(court.bob).gaps()) == [(1, 3)]
    feed = court.feed(court.bob)
    assert feed.known_end() == 0
    assert feed.shown_end(0) == 4
    court.take(parent)
    assert feed.known_end() == 4


# What a document must know


def test_what_becomes_and_ceases_to_be_live_is_named(court):
    first, second = court.bob.release("s-1"), court.bob.release("s-1")
    changes = court.take(first)
    assert (changes.live, changes.ceased) == ([first], [])
    assert [feed.id for feed in changes.opened] == [first.feed]
    changes = court.take(second)
    assert (changes.live, changes.ceased) == ([second], [first])
    assert (changes.opened, changes.feeds) == ([], {first.feed})


def test_a_slot_that_is_unknown_again_is_named(court, monkeypatch):
    monkeypatch.setattr(limits, "VOID_PER_AUTHOR_MAX", 1)
    court.take(revoke(court, court.bob))
    late = [court.bob.story(f"s-{number}") for number in range(2)]
    changes = court.take(*late)
    [(feed, clock)] = changes.forgotten
    assert (feed, court.verdict(late[clock])) == (late[0].feed, None)


def test_gaps_that_a_message_names_are_kept(court):
    court.take(court.bob.story("s-1", clock=5))
    feed = court.feed(court.bob)
    court.ledger.merge((), court.now, gaps=[(feed.id, 0, 2)])
    assert list(feed.gaps()) == [(0, 2)]
