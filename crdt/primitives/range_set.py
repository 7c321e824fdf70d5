"""A set of integers stored as runs, for the clocks of a feed.

A feed with a million overwrites needs one run here, not a million entries.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """Sorted, disjoint runs ``[start, end)``; runs that touch are merged.

    >>> clocks = RangeSet([(0, 3)])
    >>> clocks.add(3, 5)
    >>> clocks.discard(1)
    >>> list(clocks)
    [(0, 1), (2, 5)]

    Args:
        runs: the first content: rising, with a gap between any two.
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        first = list(runs)
        self._starts = [start for start, _ in first]
        self._ends = [end for _, end in first]

    def __contains__(self, value: int) -> bool:
        index = bisect_right(self._starts, value) - 1
        return index >= 0 and value < self._ends[index]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def end(self) -> int:
        """One past the greatest integer; 0 if the set is empty."""
        return self._ends[-1] if self._ends else 0

    @property
    def total(self) -> int:
        """The number of integers."""
        return sum(self._ends) - sum(self._starts)

    def add(self, start: int, end: int) -> None:
        """Add every integer of ``[start, end)``."""
        if start >= end:
            return
        starts, ends = self._starts, self._ends
        if ends and start == ends[-1]:  # the usual case: a record at the end
            ends[-1] = end
            return
        # The runs to merge with: from the first that ends at or after ``start`` to the last that
        # starts at or before ``end``.
        low = bisect_right(starts, start)
        if low and ends[low - 1] >= start:
            low -= 1
        high = bisect_right(starts, end)
        if low < high:
            start = min(start, starts[low])
            end = max(end, ends[high - 1])
        starts[low:high] = [start]
        ends[low:high] = [end]

    def discard(self, value: int) -> None:
        """Remove one integer, if it is in the set."""
        index = bisect_right(self._starts, value) - 1
        if index < 0 or value >= self._ends[index]:
            return
        start, end = self._starts[index], self._ends[index]
        runs = [(start, value), (value + 1, end)]
        kept = [run for run in runs if run[0] < run[1]]
        self._starts[index : index + 1] = [run[0] for run in kept]
        self._ends[index : index + 1] = [run[1] for run in kept]

    def run_end(self, value: int) -> int:
        """Return the end of the run that contains ``value``, or ``value`` if none does."""
        index = bisect_right(self._starts, value) - 1
        if index >= 0 and value < self._ends[index]:
            return self._ends[index]
        return value

    def within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the runs, clipped to ``[start, end)``."""
        index = max(bisect_right(self._starts, start) - 1, 0)
        while index < len(self._starts) and self._starts[index] < end:
            low, high = max(self._starts[index], start), min(self._ends[index], end)
            if low < high:
                yield low, high
            index += 1

    def missing(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the runs of ``[start, end)`` that are not in the set."""
        for low, high in self.within(start, end):
            if start < low:
                yield start, low
            start = high
        if start < end:
            yield start, end
