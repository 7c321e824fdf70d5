import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.ledger.live_records import LiveRecords
from crdt.records.digests import feed_digest, seal_digest
from tests.support.builders.ledger_fixture import LedgerFixture
from tests.support.tools.steps import steps

COURT = LedgerFixture()
SEAL_AT = 3
RECORDS = [
    COURT.bob.seal(0, bytes(32), clock=clock)
    if clock == SEAL_AT
    else COURT.bob.story("a", clock=clock)
    for clock in (0, 1, 1, 2, 3, 5, 6)
]
"""Two in one slot, a seal between others, and a slot left out."""


def in_order(records):
    return sorted(records, key=lambda record: (record.clock, record.record_id))


def ids(records):
    return [record.record_id for record in records]


def within(records, start, end):
    return [record for record in in_order(records) if start <= record.clock < end]


@given(st.permutations(RECORDS), st.sets(st.sampled_from(range(7))), st.integers(0, 8))
def test_range_digests_equal_a_plain_hash(coming, going, end):
    live = LiveRecords(in_order(coming[:2]))
    for record in coming[2:]:
        live.add(record)
    for number in going:
        live.remove(coming[number])
    left = [record for number, record in enumerate(coming) if number not in going]
    assert live.records == in_order(left)
    for start in range(8):
        found = within(left, start, end)
        assert live.between(start, end) == found
        assert live.digest(start, end) == (len(found), feed_digest(ids(found)))
    stated = ids(record for record in within(left, 0, end) if record.clock != SEAL_AT)
    assert live.sealed(end) == (len(stated), seal_digest(stated))


@pytest.mark.parametrize(("start", "end", "clock"), [(0, 9, 2), (0, 1, 0), (2, 6, 3), (5, 9, 6)])
def test_middle_of_a_range(start, end, clock):
    assert LiveRecords(in_order(RECORDS)).middle(start, end) == clock


def long(size):
    return LiveRecords(COURT.cat.story("a", clock=2 * clock) for clock in range(size))


def test_cost_in_a_long_feed_is_logarithmic():
    short, twice = long(500), long(1_000)
    between = COURT.cat.story("b", clock=501)

    def work(live):
        live.add(between)
        live.digest(0, 2_000)
        live.sealed(2_000)
        live.remove(between)

    assert steps(lambda: work(twice)) <= steps(lambda: work(short)) + 200
