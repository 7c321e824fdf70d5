import pytest

from crdt.records.bodies import Transition
from crdt.views.event_tree import order
from crdt.views.fold import (
    WHY_BEFORE,
    WHY_IGNORED,
    WHY_ORDER,
    WHY_WEIGHT,
    Fold,
    Lost,
)
from machines import pipeline as p
from machines.values import BranchName, FreeText, GitSha
from tests.support.tools.steps import steps

BRANCH = BranchName("feature/x")
WHY = FreeText("why")


def folded(*events, acks=()):
    return Fold(by_id(events), by_end(acks))


def chain(pen, *events, parent=None, ms=None):
    """Events of one author, each built on the one before."""
    made = []
    for event in events:
        parent = pen.transition("s-1", event, parent, ms=ms)
        ms = None
        made.append(parent)
    return made


def by_id(records):
    return {record.record_id: record for record in records}


def by_end(acks):
    ends = {ack.body.end.record_id for ack in acks}
    return {end: by_id(ack for ack in acks if ack.body.end.record_id == end) for end in ends}


def lost(fold):
    return [(one.record, one.beaten_by, one.why) for one in fold.lost]


def test_no_event_at_all_is_backlog():
    fold = folded()
    assert (fold.stage, fold.last) == (p.Backlog(), None)
    assert fold.spine == fold.applied == fold.lost == []


def test_a_chain_of_events_is_its_own_spine(court):
    events = chain(court.bob, p.DepsMet(), p.GatesStarted(), p.GatesPassed(BRANCH, 2))
    fold = folded(*reversed(events))
    assert fold.spine == events
    assert fold.stage == p.Merge(BRANCH, 2)
    assert fold.last is events[-1]
    assert fold.applied == fold.lost == []
    assert {fold.tree.weight(event.record_id) for event in events} == {1}


def test_branch_with_more_authors_counts(court):
    [start] = chain(court.ada, p.DepsMet())
    early = chain(court.bob, p.Abandon(), parent=start, ms=court.ms)
    [late] = chain(court.bob, p.GatesStarted(), parent=start, ms=court.ms + 1_000)
    [after] = chain(court.cat, p.GatesFailed(WHY), parent=late, ms=court.ms + 2_000)
    fold = folded(start, *early, late, after)
    assert fold.spine == [start, late, after]
    assert (fold.tree.weight(start.record_id), fold.tree.weight(late.record_id)) == (3, 2)
    assert lost(fold) == [(early[0], late.ref, WHY_WEIGHT)]


def test_many_events_of_one_author_weigh_one(court):
    [start] = chain(court.ada, p.DepsMet())
    one = chain(court.bob, p.GatesStarted(), parent=start, ms=court.ms)
    many = chain(court.cat, p.GatesStarted(), p.GatesFailed(WHY), parent=start, ms=court.ms + 1)
    fold = folded(start, *one, *many)
    assert fold.spine == [start, *one]


def test_ack_weighs_as_much_as_an_event(court):
    [start] = chain(court.ada, p.DepsMet())
    [first] = chain(court.bob, p.GatesStarted(), parent=start, ms=court.ms)
    [second] = chain(court.cat, p.Abandon(), parent=start, ms=court.ms + 1)
    ack = court.founder.ack("s-1", second)
    fold = folded(start, first, second, acks=[ack])
    assert fold.spine == [start, second]
    assert fold.tree.weight(start.record_id) == 4
    assert fold.tree.authors_of(second.record_id) == tuple(
        sorted((court.cat.node, court.founder.node))
    )
    assert fold.tree.authors_of(ack.record_id) == ()
    assert lost(fold) == [(first, second.ref, WHY_WEIGHT)]


def test_ack_of_an_orphan_has_no_weight(court):
    [start] = chain(court.ada, p.DepsMet())
    stray = court.bob.transition("s-1", p.GatesStarted(), court.cat.transition("s-1", p.DepsMet()))
    fold = folded(start, stray, acks=[court.founder.ack("s-1", stray)])
    assert fold.tree.weight(stray.record_id) == 0
    assert fold.tree.weight(start.record_id) == 1


def test_of_two_as_heavy_the_first_in_order_counts(court):
    [start] = chain(court.ada, p.DepsMet())
    [later] = chain(court.bob, p.GatesStarted(), parent=start, ms=court.ms + 1)
    [first] = chain(court.cat, p.Abandon(), parent=start, ms=court.ms)
    fold = folded(start, later, first)
    assert fold.spine == [start, first]
    assert fold.stage == p.Archived(first.stamp.at, p.Abandoned())
    assert lost(fold) == [(later, first.ref, WHY_ORDER)]


def test_equal_stamps_are_ordered_by_key_then_slot(court):
    [start] = chain(court.ada, p.DepsMet())
    mine = [court.bob.transition("s-1", p.GatesStarted(), start, ms=court.ms) for _ in range(2)]
    theirs = court.cat.transition("s-1", p.GatesStarted(), start, ms=court.ms)
    assert folded(start, *mine, theirs).spine[1] is min([*mine, theirs], key=order)
    assert folded(start, *reversed(mine)).spine[1] is mine[0]
    other = court.bob.transition("s-1", p.Abandon(), start, ms=court.ms, clock=0, incarnation=1)
    assert folded(start, other, *mine).spine[1] is mine[0]


def test_off_spine_event_applies_if_later_and_legal(court):
    [start] = chain(court.ada, p.DepsMet())
    heavy = chain(court.bob, p.GatesStarted(), parent=start, ms=court.ms)
    heavy += chain(court.cat, p.GatesFailed(WHY), parent=heavy[0], ms=court.ms + 5)
    [late] = chain(court.founder, p.Block(WHY), parent=start, ms=court.ms + 9)
    [later] = chain(court.founder, p.Unblock(), parent=late, ms=court.ms + 11)
    fold = folded(start, *heavy, late, later)
    assert fold.spine == [start, *heavy]
    assert fold.applied == [late, later]
    assert fold.last is later
    assert fold.stage == p.Backlog()
    assert fold.lost == []


def test_ignored_event_lost_to_the_one_before(court):
    [start] = chain(court.ada, p.DepsMet())
    heavy = chain(court.bob, p.Abandon(), parent=start, ms=court.ms)
    light = chain(court.cat, p.GatesStarted(), p.GatesFailed(WHY), parent=start, ms=court.ms + 5)
    ack = court.founder.ack("s-1", heavy[0])
    fold = folded(start, *heavy, *light, acks=[ack])
    assert lost(fold) == [(event, heavy[0].ref, WHY_WEIGHT) for event in light]


def test_orphan_applies_if_legal(court):
    [gone] = chain(court.bob, p.DepsMet())
    orphan = court.cat.transition("s-1", p.DepsMet(), gone, ms=court.ms)
    fold = folded(orphan)
    assert (fold.spine, fold.applied, fold.stage) == ([], [orphan], p.Coding())
    assert fold.last is orphan


def test_an_orphan_that_cannot_apply_says_why(court):
    [gone] = chain(court.bob, p.DepsMet())
    [start] = chain(court.ada, p.DepsMet(), ms=court.ms)
    before = court.cat.transition("s-1", p.Abandon(), gone, ms=court.ms - 1)
    ignored = court.cat.transition("s-1", p.Accepted(), gone, ms=court.ms + 1)
    fold = folded(start, before, ignored)
    assert lost(fold) == [(before, start.ref, WHY_BEFORE), (ignored, start.ref, WHY_IGNORED)]
    assert lost(folded(ignored)) == [(ignored, None, WHY_IGNORED)]


def test_event_stamped_like_the_end_is_not_later(court):
    [gone] = chain(court.bob, p.DepsMet())
    [start] = chain(court.ada, p.DepsMet(), ms=court.ms)
    same = court.cat.transition("s-1", p.Abandon(), gone, ms=court.ms)
    for fold in (folded(start, same), growing(start, same)):
        assert lost(fold) == [(same, start.ref, WHY_BEFORE)]


def test_event_stamped_one_tick_after_the_end_is_later(court):
    [gone] = chain(court.bob, p.DepsMet())
    [start] = chain(court.ada, p.DepsMet(), ms=court.ms)
    tick = Transition(
        at=start.stamp.at, n=1, story=start.body.story, event=p.Abandon(), parent=gone.ref
    )
    later = court.cat.write(tick)
    for fold in (folded(start, later), growing(start, later)):
        assert (fold.applied, fold.lost) == ([later], [])


@pytest.mark.parametrize("asked", ["spine", "applied", "last", "stage", "lost"])
def test_every_view_includes_all_events(court, asked):
    [gone] = chain(court.bob, p.DepsMet())
    [start] = chain(court.ada, p.DepsMet(), ms=court.ms)
    orphan = court.cat.transition("s-1", p.Block(WHY), gone, ms=court.ms + 1)
    ignored = court.cat.transition("s-1", p.Accepted(), gone, ms=court.ms + 2)
    said = {
        "spine": [start],
        "applied": [orphan],
        "last": orphan,
        "stage": p.Archived(orphan.stamp.at, p.Blocked(WHY)),
        "lost": [Lost(ignored, orphan.ref, WHY_IGNORED)],
    }
    assert getattr(folded(start, orphan, ignored), asked) == said[asked]


def test_children_of_an_orphan_are_in_no_tree(court):
    [start] = chain(court.ada, p.DepsMet(), ms=court.ms)
    illegal = court.bob.transition("s-1", p.Accepted(), start, ms=court.ms + 1)
    child = court.cat.transition("s-1", p.Abandon(), illegal, ms=court.ms + 2)
    fold = folded(start, illegal, child)
    assert fold.spine == [start]
    assert fold.applied == [child]
    assert fold.tree.weight(child.record_id) == 0


def test_story_is_completed_and_reopened(court):
    events = chain(
        court.bob,
        p.DepsMet(),
        p.QaSkipped(BRANCH, 1),
        p.MergeSucceeded(GitSha("abc123")),
        p.Accepted(),
    )
    fold = folded(*events)
    assert fold.stage == p.Archived(events[-1].stamp.at, p.StoryCompleted())


def growing(*events):
    """A fold that was asked before it was told of these, one by one."""
    held = {}
    fold = Fold(held, {})
    for event in events:
        assert fold.last is None or fold.last.record_id in held
        tell(fold, event)
    return fold


def tell(fold, *events):
    for event in events:
        fold._events[event.record_id] = event
        fold.add(event)


def acknowledge(fold, pen, end):
    ack = pen.ack("s-1", end)
    fold.tree._acks.setdefault(end.record_id, {})[ack.record_id] = ack
    fold.acknowledge(end.record_id, pen.node)


def test_fallen_is_ordered_and_limited(court):
    [start] = chain(court.ada, p.DepsMet(), ms=court.ms)
    [first] = chain(court.bob, p.GatesStarted(), parent=start, ms=court.ms + 9)
    [second] = chain(court.cat, p.GatesStarted(), parent=start, ms=court.ms + 5)
    [third] = chain(court.founder, p.GatesStarted(), parent=start, ms=court.ms + 7)
    fold = growing(start, first)
    fold.mark()
    assert fold.fallen(9) == []
    assert fold.lost_at_mark() == set()
    tell(fold, second, third)
    assert [one.record for one in fold.fallen(9)] == [third, first]
    assert [one.record for one in fold.fallen(1)] == [third]
    assert fold.lost_at_mark() == set()
    fold.mark()
    assert fold.fallen(9) == []
    assert fold.lost_at_mark() == {first.record_id, third.record_id}


def test_first_applied_of_two_new_events_decides(court):
    [gone] = chain(court.bob, p.DepsMet())
    [start] = chain(court.ada, p.DepsMet(), ms=court.ms)
    first, other, second = (
        court.cat.transition("s-1", event, gone, ms=court.ms + after)
        for event, after in ((p.GatesStarted(), 1), (p.GatesStarted(), 2), (p.GatesFailed(WHY), 3))
    )
    fold = growing(start, other)
    assert fold.applied == [other]
    fold.mark()
    tell(fold, first, second)
    assert fold.applied == [first, second]
    assert fold.fallen(9) == [Lost(other, first.ref, WHY_IGNORED)]


def test_event_lost_after_a_mark_is_fallen(court):
    [start] = chain(court.ada, p.DepsMet(), ms=court.ms)
    [one] = chain(court.bob, p.GatesStarted(), parent=start, ms=court.ms + 1)
    [two] = chain(court.cat, p.GatesStarted(), parent=start, ms=court.ms + 2)
    fold = growing(start, one, two)
    fold.mark()
    acknowledge(fold, court.founder, two)
    assert fold.spine == [start, two]
    fold.mark()
    assert fold.lost_at_mark() == {one.record_id}
    acknowledge(fold, court.ada, one)
    assert [lost.record for lost in fold.fallen(9)] == [two]


def test_event_lost_again_between_marks_is_not_fallen(court):
    [start] = chain(court.ada, p.DepsMet(), ms=court.ms)
    [one] = chain(court.bob, p.GatesStarted(), parent=start, ms=court.ms + 1)
    [two] = chain(court.cat, p.GatesStarted(), parent=start, ms=court.ms + 2)
    fold = growing(start, one, two)
    fold.mark()
    assert fold.lost_at_mark() == {two.record_id}
    for author, ended, lost_now in (
        (court.founder, two, one),
        (court.ada, one, two),
        (court.obs, one, two),
    ):
        acknowledge(fold, author, ended)
        assert [lost.record for lost in fold.lost] == [lost_now]
        assert fold.lost_at_mark() == {two.record_id}
    assert fold.fallen(9) == []


@pytest.mark.parametrize("most", [0, 32])
def test_few_and_many_spine_moves_are_sorted(court, monkeypatch, most):
    monkeypatch.setattr("crdt.views.fold.MOVES_MAX", most)
    [start] = chain(court.ada, p.DepsMet(), ms=court.ms)
    rivals = [
        court.bob.transition("s-1", p.GatesStarted(), start, ms=court.ms + after)
        for after in (9, 7, 8, 3, 5)
    ]
    branch = chain(court.cat, p.GatesFailed(WHY), parent=rivals[2], ms=court.ms + 20)
    fold = growing(start, *rivals, *branch)
    assert fold.spine == [start, rivals[2], *branch]
    assert [one.record for one in fold.lost] == [rivals[n] for n in (3, 4, 1, 0)]
    assert fold.lost is fold.lost, "worked out once"
    assert fold.applied == []


def cycle(pen, turns, parent=None):
    """A long branch of one author, which ends where it began."""
    return chain(pen, *[p.DepsMet(), p.Block(WHY), p.Unblock()] * turns, parent=parent)


def cost_of(fold, event):
    def come():
        tell(fold, event)
        assert fold.last is not None

    return steps(come)


def test_cost_of_an_event_on_a_long_spine(court):
    counts = []
    for turns in (5, 50):
        *spine, more = cycle(court.bob, turns)
        fold = growing(*spine)
        counts.append(cost_of(fold, more))
        assert fold.spine == [*spine, more]
    assert counts[0] == counts[1]


def test_cost_of_an_event_with_many_off_the_spine(court):
    [start] = chain(court.ada, p.DepsMet(), ms=court.ms)
    counts = []
    for many in (20, 200):
        first, *rivals, more = (
            court.bob.transition("s-1", p.GatesStarted(), start, ms=court.ms + 1)
            for _ in range(many)
        )
        fold = growing(start, first, *rivals)
        counts.append(cost_of(fold, more))
        assert (fold.spine, len(fold.lost)) == ([start, first], many - 1)
    assert counts[0] == counts[1]


def test_cost_of_explaining_a_lost_branch(court):
    [winner] = chain(court.ada, p.DepsMet(), ms=court.ms + 1_000)
    ack = court.founder.ack("s-1", winner)
    counts = []
    for turns in (5, 10, 15):
        branch = cycle(court.bob, turns)
        fold = folded(winner, *branch, acks=[ack])
        assert fold.last is winner
        counts.append(steps(lambda fold=fold: fold.lost))
        assert lost(fold) == [(event, winner.ref, WHY_WEIGHT) for event in branch]
    assert counts[2] - counts[1] == counts[1] - counts[0]
