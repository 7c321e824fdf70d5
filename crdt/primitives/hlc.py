"""Stamps of a hybrid logical clock: an instant and a counter within it.

Source: protocol §4, §7; Kulkarni et al., "Logical Physical Clocks" (2014).
"""

from typing import NamedTuple

from machines.values import Instant

from crdt.primitives import limits


class Stamp(NamedTuple):
    """When a record was written, according to its author. Stamps sort as tuples.

    ``at`` has a resolution of 1 ms; ``n`` is below 2^16.
    """

    at: Instant
    n: int


def next_stamp(now: Instant, floor: Stamp | None) -> Stamp:
    """Return ``(now, 0)``, or the stamp one tick after ``floor`` if that is later.

    >>> noon = Instant("2026-01-01T12:00:00.000Z")
    >>> next_stamp(noon, floor=Stamp(noon, 4)).n
    5

    Raises:
        InvalidValue: the stamp would be in the year 2100 or later.
    """
    ours = Stamp(now, 0)
    if floor is None or ours > floor:
        return ours
    if floor.n < limits.STAMP_COUNTER_MAX:
        return Stamp(floor.at, floor.n + 1)
    return Stamp(Instant.from_ms(floor.at.ms + 1), 0)
