import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.primitives import limits
from crdt.primitives.hlc import Stamp, next_stamp
from machines.errors import InvalidValue
from machines.values import Instant
from tests.support.strategies import records

EARLY = Instant("2026-11-24T02:00:00.000Z")
LATER = Instant("2026-11-24T02:00:00.001Z")

stamps = st.builds(Stamp, records.instants, st.integers(0, limits.STAMP_COUNTER_MAX))


def test_stamps_are_ordered_by_instant_then_counter():
    in_order = [Stamp(EARLY, 0), Stamp(EARLY, 9), Stamp(EARLY, 10), Stamp(LATER, 0)]
    assert sorted(in_order) == in_order


def test_the_own_clock_counts_where_it_is_later():
    assert next_stamp(EARLY, None) == Stamp(EARLY, 0)
    assert next_stamp(LATER, Stamp(EARLY, 7)) == Stamp(LATER, 0)


def test_else_it_is_one_tick_past_the_floor():
    assert next_stamp(EARLY, Stamp(EARLY, 0)) == Stamp(EARLY, 1)
    assert next_stamp(EARLY, Stamp(LATER, 4)) == Stamp(LATER, 5)


def test_a_full_counter_goes_on_in_the_next_millisecond():
    floor = Stamp(EARLY, limits.STAMP_COUNTER_MAX)
    assert next_stamp(EARLY, floor) == Stamp(LATER, 0)


def test_nothing_comes_after_the_last_stamp_there_is():
    end = Instant("2099-12-31T23:59:59.999Z")
    assert next_stamp(EARLY, Stamp(end, 0)) == Stamp(end, 1)
    with pytest.raises(InvalidValue):
        next_stamp(EARLY, Stamp(end, limits.STAMP_COUNTER_MAX))


@given(records.instants, stamps)
def test_next_stamp_is_the_least_allowed(now, floor):
    if floor == Stamp(Instant.from_ms(records.LAST_MS), limits.STAMP_COUNTER_MAX):
        return
    stamp = next_stamp(now, floor)
    assert stamp > floor
    assert stamp.at >= now
    assert 0 <= stamp.n <= limits.STAMP_COUNTER_MAX
    assert stamp == Stamp(now, 0) or now <= floor.at
