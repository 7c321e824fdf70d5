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


def test_runs_that_touch_or_overlap_are_one():
    assert list(filled((0, 2), (2, 4))) == [(0, 4)]
    assert list(filled((5, 9), (0, 6))) == [(0, 9)]
    assert list(filled((0, 1), (2, 3), (4, 5), (1, 4))) == [(0, 5)]
    assert list(filled((0, 2), (3, 5))) == [(0, 2), (3, 5)]


def test_what_is_missing_between_the_runs_is_found():
    ranges = RangeSet([(2, 4), (6, 7)])
    assert list(ranges.missing(0, 9)) == [(0, 2), (4, 6), (7, 9)]
    assert list(ranges.missing(3, 7)) == [(4, 6)]
    assert list(RangeSet().missing(0, 2)) == [(0, 2)]


def test_it_knows_its_end_and_how_many_it_holds():
    assert (RangeSet().end, RangeSet().total) == (0, 0)
    ranges = filled((0, 2), (5, 9))
    assert (ranges.end, ranges.total) == (9, 6)


def test_an_empty_run_adds_nothing():
    assert len(filled((3, 3), (5, 2))) == 0


def test_discard_splits_or_shortens_a_run():
    ranges = filled((0, 5))
    ranges.discard(2)
    ranges.discard(0)
    ranges.discard(4)
    ranges.discard(9)
    assert list(ranges) == [(1, 2), (3, 4)]
    ranges.discard(1)
    assert list(ranges) == [(3, 4)]


def test_the_end_of_a_run_is_found_from_anywhere_in_it():
    ranges = filled((2, 5))
    assert [ranges.run_end(value) for value in range(7)] == [0, 1, 5, 5, 5, 5, 6]


def test_runs_within_are_clipped():
    ranges = filled((0, 3), (5, 8), (10, 12))
    assert list(ranges.within(2, 11)) == [(2, 3), (5, 8), (10, 11)]
    assert list(ranges.within(3, 5)) == []
    assert list(ranges.within(6, 6)) == []
    assert list(RangeSet().within(0, 9)) == []


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
    runs = list(ranges)
    assert len(runs) == len(ranges)
    assert {value for start, end in runs for value in range(start, end)} == plain
    assert all(start < end for start, end in runs)
    assert all(left[1] < right[0] for left, right in pairwise(runs))
