from crdt.ledger.pending import FutureStamped, PendingRecords
from crdt.primitives import limits
from crdt.primitives.errors import Reason
from machines.values import Instant

WAIT, UNKNOWN = Reason.MISSING_PARENT, Reason.UNKNOWN_AUTHOR


def filled(*records, reason=WAIT):
    pending = PendingRecords()
    for record in records:
        assert pending.add(record, reason)
    return pending


def test_what_waits_is_found_by_id_author_and_slot(court):
    one, two, other = court.bob.story("a"), court.bob.story("b"), court.cat.story("c")
    pending = filled(one, two, other)
    assert len(pending) == 3
    assert one.record_id in pending
    assert pending.of_author(court.bob.node) == [one, two]
    assert pending.of_author(court.ada.node) == []
    assert pending.at(two.feed, 1) == [two]
    assert pending.at(two.feed, 2) == []
    assert [row.record for row in pending.rows()] == [one, two, other]


def test_twins_wait_in_one_slot(court):
    one, two = court.bob.story("a", clock=0), court.bob.story("b", clock=0)
    pending = filled(one, two)
    assert pending.at(one.feed, 0) == [one, two]
    pending.discard(one)
    assert pending.at(one.feed, 0) == [two]


def test_who_waits_no_longer_is_found_nowhere(court):
    record = court.bob.story("a")
    pending = filled(record)
    pending.discard(record)
    pending.discard(record)
    assert len(pending) == 0
    assert record.record_id not in pending
    assert pending.of_author(court.bob.node) == pending.at(record.feed, 0) == []


def test_one_author_fills_his_own_share_and_no_more(court, monkeypatch):
    monkeypatch.setattr(limits, "PENDING_PER_AUTHOR_MAX", 2)
    pending = filled(court.bob.story("a"), court.bob.story("b"))
    assert not pending.add(court.bob.story("c"), WAIT)
    assert pending.add(court.cat.story("d"), WAIT)
    assert len(pending) == 3


def test_all_together_fill_the_whole_and_no_more(court, monkeypatch):
    monkeypatch.setattr(limits, "PENDING_MAX", 3)
    monkeypatch.setattr(limits, "STRANGERS_MAX", 1)
    pending = filled(court.bob.story("a"), court.cat.story("b"))
    assert not pending.add(court.ada.story("c"), WAIT)
    assert pending.add(court.sam.story("d"), UNKNOWN)  # the last place is a stranger's
    assert not pending.add(court.sam.story("e"), UNKNOWN)
    assert len(pending) == 3


def test_no_bound_applies_to_the_own_key(court, monkeypatch):
    for bound in ("PENDING_MAX", "STRANGERS_MAX"):
        monkeypatch.setattr(limits, bound, 0)
    pending = PendingRecords(court.bob.node)
    assert pending.add(court.bob.story("a"), WAIT)
    assert pending.add(court.bob.story("b"), UNKNOWN)
    assert not pending.add(court.cat.story("c"), WAIT)


def test_keys_on_no_roster_share_a_room_of_their_own(court, monkeypatch):
    monkeypatch.setattr(limits, "STRANGERS_MAX", 2)
    monkeypatch.setattr(limits, "STRANGERS_PER_AUTHOR_MAX", 1)
    pending = filled(court.bob.story("a"), court.cat.story("b"), reason=UNKNOWN)
    assert not pending.add(court.bob.story("c"), UNKNOWN)
    assert not pending.add(court.ada.story("d"), UNKNOWN)
    assert pending.add(court.bob.story("e"), WAIT)


def test_a_new_reason_replaces_the_old_one_though_all_is_full(court, monkeypatch):
    record = court.bob.story("a")
    pending = filled(record)
    monkeypatch.setattr(limits, "PENDING_MAX", limits.STRANGERS_MAX)
    assert pending.add(record, Reason.STAMP_AHEAD)
    assert [row.reason for row in pending.rows()] == [Reason.STAMP_AHEAD]


def test_a_record_goes_to_the_other_room_with_its_reason(court, monkeypatch):
    monkeypatch.setattr(limits, "STRANGERS_MAX", 1)
    monkeypatch.setattr(limits, "PENDING_MAX", 2)
    one, two = court.bob.story("a"), court.cat.story("b")
    pending = filled(one, reason=UNKNOWN)
    assert pending.add(one, WAIT)
    assert pending.add(two, UNKNOWN)
    assert not pending.add(two, WAIT)  # there is no room for it where it belongs now
    assert two.record_id not in pending
    pending.discard(one)
    assert pending.add(two, WAIT)


def test_what_waits_for_its_stamp_ripens_in_order_and_once(court):
    late = court.bob.story("late", ms=court.ms + 9_000)
    soon = court.bob.story("soon", ms=court.ms + 4_000)
    gone = court.cat.story("gone", ms=court.ms + 1_000)
    pending = filled(late, soon, gone, reason=Reason.STAMP_AHEAD)
    pending.add(soon, Reason.STAMP_AHEAD)
    pending.discard(gone)
    due = court.ms - limits.STAMP_AHEAD_MS_MAX
    assert pending.due(due + 3_999) == []
    assert pending.due(due + 4_000) == [soon]
    assert pending.due(due + 60_000) == [late]
    assert pending.due(due + 60_000) == []


def test_what_of_an_author_waits_for_its_stamp_is_told_from_what_waits_for_more(court):
    parked, other = court.bob.story("a"), court.cat.story("b")
    pending = filled(parked, other, reason=Reason.STAMP_AHEAD)
    pending.add(court.bob.story("c"), WAIT)
    assert pending.ahead_of(court.bob.node) == [parked]
    assert pending.ahead_of(court.ada.node) == []


def test_one_that_must_wait_again_ripens_again(court):
    record = court.bob.story("a", ms=court.ms)
    pending = filled(record, reason=Reason.STAMP_AHEAD)
    assert pending.due(court.ms) == [record]
    pending.add(record, WAIT)
    pending.add(record, Reason.STAMP_AHEAD)
    assert pending.due(court.ms) == [record]


def test_what_is_large_fills_its_share_by_its_bytes(court, monkeypatch):
    one, two = (court.bob.story(name, title="x" * 100) for name in "ab")
    monkeypatch.setattr(limits, "WAITING_BYTES_PER_AUTHOR_MAX", len(one.value))
    pending = filled(one)
    assert pending.add(one, Reason.STAMP_AHEAD)  # counted once
    assert not pending.add(two, WAIT)
    pending.discard(one)
    assert pending.add(two, WAIT)


def test_what_must_not_count_yet_comes_in_order_of_its_stamp(court):
    early, late = court.bob.story("a", ms=court.ms), court.bob.story("b", ms=court.ms + 5)
    ahead = FutureStamped()
    assert not ahead
    ahead.add(late)
    ahead.add(early)
    assert ahead
    assert list(ahead.due(Instant.from_ms(court.ms - 1))) == []
    assert list(ahead.due(early.stamp.at)) == [early]
    assert list(ahead.due(late.stamp.at)) == [late]
    assert not ahead
