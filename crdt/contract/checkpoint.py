"""Checkpoints: points in long work of the core where the shell may run other tasks.

One roster record, or one proven fork, can change the verdict of every record of an author. The core
finishes such work in one call, because no caller may see half of it. Source: protocol §5.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Checkpoint = Callable[[], None]
"""Returns when the work may continue. Must not touch the state that the work changes."""


def pass_on() -> None:
    """Continue at once."""


def in_steps(items: Iterable[T], checkpoint: Checkpoint) -> Iterator[T]:
    """Yield the items, with a checkpoint before each."""
    for item in items:
        checkpoint()
        yield item
