import pytest

from crdt.authoring.intents import AddStory, FireEvent, Receipt
from crdt.primitives.identity import RecordId, RecordRef
from machines import pipeline as p
from machines.values import StoryId
from tests.support.builders.cluster import key


def test_receipt_refers_to_the_record():
    where = RecordRef(key(1).pubkey, 2, 3, RecordId(bytes(32)))
    receipt = Receipt(*where)
    assert receipt.ref == where
    assert receipt.warnings == ()


def test_an_intent_is_a_value():
    one, other = (FireEvent(StoryId("s-1"), p.DepsMet()) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    with pytest.raises(AttributeError):
        one.force = True


def test_what_a_caller_leaves_out_stays_as_it_is():
    intent = AddStory(StoryId("s-1"))
    assert {intent.title, intent.description, intent.depends_on, intent.labels} == {None}
