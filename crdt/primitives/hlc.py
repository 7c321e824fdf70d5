"""Stamps: a hybrid logical clock, an instant and a counter within it.

Stands under every record. Source: protocol §4, §7; Kulkarni et al., "Logical Physical Clocks"
(2014).
"""

from typing import NamedTuple

from machines.values import Instant

from crdt.primitives import limits


class Stamp(NamedTuple):
    """When its author says a record was written. The order of the tuple is the order of stamps."""

    at: Instant
    n: int


def next_stamp(now: Instant, floor: Stamp | None) -> Stamp:
    """The own clock, or one tick past ``floor`` where that is later.

    Raises:
        InvalidValue: past the year 2100.
    """
    own = Stamp(now, 0)
    if floor is None or own > floor:
        return own
    if floor.n < limits.STAMP_COUNTER_MAX:
        return Stamp(floor.at, floor.n + 1)
    return Stamp(Instant.from_ms(floor.at.ms + 1), 0)
