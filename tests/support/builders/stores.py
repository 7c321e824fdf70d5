"""Stores as daemons leave them, whole and damaged, and drivers at work over them."""

import asyncio
import contextlib

import apsw

from crdt.authoring.intents import AddStory
from crdt.contract.ready import Persist, RowKey
from machines import pipeline as p
from machines.values import FreeText, StoryId
from node.config import settings
from node.daemon import open_driver
from node.provisioning import init_join
from node.storage.store import Store
from node.system.errors import OperatorError
from node.system.home import Home
from tests.support.builders.cluster import Cluster


def write(cluster, number, path):
    """A node's store as its daemon would have written it."""
    persist = Persist()
    persist.rows.update({RowKey(*row[:4]): row for row in cluster.stores[number].values()})
    persist.rendered.update(cluster.rendered[number])
    persist.proofs += list(cluster.proofs[number].values())
    with Store(path) as store:
        store.commit(persist, [], 0)
    return path


def collided(title="Wanted by two"):
    """Two nodes moved one story from the same stage; a third went on from one of the two."""
    cluster = Cluster(3)
    cluster.admit_all()
    cluster.link_all()
    cluster.deliver()
    cluster.add(0, "s-1", title=FreeText(title))
    cluster.fire(0, "s-1", p.DepsMet())
    cluster.deliver()
    cluster.unlink(0, 1)
    cluster.unlink(0, 2)
    cluster.unlink(1, 2)
    cluster.fire(1, "s-1", p.GatesStarted())
    cluster.fire(2, "s-1", p.QaSkipped(feature_branch=p.BranchName("f"), commits_ahead=1))
    cluster.fire(2, "s-1", p.Block(reason=FreeText("waits for \u202e" + "very " * 40)))
    cluster.link_all()
    cluster.settle(40)
    return cluster


def spoil_row(path, clock, at):
    """One bit of a record's value, behind the store's back."""
    with contextlib.closing(apsw.Connection(str(path))) as database:
        ((value,),) = database.execute("SELECT value FROM records WHERE clock = ?", (clock,))
        value = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        database.execute("UPDATE records SET value = ? WHERE clock = ?", (value, clock))


class Lone:
    """A founder whose store lost a record."""

    def __init__(self, path, *, spoiled=True):
        self.home = Home(path / "home")
        init_join.found(self.home, "lone", "")
        self.settings = settings.load(self.home.config)
        self.written = asyncio.run(self._write())
        if spoiled:
            spoil_row(self.home.store, self.written.clock, 70)

    async def _write(self):
        return await self.with_driver(open_driver(self.home, self.settings), "s-1")

    async def with_driver(self, driver, story):
        running = asyncio.create_task(driver.run())
        try:
            return await driver.propose(AddStory(StoryId(story), FreeText("t")))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await driver.stop()


@contextlib.asynccontextmanager
async def running(driver):
    """A driver at work, stopped in order."""
    task = asyncio.create_task(driver.run())
    try:
        yield driver
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await driver.stop()


async def speaks(ask, running):
    """Wait until the daemon answers."""
    for _ in range(2000):
        assert not running.done()
        with contextlib.suppress(OperatorError):
            await ask("GET", "/status")
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never answered")
