"""Long work in slices: the loop goes first in between, and nobody sees half of it."""

import asyncio
import threading

import pytest

from node.runtime import slices
from node.runtime.slices import Slices


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Every slice is over at once."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)


def long_work(made, told, steps=5):
    for step in range(steps):
        made.checkpoint()
        told.append(step)
    return "done"


async def test_the_loop_goes_first_at_each_checkpoint():
    made, told = Slices(), []

    async def other():
        while "done" not in told:
            told.append("other")
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    assert await made.run(lambda: long_work(made, told)) == "done"
    told.append("done")
    await beside
    assert told[:6] == ["other", 0, "other", 1, "other", 2]
    assert made.away > 0


async def test_work_within_its_slice_is_not_interrupted(monkeypatch):
    monkeypatch.setattr(slices, "SLICE_SECONDS", 3600.0)
    made, told = Slices(), []
    beside = asyncio.create_task(asyncio.sleep(0, told.append("other")))
    await beside
    asyncio.get_running_loop().call_soon(told.append, "late")
    await made.run(lambda: long_work(made, told))
    assert told == ["other", *range(5)]
    assert made.away == 0


async def test_what_the_work_raises_is_raised():
    made = Slices()

    def fails():
        made.checkpoint()
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await made.run(fails)
    assert await made.run(lambda: 7) == 7


async def test_who_cancels_waits_for_the_end():
    """Half of it must stay nowhere, least of all in the replica that is sealed at the stop."""
    made, told = Slices(), []

    async def owner():
        await made.run(lambda: long_work(made, told, 100))
        await asyncio.sleep(0)
        told.append("end")
        made.give_way()
        told.append("never")

    task = asyncio.create_task(owner())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == [*range(100), "end"]


async def test_what_belongs_to_the_work_is_finished_too():
    made, done = Slices(), asyncio.Event()

    async def owner():
        await made.run(lambda: None)
        assert await made.finish(rest()) == "rest"
        done.set()
        made.give_way()
        raise AssertionError("it was cancelled")

    async def rest():
        for _ in range(5):
            await asyncio.sleep(0)
        return "rest"

    task = asyncio.create_task(owner())
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


async def test_outside_of_such_work_a_checkpoint_does_nothing():
    made = Slices()
    made.checkpoint()
    passed = []

    def elsewhere():
        thread = threading.Thread(target=lambda: passed.append(made.checkpoint()))
        thread.start()
        thread.join()
        made.checkpoint()

    await made.run(elsewhere)
    assert passed == [None]
