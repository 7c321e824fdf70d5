"""The only file that reads a clock.

Stands at the edge of the shell: everything else is handed the time.
"""

import time

from crdt.contract.ready import Now
from machines.values import Instant


def wall_ms() -> int:
    """The wall clock, in Unix milliseconds. May jump."""
    return time.time_ns() // 1_000_000


def wall() -> Instant:
    """The wall clock, or the nearest instant there is: a host without a battery starts in 1970."""
    return Instant.nearest(wall_ms())


def monotonic() -> float:
    """The monotonic clock, in seconds. Never goes back."""
    return time.monotonic()


def now() -> Now:
    """Both clocks, as the core takes them."""
    return Now(wall(), monotonic())
