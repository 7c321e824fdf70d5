"""The only file that reads a clock.

Stands at the edge of the shell: everything else is handed the time.
"""

import time


def wall_ms() -> int:
    """The wall clock, in Unix milliseconds. May jump."""
    return time.time_ns() // 1_000_000


def monotonic() -> float:
    """The monotonic clock, in seconds. Never goes back."""
    return time.monotonic()
