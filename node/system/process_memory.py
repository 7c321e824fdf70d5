"""Keeps the garbage collector and the C library from slowing the daemon down.

Records are kept until they are superseded and form no cycles. During a start the collector would
walk over them again and again (a third of the time of a start with 30,000 records), and its longest
walk afterwards would hold the event loop up.

glibc maps large blocks one by one and unmaps each, until the first one is freed: from then on it
keeps blocks of that size in its heap, where a small block that lives on pins the holes of large
ones (docs/decisions/0006). A fixed threshold prevents this. Other C libraries do not need it.
"""

import contextlib
import ctypes
import gc
from collections.abc import Iterator
from typing import Final

from crdt.primitives import limits

M_MMAP_THRESHOLD: Final = -3
"""From ``malloc.h``."""
LARGE_BYTES: Final = 64 * limits.KIB


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Create many long-lived objects without a collection in between."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def gc_freeze_all() -> None:
    """Collect once, then freeze every live object; objects frozen earlier are collected first."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def return_large_blocks() -> None:
    """From now on, return large blocks to the system as soon as they are freed."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
