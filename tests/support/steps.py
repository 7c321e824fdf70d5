"""What some work costs, counted: seconds depend on the machine, calls do not."""

import sys
from collections.abc import Callable, Iterator


def calls(work: Callable[[], object]) -> int:
    """How many functions are called, ours and the interpreter's; a generator's turns count."""
    count = 0

    def note(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


class Walked(dict):
    """A dictionary that counts how many of its keys were walked over: C calls show no length."""

    walked = 0

    def __iter__(self) -> Iterator[object]:
        for key in super().__iter__():
            self.walked += 1
            yield key
