"""Long work of the core on the loop's own thread, in slices, so that nothing else waits for it.

Stands under ``driver.py``. The work runs in a greenlet. At a checkpoint it hands the thread back to
the loop if its slice is over, and goes on when the loop has looked after everything else. Who asks
for the replica waits for the end all the same: nobody sees half of it (docs/decisions/0008).
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from greenlet import getcurrent, greenlet

from node.system import clock

T = TypeVar("T")
SLICE_SECONDS: Final = 0.01
"""So long at most the loop waits for one slice, but for the step that is under way."""


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
        """Let the loop go first if the slice is over; outside of such work, go on at once."""
        work = self._work
        if work is None or clock.monotonic() < self._ends or getcurrent() is not work:
            return
        left = clock.monotonic()
        assert work.parent is not None, "it was started by the loop's"
        work.parent.switch()
        self.away += clock.monotonic() - left
        self._ends = clock.monotonic() + SLICE_SECONDS

    async def run(self, work: Callable[[], T]) -> T:
        """Do the work to its end.

        Whoever cancels this waits for the end too: half of it done would be worse than none. The
        caller must call ``give_way`` when nothing depends on the work any longer.
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
        """Do what belongs to the work and must be waited for, likewise to its end."""
        task = asyncio.ensure_future(rest)
        while True:
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                self._cancelled = True

    def give_way(self) -> None:
        """End the task if it was cancelled during the work.

        Not by cancelling it once more, which the next timeout in it could take for its own.

        Raises:
            CancelledError: it was.
        """
        if self._cancelled:
            raise asyncio.CancelledError
