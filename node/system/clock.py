"""The only module that reads a clock; everything else receives the time as an argument."""

import time

from crdt.contract.ready import Now
from machines.values import Instant


def wall_ms() -> int:
    """The wall clock, in Unix milliseconds. May jump."""
    return time.time_ns() // 1_000_000


def wall() -> Instant:
    """The wall clock, clamped to a valid instant: a host without a battery starts in 1970."""
    return Instant.nearest(wall_ms())


def monotonic() -> float:
    """The monotonic clock, in seconds. Never goes back."""
    return time.monotonic()


def now() -> Now:
    """Both clocks, in the form the core takes."""
    return Now(wall(), monotonic())
