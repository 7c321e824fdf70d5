"""The command ``gangline``, with a watch on its loop: how long any one turn of it took.

    python -m tests.support.attack.watched --home DIR run

Counted is the processor time of the loop's own thread between two looks, a few milliseconds apart:
so a machine that is busy with other things is not held against the daemon. The longest is kept in a
file beside the home, in milliseconds.
"""

import asyncio
import sys
import time
from pathlib import Path

from node.cli.main import run
from node.driver import Driver
from tests.support.daemons import Node

ROOT = Path(__file__).parents[3]
LOOK_SECONDS = 0.005
START_SECONDS = 1.0
"""What a start costs is no hold-up: nobody is served yet."""


class WatchedNode(Node):
    """A node whose loop is watched."""

    def _command(self, *args):
        if args[0] != "run":
            return super()._command(*args)
        module = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", __name__]
        return [*module, "--home", str(self.home), *args]

    @property
    def longest_hold_ms(self):
        """The longest turn so far; 0 before the first look."""
        file = beside(self.home)
        return float(file.read_text() or 0) if file.exists() else 0.0


def beside(home):
    return home.parent / f"{home.name}.hold"


async def watch(file):
    """Look again and again, and keep the longest."""
    await asyncio.sleep(START_SECONDS)
    longest = 0.0
    while True:
        before = time.thread_time()
        await asyncio.sleep(LOOK_SECONDS)
        took = 1000 * (time.thread_time() - before)
        if took > longest:
            longest = took
            file.write_text(f"{longest:.1f}")


def main():
    original = Driver.run

    async def watched(self):
        watching = asyncio.create_task(watch(beside(self.store.path.parent)))
        try:
            await original(self)
        finally:
            watching.cancel()

    Driver.run = watched
    run()


if __name__ == "__main__":
    main()
