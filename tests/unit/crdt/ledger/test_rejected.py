from crdt.ledger.rejected import RejectedRecords
from crdt.primitives import limits
from crdt.primitives.errors import Reason
from crdt.primitives.identity import RecordRef

WHY = Reason.NOT_ALLOWED


def filled(*records):
    turned = RejectedRecords()
    for record in records:
        assert turned.add(record, WHY) == []
    return turned


def test_rejected_record_is_found_with_its_reason(court):
    record = court.bob.story("a")
    turned = filled(record)
    assert turned.find(record.ref) == (record, WHY)
    assert record.record_id in turned
    assert list(turned.at(record.feed, 0)) == [record]
    assert [one.record for one in turned] == [record]
    assert len(turned) == 1


def test_reference_to_another_feed_finds_nothing(court):
    record = court.bob.story("a")
    turned = filled(record)
    elsewhere = RecordRef(court.cat.node, 0, 0, record.record_id)
    assert turned.find(elsewhere) is None
    assert turned.find(court.bob.story("b").ref) is None


def test_two_rejected_records_in_one_slot(court):
    one, two = court.bob.story("a", clock=0), court.bob.story("b", clock=0)
    turned = filled(one, two)
    assert list(turned.at(one.feed, 0)) == [one, two]
    turned.add(other := court.bob.story("c", clock=4), WHY)
    assert list(turned.clocks(one.feed)) == [0, 4]
    turned.discard(one.record_id)
    turned.discard(one.record_id)
    assert list(turned.at(one.feed, 0)) == [two]
    turned.discard(other.record_id)
    assert list(turned.clocks(one.feed)) == [0]
    turned.discard(two.record_id)
    assert list(turned.at(one.feed, 0)) == []
    assert len(turned) == 0


def test_oldest_rejected_record_is_dropped_first(court, monkeypatch):
    monkeypatch.setattr(limits, "REJECTED_MAX", 2)
    one, two, three = (court.bob.story(name) for name in "abc")
    turned = filled(one, two)
    assert turned.add(three, WHY) == [one]
    assert [row.record for row in turned] == [two, three]
    assert list(turned.at(one.feed, one.clock)) == []


def test_what_is_large_is_bounded_by_its_bytes(court, monkeypatch):
    one, two, three = (court.bob.story(name, title="x" * 100) for name in "abc")
    monkeypatch.setattr(limits, "REJECTED_BYTES_MAX", len(one.value) + len(two.value))
    turned = filled(one, two)
    assert turned.add(two, Reason.STAMP_BACKWARDS) == []  # said anew, and counted once
    assert turned.add(three, WHY) == [one]
    turned.discard(two.record_id)
    assert turned.add(one, WHY) == []


def test_rejected_records_of_an_author_are_bounded(court, monkeypatch):
    monkeypatch.setattr(limits, "REJECTED_PER_AUTHOR_MAX", 2)
    other, one, two, three = court.cat.story("o"), *(court.bob.story(name) for name in "abc")
    turned = filled(other, one, two)
    assert turned.add(three, WHY) == [one]
    assert [row.record for row in turned] == [other, two, three]
    turned.discard(two.record_id)
    turned.discard(three.record_id)
    assert turned.add(one, WHY) == []
