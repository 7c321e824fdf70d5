from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from crdt.primitives.range_set import RangeSet

clocks = st.integers(0, 30)
steps = st.lists(
    st.tuples(st.just("add"), clocks, clocks) | st.tuples(st.just("discard"), clocks, clocks),
    max_size=20,
)


def filled(*runs):
    ranges = RangeSet()
    for run in runs:
        ranges.add(*run)
    return ranges


def test_runs_within_are_clipped():
    ranges = filled((0, 3), (5, 8), (10, 12))
    assert list(ranges.within(2, 11)) == [(2, 3), (5, 8), (10, 11)]
    assert list(ranges.within(3, 5)) == []
    assert list(ranges.within(6, 6)) == []
    assert list(RangeSet().within(0, 9)) == []


def test_runs_that_touch_are_joined():
    ranges = filled((0, 1), (1, 2), (3, 3), (4, 5))
    assert list(ranges.within(0, 9)) == [(0, 2), (4, 5)]


@given(steps)
def test_range_set_equals_a_set_of_integers(done):
    ranges, plain = RangeSet(), set()
    for what, one, other in done:
        if what == "add":
            ranges.add(one, other)
            plain |= set(range(one, other))
        else:
            ranges.discard(one)
            plain.discard(one)
    assert {value for value in range(40) if value in ranges} == plain
    assert (ranges.total, ranges.end) == (len(plain), max(plain, default=-1) + 1)
    missing = [value for run in ranges.missing(3, 30) for value in range(*run)]
    assert missing == [value for value in range(3, 30) if value not in plain]
    for value in range(40):
        assert ranges.run_end(value) == next(n for n in range(value, 99) if n not in plain)
    runs = list(ranges)
    assert len(runs) == len(ranges)
    assert {value for start, end in runs for value in range(start, end)} == plain
    assert all(start < end for start, end in runs)
    assert all(left[1] < right[0] for left, right in pairwise(runs))
