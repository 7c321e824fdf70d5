"""What some work costs, counted: seconds depend on the machine, steps do not."""

import gc
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any


def steps(work: Callable[[], object]) -> int:
    """How many instructions the interpreter takes, in loops that stand in one line too.

    What runs in C alone (a hash, a sort) is one; ``Walked`` shows what it walks over.
    """
    count = 0

    def note(frame: FrameType, event: str, _arg: Any) -> Callable[..., Any]:
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        count += event == "opcode"
        return note

    traced(work, note)
    return count


def longest(work: Callable[[Callable[[], None]], object]) -> int:
    """How many instructions the longest stretch of some work takes between two checkpoints.

    Args:
        work: takes the checkpoint.
    """
    count = most = 0

    def note(frame: FrameType, event: str, _arg: Any) -> Callable[..., Any]:
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        count += event == "opcode"
        return note

    def checkpoint() -> None:
        nonlocal count, most
        most, count = max(most, count), 0

    traced(partial(work, checkpoint), note)
    checkpoint()
    return most


def traced(work: Callable[[], object], note: Callable[..., Any]) -> None:
    """Do some work under a trace, and no rubbish collection, which may call what is not of it."""
    before, collects = sys.gettrace(), gc.isenabled()
    gc.disable()
    sys.settrace(note)
    try:
        work()
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()


class Walked(dict):
    """A dictionary that counts how many of its keys were walked over."""

    walked = 0

    def __iter__(self) -> Iterator[object]:
        for key in super().__iter__():
            self.walked += 1
            yield key
