"""What some work costs, counted: seconds depend on the machine, steps do not."""

import sys
from collections.abc import Callable, Iterator
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

    before = sys.gettrace()
    sys.settrace(note)
    try:
        work()
    finally:
        sys.settrace(before)
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

    before = sys.gettrace()
    sys.settrace(note)
    try:
        work(checkpoint)
    finally:
        sys.settrace(before)
    checkpoint()
    return most


class Walked(dict):
    """A dictionary that counts how many of its keys were walked over."""

    walked = 0

    def __iter__(self) -> Iterator[object]:
        for key in super().__iter__():
            self.walked += 1
            yield key
