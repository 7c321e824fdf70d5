"""Runs long work of the core on the loop's own thread, in slices, so that the loop stays free.

Used by ``driver.py``. The work runs in a greenlet. At a checkpoint it yields to the loop if its
slice is over, and resumes once the loop has run its other tasks. Jobs for the replica wait until
the work is complete, so that nothing sees half of it (docs/decisions/0008).
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from greenlet import getcurrent, greenlet

from node.system import clock

T = TypeVar("T")
SLICE_SECONDS: Final = 0.01
"""How long one slice lasts at most, except for the step that is under way."""


class Slices:
    """Runs one piece of work at a time.

    Attributes:
        away: how long the loop has had the thread between slices, in seconds, since the start.
    """

    def __init__(self) -> None:
        self.away = 0.0
        self._work: greenlet | None = None
        self._ends = 0.0
        self._cancelled = False

    def checkpoint(self) -> None:
        """Yield to the loop if the slice is over; does nothing outside such work."""
        work = self._work
        if work is None or clock.monotonic() < self._ends or getcurrent() is not work:
            return
        left = clock.monotonic()
        assert work.parent is not None, "it was started by the loop's"
        work.parent.switch()
        self.away += clock.monotonic() - left
        self._ends = clock.monotonic() + SLICE_SECONDS

    async def run(self, work: Callable[[], T]) -> T:
        """Run the work to its end.

        A cancellation waits for the end too, since half of the work must not remain. The caller
        must call ``give_way`` once nothing depends on the work.
        """
        found: list[T] = []
        self._work = runner = greenlet(lambda: found.append(work()))
        self._ends = clock.monotonic() + SLICE_SECONDS
        self._cancelled = False
        try:
            runner.switch()
            while not runner.dead:
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    self._cancelled, self._work = True, None
                runner.switch()
        finally:
            self._work = None
        return found[0]

    async def finish(self, rest: Coroutine[Any, Any, T]) -> T:
        """Await what belongs to the work, likewise to its end."""
        task = asyncio.ensure_future(rest)
        while True:
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                self._cancelled = True

    def give_way(self) -> None:
        """End the task if it was cancelled during the work.

        It does not cancel the task again, since a timeout in the task could take that as its own.

        Raises:
            CancelledError: the task was cancelled.
        """
        if self._cancelled:
            raise asyncio.CancelledError
