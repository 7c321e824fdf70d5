"""A disk whose syncs take long, and what must go on meanwhile: the loop, and with it the links.

Stands under ``power.py``. What waits for such a sync is in no caller's answer and in no frame: both
are looked at as they leave (``in_process_daemon.py``).
"""

import asyncio
import threading
import time

from tests.support.faults.faulty_vfs import Fault
from tests.support.invariants.laws import Broken

CHANCE = 0.3
TURNS_MIN = 20
TURN_SECONDS = 0.002
PATIENCE_SECONDS = 60


class LongSyncs:
    """Some syncs of a disk take so long, while a daemon serves from it.

    Args:
        seconds: the least and the most; none ends before the loop has turned some times.
        cut: the first of them ends in a power cut.

    Attributes:
        struck: how many did.
    """

    def __init__(self, disk, rng, seconds, *, cut):
        self.struck = 0
        self._disk, self._cut = disk, cut
        self._rng, self._seconds = rng, seconds
        self._turns = 0
        self._loop = None
        self._stood_still = ""

    async def serve(self):
        """Count the turns of the loop, for as long as it serves anybody."""
        self._loop = threading.get_ident()
        try:
            while True:
                self._turns += 1
                await asyncio.sleep(TURN_SECONDS)
        finally:
            self._loop = None

    def wait(self):
        """A sync is under way; in the thread that waits for it."""
        if self._loop is None or self._disk.fault is not None or self._rng.random() > CHANCE:
            return
        self.struck += 1
        if self._loop == threading.get_ident():
            self._stood_still = "the loop itself waits for a sync"
            return
        before, end = self._turns, time.monotonic() + self._rng.uniform(*self._seconds)
        while time.monotonic() < end or self._turns < before + TURNS_MIN:
            if self._loop is None:
                return
            if time.monotonic() > end + PATIENCE_SECONDS:
                self._stood_still = "the loop stands still while a sync takes long"
                return
            time.sleep(TURN_SECONDS)
        if self._cut:
            self._disk.fault = Fault(1, calls={"sync"})

    def check(self, dropped):
        """The law, after a life.

        Args:
            dropped: why links were, in it.
        """
        if self._stood_still:
            raise Broken("L9", self._stood_still)
        if dropped:
            raise Broken("L9", f"a link is dropped while a sync takes long: {dropped[0]}")
