"""The command ``gangline``, with a watch on its loop: how long each turn of it took, and in what.

    python -m tests.support.attack.watched --home DIR run

Counted is the processor time of the loop's own thread between two looks, a few milliseconds apart:
so a machine that is busy with other things is not held against the daemon. Each turn that took long
is a line in a file beside the home, with the function in which a second thread found it most often.
"""

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from node.cli.main import run
from node.runtime.driver import Driver
from tests.support.harness.daemons import Node

ROOT = Path(__file__).parents[3]
OURS = tuple(str(ROOT / name) for name in ("machines", "crdt", "node"))
LOOK_SECONDS = 0.005
START_SECONDS = 1.0
"""What a start costs is no hold-up: nobody is served yet."""
TOLD_MS = 10.0
"""A shorter turn is not noted."""


class Hold(NamedTuple):
    """A long turn of the loop.

    Attributes:
        at: when it ended, by the wall clock.
        where: the function that it was seen in.
    """

    at: float
    ms: float
    where: str


class WatchedNode(Node):
    """A node whose loop is watched."""

    def _command(self, *args):
        if args[0] != "run":
            return super()._command(*args)
        module = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", __name__]
        return [*module, "--home", str(self.home), *args]

    def longest_hold(self, since):
        """The longest turn that ended since then, by the wall clock."""
        file = beside(self.home)
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else ()
        holds = (Hold(*json.loads(line)) for line in lines)
        late = (hold for hold in holds if hold.at >= since)
        return max(late, key=lambda hold: hold.ms, default=Hold(since, 0.0, ""))


def beside(home):
    return home.parent / f"{home.name}.hold"


class Watch:
    """Looks at the loop that it runs in again and again.

    Args:
        told: the file that takes the long turns.
    """

    def __init__(self, told):
        self._told = told
        self._thread = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)
        self._begin = time.thread_time()
        self._seen = Counter()

    async def run(self):
        await asyncio.sleep(START_SECONDS)
        threading.Thread(target=self._look_inside, daemon=True).start()
        while True:
            self._seen, self._begin = Counter(), time.thread_time()
            await asyncio.sleep(LOOK_SECONDS)
            took = 1000 * (time.thread_time() - self._begin)
            if took >= TOLD_MS:
                [(where, _)] = self._seen.most_common(1) or [("unseen", 0)]
                print(json.dumps([time.time(), round(took, 1), where]), file=self._told, flush=True)

    def _look_inside(self):
        """See from another thread what a long turn is busy with."""
        while True:
            time.sleep(LOOK_SECONDS)
            if 1000 * (time.clock_gettime(self._clock) - self._begin) >= TOLD_MS:
                self._seen[_innermost(sys._current_frames()[self._thread])] += 1


def _innermost(frame):
    """The innermost function of this project, as file and name."""
    while not frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
    if frame.f_code.co_name == "main":
        return "the loop, or a library"
    return f"{Path(frame.f_code.co_filename).name} {frame.f_code.co_name}"


def main():
    original = Driver.run

    async def watched(self):
        with beside(self.store.path.parent).open("a", encoding="utf-8") as told:
            watching = asyncio.create_task(Watch(told).run())
            try:
                await original(self)
            finally:
                watching.cancel()

    Driver.run = watched
    run()


if __name__ == "__main__":
    main()
