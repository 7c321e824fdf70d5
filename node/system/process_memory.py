"""Lets the C library give memory back once a burst is over.

Stands under ``daemon.py``. glibc takes large blocks from the system one by one and returns each,
until the first of them is freed: from then on it keeps blocks of that size in its heap, where a
small one that lives on pins the holes of the large ones that are gone (docs/decisions/0006). A
fixed threshold leaves it at the first habit. Other C libraries have no such knob, and need none.
"""

import contextlib
import ctypes
from typing import Final

from crdt.primitives import limits

M_MMAP_THRESHOLD: Final = -3
"""From ``malloc.h``."""
LARGE_BYTES: Final = 64 * limits.KIB


def give_back() -> None:
    """What is freed of large blocks goes back to the system at once, from here on."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
