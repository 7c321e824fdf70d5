"""A set of clocks kept as runs: which slots of a feed are held, and which are known.

Stands under ``feed.py``. A feed of a million overwrites has one run here, not a million entries.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """Integers as sorted, disjoint, never touching runs ``[start, end)``.

    Args:
        runs: such runs.
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
        """One past the greatest; 0 where there is none."""
        return self._ends[-1] if self._ends else 0

    @property
    def total(self) -> int:
        """How many integers there are."""
        return sum(self._ends) - sum(self._starts)

    def add(self, start: int, end: int) -> None:
        """Add every integer of ``[start, end)``."""
        if start >= end:
            return
        starts, ends = self._starts, self._ends
        if ends and start == ends[-1]:  # nearly every record comes behind all others
            ends[-1] = end
            return
        # The runs that touch the new one: from the first that ends at or after its start, to the
        # last that starts at or before its end.
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
        """Take one integer out."""
        index = bisect_right(self._starts, value) - 1
        if index < 0 or value >= self._ends[index]:
            return
        start, end = self._starts[index], self._ends[index]
        runs = [(start, value), (value + 1, end)]
        kept = [run for run in runs if run[0] < run[1]]
        self._starts[index : index + 1] = [run[0] for run in kept]
        self._ends[index : index + 1] = [run[1] for run in kept]

    def run_end(self, value: int) -> int:
        """The end of the run that holds ``value``, or ``value`` itself where none does."""
        index = bisect_right(self._starts, value) - 1
        if index >= 0 and value < self._ends[index]:
            return self._ends[index]
        return value

    def within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The runs, clipped to ``[start, end)``."""
        index = max(bisect_right(self._starts, start) - 1, 0)
        while index < len(self._starts) and self._starts[index] < end:
            low, high = max(self._starts[index], start), min(self._ends[index], end)
            if low < high:
                yield low, high
            index += 1

    def missing(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The runs of ``[start, end)`` that are not in the set."""
        for low, high in self.within(start, end):
            if start < low:
                yield start, low
            start = high
        if start < end:
            yield start, end
