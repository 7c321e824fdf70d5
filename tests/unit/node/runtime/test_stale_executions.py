"""What becomes of an execution whose exec was killed."""

import asyncio
import contextlib

from crdt.authoring.handlers import own_execution
from crdt.authoring.intents import AddStory, FireExecution
from machines.execution import Idle, Running, SpawnedSuccessfully, SpawnRequested
from machines.values import AgentName, FreeText, Instant, StoryId
from node.config import settings
from node.daemon import open_driver
from node.provisioning import init_join
from node.runtime.stale_executions import SILENT_LOOKS, reset_stale
from node.system.home import Home

S1 = StoryId("s-1")


@contextlib.asynccontextmanager
async def at_work(path):
    """A driver whose node has an agent running on a story."""
    home = Home(path / "home")
    init_join.found(home, "house", "")
    driver = open_driver(home, settings.load(home.config))
    task = asyncio.create_task(driver.run())
    try:
        await driver.propose(AddStory(S1, FreeText("t")))
        await driver.propose(FireExecution(S1, SpawnRequested(AgentName("coder-1"))))
        await driver.propose(FireExecution(S1, SpawnedSuccessfully()))
        yield driver
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await driver.stop()


async def state(driver):
    return await driver.query(lambda r: own_execution(r.ledger, r.own, S1))


async def beat(driver, number):
    at = Instant.nearest(1_800_000_000_000 + number)
    await driver.query(lambda r: r.beacon.beats.update({S1: at}))


def test_an_execution_whose_beats_end_is_reset_and_told(tmp_path, caplog):
    async def go():
        async with at_work(tmp_path) as driver:
            await beat(driver, 0)
            silent = {}
            for _ in range(SILENT_LOOKS):
                silent = await reset_stale(driver, silent)
            assert isinstance(await state(driver), Running)
            await reset_stale(driver, silent)
            assert await state(driver) == Idle()
            assert not await driver.query(lambda r: r.beacon.beats)

    asyncio.run(go())
    assert "reset the execution of s-1: gangline exec sent no heartbeat" in caplog.text


def test_an_execution_that_beats_is_let_be(tmp_path):
    async def go():
        async with at_work(tmp_path) as driver:
            silent = {}
            for number in range(3 * SILENT_LOOKS):
                await beat(driver, number)
                silent = await reset_stale(driver, silent)
            assert isinstance(await state(driver), Running)

    asyncio.run(go())
