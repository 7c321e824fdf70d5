"""The garbage collector, told what it need not look at.

Records are held until they are superseded, and refer to nothing that refers back. While a store is
read the collector would walk over them again and again (a third of the time of a start, measured
on 30,000 records), and afterwards its longest walk would hold up the loop.
"""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def not_looking() -> Iterator[None]:
    """Make many things that stay, without a look at each of them again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def leave_alone() -> None:
    """What is there now stays: it is not looked at again. What was left alone before is."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
