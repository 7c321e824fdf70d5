"""The places where long work may be interrupted.

One word of an admin, or one proven fork, can change the verdict of every record of an author. The
core does such work in one call, since nobody may see half of it; but it calls a checkpoint after
each step, where the shell may let others run before it goes on. Source: protocol §5.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Checkpoint = Callable[[], None]
"""Returns when the work may go on. Must not touch what the work is about."""


def pass_on() -> None:
    """Go on at once."""


def in_steps(items: Iterable[T], checkpoint: Checkpoint) -> Iterator[T]:
    """The items, with a checkpoint before each."""
    for item in items:
        checkpoint()
        yield item
