"""How late the event loop is while the daemon's driver writes 2,000 records/s, beside a bare loop.

Reported, never asserted: it says how well the machine was in the mood for it too.
"""

import asyncio
import time
from typing import NamedTuple

from crdt.authoring.intents import AddStory, ClaimStory
from machines.values import FreeText, StoryId
from node.config import settings
from node.daemon import open_driver
from node.provisioning import init_join
from node.system.home import Home

RECORDS_A_SECOND = 2_000
STEP_SECONDS = 0.01
LOOK_SECONDS = 0.002
STORIES = 100


class Lag(NamedTuple):
    """How late a loop came to what was due, in milliseconds."""

    half: float
    most: float
    worst: float

    def __str__(self):
        return f"{self.half:.1f}/{self.most:.1f}/{self.worst:.1f} ms"


class LagReport(NamedTuple):
    """Both, and how many records a second it came to."""

    records_a_second: float
    driver: Lag
    bare: Lag

    def __str__(self):
        return (
            f"loop lag p50/p99/max at {self.records_a_second:.0f} records/s {self.driver}, "
            f"of a bare loop {self.bare}"
        )


def measure(folder, seconds):
    """Both in one run: first the bare loop, then the driver's."""
    bare, _ = asyncio.run(_watched(asyncio.sleep(seconds)))
    home = Home(folder / "lag")
    init_join.found(home, "lag", "")
    written, driver = asyncio.run(_write(home, seconds))
    return LagReport(written / seconds, driver, bare)


async def _watched(work):
    """Do some work, and see how late the loop is meanwhile."""
    task = asyncio.ensure_future(work)
    lags = []
    while not task.done():
        due = time.perf_counter() + LOOK_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
        lags.append((time.perf_counter() - due) * 1000)
    lags.sort()
    lag = Lag(lags[len(lags) // 2], lags[len(lags) * 99 // 100], lags[-1])
    return lag, task.result()


async def _write(home, seconds):
    driver = open_driver(home, settings.load(home.config))
    running = asyncio.create_task(driver.run())
    stories = [StoryId(f"s-{number}") for number in range(STORIES)]
    await asyncio.gather(*(driver.propose(AddStory(one, FreeText("x"))) for one in stories))
    try:
        lag, written = await _watched(_at_a_rate(driver, stories, seconds))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await driver.stop()
    return written, lag


async def _at_a_rate(driver, stories, seconds):
    """Claims, each of which supersedes another, as they come from many callers at once."""
    begin = time.perf_counter()
    written = 0
    asked = set()
    while (passed := time.perf_counter() - begin) < seconds:
        while len(asked) + written < passed * RECORDS_A_SECOND:
            story = stories[(len(asked) + written) % STORIES]
            asked.add(asyncio.create_task(driver.propose(ClaimStory(story, 60))))
        done = {task for task in asked if task.done()}
        for task in done:
            task.result()
        written += len(done)
        asked -= done
        await asyncio.sleep(STEP_SECONDS)
    await asyncio.gather(*asked)
    return written
