"""What some work costs, counted: seconds depend on the machine, steps do not."""

import gc
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any, Final

TOOL: Final = 4
"""A tool id of ``sys.monitoring`` that neither debuggers nor coverage use."""


def steps(work: Callable[[], object]) -> int:
    """How many instructions the interpreter takes, in loops that stand in one line too.

    What runs in C alone (a hash, a sort) is one; ``Walked`` shows what it walks over.
    """
    count = 0

    def one_more() -> None:
        nonlocal count
        count += 1

    watched(work, one_more)
    return count


def longest(work: Callable[[Callable[[], None]], object]) -> int:
    """How many instructions the longest stretch of some work takes between two checkpoints.

    Args:
        work: takes the checkpoint.
    """
    count = most = 0

    def one_more() -> None:
        nonlocal count
        count += 1

    def checkpoint() -> None:
        nonlocal count, most
        most, count = max(most, count), 0

    watched(partial(work, checkpoint), one_more)
    checkpoint()
    return most


def watched(work: Callable[[], object], told: Callable[[], None]) -> None:
    """Do some work, and tell of each instruction.

    No rubbish is collected meanwhile: that may call what does not belong to the work.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        (monitored if sys.version_info >= (3, 12) else traced)(work, told)
    finally:
        if collects:
            gc.enable()


def monitored(work: Callable[[], object], told: Callable[[], None]) -> None:
    """By what Python 3.12 brought (PEP 669); a trace does not see every instruction there."""
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    instruction = monitoring.events.INSTRUCTION
    monitoring.use_tool_id(TOOL, "steps")
    monitoring.register_callback(TOOL, instruction, lambda _code, _offset: told())
    monitoring.set_events(TOOL, instruction)
    try:
        work()
    finally:
        monitoring.set_events(TOOL, 0)
        monitoring.register_callback(TOOL, instruction, None)
        monitoring.free_tool_id(TOOL)


def traced(work: Callable[[], object], told: Callable[[], None]) -> None:
    """By a trace, as long as there is nothing else."""

    def note(frame: FrameType, event: str, _arg: Any) -> Callable[..., Any]:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            told()
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        work()
    finally:
        sys.settrace(before)


class Walked(dict):
    """A dictionary that counts how many of its keys were walked over."""

    walked = 0

    def __iter__(self) -> Iterator[object]:
        for key in super().__iter__():
            self.walked += 1
            yield key
