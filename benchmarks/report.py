"""What a benchmark found: a figure, what it was measured beside in the same run, and the budget."""

import gc
import sys
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from node.system import clock

T = TypeVar("T")


class Measured(NamedTuple):
    """One line of the report.

    Attributes:
        what: what was measured.
        ours: the figure, as text with its unit.
        beside: what it is compared with, and the figure of that.
        ratio: one by the other.
        budget: what the ratio should be (protocol §15).
    """

    what: str
    ours: str
    beside: str
    ratio: float
    budget: str


def say(measured: Measured) -> None:
    """Print one line at once: a whole run takes minutes."""
    sys.stdout.write(
        f"{measured.what}: {measured.ours}; beside it {measured.beside}; "
        f"ratio {measured.ratio:.2f}, budget {measured.budget}\n"
    )
    sys.stdout.flush()


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds that something took, and what it gave; garbage of before is not its affair."""
    gc.collect()
    began = clock.monotonic()
    result = work()
    return clock.monotonic() - began, result
