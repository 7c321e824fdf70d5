import pytest

from crdt.records.bodies import Ack
from crdt.views.event_tree import Tree, attaches, extends, order, stage_made_by, transition_of
from machines import pipeline as p
from machines.values import FreeText
from tests.support.tools.steps import steps

WHY = FreeText("why")


def test_before_the_first_event_is_backlog():
    assert stage_made_by(None) == p.Backlog()


def test_only_a_transition_says_what_is_folded(court):
    with pytest.raises(AssertionError):
        transition_of(court.bob.story("s-1"))


def test_event_attaches_only_if_legal_and_later(court):
    start = court.ada.transition("s-1", p.DepsMet(), ms=court.ms)
    assert attaches(court.bob.transition("s-1", p.GatesStarted(), start, ms=court.ms + 1), start)
    assert not attaches(court.bob.transition("s-1", p.GatesStarted(), start, ms=court.ms), start)
    assert not attaches(court.bob.transition("s-1", p.Accepted(), start, ms=court.ms + 1), start)
    assert attaches(start, None)
    assert not attaches(court.bob.transition("s-1", p.Unblock()), None)


def test_event_on_the_end_extends_a_path(court):
    start = court.bob.transition("s-1", p.DepsMet())
    assert extends(start, None)
    assert extends(court.bob.transition("s-1", p.GatesStarted(), start), start)


def test_event_not_on_the_end_is_no_extension(court):
    start = court.ada.transition("s-1", p.DepsMet(), ms=court.ms)
    middle = court.ada.transition("s-1", p.GatesStarted(), start, ms=court.ms + 1)
    for event in (
        court.bob.transition("s-1", p.DepsMet(), ms=court.ms + 2),
        court.bob.transition("s-1", p.Abandon(), start, ms=court.ms + 2),
        court.bob.transition("s-1", p.Accepted(), middle, ms=court.ms + 2),
        court.bob.transition("s-1", p.GatesFailed(WHY), middle, ms=court.ms + 1),
    ):
        assert not extends(event, middle)
    assert not extends(middle, None)
    assert not extends(court.bob.transition("s-1", p.Accepted()), None)


class Growing:
    """A tree that is told of records one by one."""

    def __init__(self, *records):
        self.events, self.acks = {}, {}
        self.tree = Tree(self.events, self.acks)
        for record in records:
            self.add(record)

    def add(self, record):
        if isinstance(record.body, Ack):
            end = record.body.end.record_id
            self.acks.setdefault(end, {})[record.record_id] = record
            self.tree.acknowledge(end, record.feed.author)
        else:
            self.events[record.record_id] = record
            self.tree.add(record)


def test_tree_does_not_depend_on_order(court):
    start = court.ada.transition("s-1", p.DepsMet(), ms=court.ms)
    one = court.bob.transition("s-1", p.GatesStarted(), start, ms=court.ms + 1)
    two = court.cat.transition("s-1", p.Abandon(), start, ms=court.ms + 2)
    below = court.cat.transition("s-1", p.GatesFailed(WHY), one, ms=court.ms + 3)
    illegal = court.bob.transition("s-1", p.Accepted(), one, ms=court.ms + 4)
    stray = court.bob.transition("s-1", p.Abandon(), illegal, ms=court.ms + 5)
    records = [start, one, two, below, illegal, stray, *(
        pen.ack("s-1", end) for pen, end in (
            (court.founder, two), (court.obs, two), (court.founder, below), (court.obs, stray)
        )
    )]  # fmt: skip
    for order_ in (records, records[::-1], records[::2] + records[1::2]):
        grown = Growing(*order_)
        for tree in (grown.tree, Tree(grown.events, grown.acks)):
            weights = {r: tree.weight(r.record_id) for r in (start, one, two, below, stray)}
            assert weights == {start: 5, one: 3, two: 3, below: 2, stray: 0}
            assert tree.best == {None: start, start.record_id: one, one.record_id: below}
            assert tree.authors_of(below.record_id) == tuple(
                sorted((court.cat.node, court.founder.node))
            )
            assert tree.authors_of(stray.record_id) == ()
            assert illegal.record_id not in tree.authors


def test_tree_lists_parents_with_a_new_best_child(court):
    start = court.ada.transition("s-1", p.DepsMet(), ms=court.ms)
    one = court.bob.transition("s-1", p.GatesStarted(), start, ms=court.ms + 5)
    grown = Growing(start, one)
    assert grown.tree.moved == {None, start.record_id}
    grown.tree.moved.clear()
    grown.add(later := court.cat.transition("s-1", p.GatesStarted(), start, ms=court.ms + 6))
    assert grown.tree.moved == set()
    grown.add(court.founder.ack("s-1", later))
    assert grown.tree.moved == {start.record_id}
    grown.tree.moved.clear()
    grown.add(court.bob.ack("s-1", one))
    assert (grown.tree.moved, grown.tree.best[start.record_id]) == (set(), later)


def test_cost_of_an_event_beside_many(court):
    start = court.ada.transition("s-1", p.DepsMet(), ms=court.ms)
    counts = []
    for many in (20, 200):
        rivals = [
            court.bob.transition("s-1", p.GatesStarted(), start, ms=court.ms + 9)
            for _ in range(many)
        ]
        grown = Growing(start, *rivals)
        more = court.bob.transition("s-1", p.Abandon(), start, ms=court.ms + 1)
        counts.append(steps(lambda grown=grown, more=more: grown.add(more)))
        assert order(grown.tree.best[start.record_id]) == order(more)
    assert counts[0] == counts[1]


def test_cost_of_an_event_below_many(court):
    counts = []
    for turns in (5, 50):
        branch = [None]
        for event in [p.DepsMet(), p.Block(WHY), p.Unblock()] * turns:
            branch.append(court.bob.transition("s-1", event, branch[-1]))
        grown = Growing(*branch[1:-1])
        counts.append(steps(lambda grown=grown, more=branch[-1]: grown.add(more)))
        assert grown.tree.weight(branch[-1].record_id) == 1
    assert counts[0] == counts[1]
