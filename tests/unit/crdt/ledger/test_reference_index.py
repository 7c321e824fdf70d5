import pytest

from crdt.ledger.reference_index import ReferenceIndex, referenced_by
from crdt.primitives.identity import FeedId
from machines import pipeline as p
from machines.values import FreeText
from tests.support.builders.ledger_fixture import LedgerFixture


@pytest.fixture
def told():
    """A story's first event, two that build on it and an ack of it, known in this order."""
    court = LedgerFixture()
    first = court.bob.transition("s-1", p.DepsMet())
    children = [
        court.bob.transition("s-1", p.GatesStarted(), first),
        court.cat.transition("s-1", p.GatesStarted(), first),
        court.cat.ack("s-1", first),
    ]
    names = ReferenceIndex()
    for record in (first, *children):
        names.add(record)
    return court, names, first, children


def test_an_event_names_its_parent_and_an_ack_its_end(told):
    court, _, first, children = told
    assert [referenced_by(record) for record in children] == [first.ref] * 3
    assert referenced_by(first) is None
    assert referenced_by(court.bob.ack("s-1", first)) is None, "of his own event it moves nothing"
    assert referenced_by(court.bob.story("s-1")) is None


def test_referrers_by_record_feed_and_author(told):
    court, names, first, children = told
    assert list(names.of(first)) == children
    assert list(names.of_authors({court.bob.node})) == children
    assert list(names.of_feed(first.feed)) == children
    assert list(names.of_feed(first.feed, first.clock + 1, 9)) == []
    assert list(names.of_feed(first.feed, 0, first.clock)) == []
    assert list(names.of_feed(first.feed, first.clock, first.clock + 1)) == children
    assert list(names.of_feed(FeedId(court.bob.node, 7))) == []
    assert list(names.of(children[0])) == []
    assert list(names.of_authors({court.cat.node})) == []


def test_discarded_record_has_no_reference(told):
    court, names, first, children = told
    names.discard(children[1])
    assert list(names.of(first)) == [children[0], children[2]]
    names.discard(first)
    for record in children:
        names.discard(record)
        names.discard(record)
    assert list(names.of(first)) == []
    assert list(names.of_authors({court.bob.node})) == []


def test_discard_keeps_other_referrers(told):
    court, names, first, children = told
    grandchild = court.cat.transition("s-1", p.GatesFailed(FreeText("why")), children[0])
    names.add(grandchild)
    names.discard(grandchild)
    assert list(names.of(first)) == children
