"""Work waits its turn: local callers first, peers by what they cost."""

import asyncio
from itertools import chain

import pytest

from node.runtime import fair_queue
from node.runtime.batch import Job
from node.runtime.fair_queue import FairQueue
from tests.support.builders.cluster import key

A, B, C = (key(number).pubkey for number in (1, 2, 3))


def named(name):
    return Job(lambda _at: name)


async def gathered(inbox, seconds=0):
    """What one batch does, as the driver takes it."""
    await inbox.wait(seconds)
    local = inbox.local()
    jobs = chain(local, inbox.of_peers(fair_queue.BATCH_MAX - len(local)))
    return [job.work(None) for job in jobs]


@pytest.fixture
def inbox():
    return FairQueue()


async def test_local_callers_come_first(inbox):
    await inbox.put_from(A, named("a"), 1)
    await inbox.put(named("local"))
    assert len(inbox) == 2
    assert await gathered(inbox) == ["local", "a"]
    assert await gathered(inbox) == []


async def test_who_sends_much_waits_and_nobody_else(inbox):
    for number in range(fair_queue.FLOW_MAX):
        await inbox.put_from(A, named(f"a{number}"), 1)
    more = asyncio.create_task(inbox.put_from(A, named("late"), 1))
    await inbox.put_from(B, named("b"), 1)
    await asyncio.sleep(0)
    assert not more.done()
    assert (await gathered(inbox))[:3] == ["a0", "b", "a1"]
    await more
    assert await gathered(inbox) == ["late"]


async def test_a_dear_peer_comes_after_a_cheap_one(inbox, monkeypatch):
    monkeypatch.setattr(fair_queue, "BATCH_BYTES_MAX", 1)
    for number in range(3):
        await inbox.put_from(A, named(f"a{number}"), 1)
        await inbox.put_from(B, named(f"b{number}"), 1)
    told = []
    for _ in range(6):
        [name] = await gathered(inbox)
        told.append(name)
        inbox.charge(A if name[0] == "a" else B, 1.0 if name[0] == "a" else 0.4)
    assert told == ["a0", "b0", "b1", "b2", "a1", "a2"]


async def test_whoever_was_silent_has_saved_nothing_up(inbox, monkeypatch):
    monkeypatch.setattr(fair_queue, "BATCH_BYTES_MAX", 1)
    await inbox.put_from(C, named("c"), 1)
    await gathered(inbox)
    for number in range(4):
        await inbox.put_from(A, named(f"a{number}"), 1)
    await gathered(inbox)
    inbox.charge(A, 100.0)
    for number in range(3):
        await inbox.put_from(C, named(f"c{number}"), 1)
    told = []
    for _ in range(4):
        [name] = await gathered(inbox)
        told.append(name)
        inbox.charge(A if name[0] == "a" else C, 1.0)
    assert sorted(told[:2]) == ["a1", "c0"]


async def test_a_batch_is_bounded_in_bytes_and_in_number(inbox, monkeypatch):
    monkeypatch.setattr(fair_queue, "BATCH_BYTES_MAX", 100)
    for number in range(4):
        await inbox.put_from(A, named(number), 60)
    assert await gathered(inbox) == [0, 1]
    monkeypatch.setattr(fair_queue, "BATCH_MAX", 1)
    await inbox.put(named("local"))
    assert await gathered(inbox) == ["local"]
    assert await gathered(inbox) == [2]


async def test_a_batch_ends_once_its_messages_have_cost_enough(inbox):
    def at_a_cost(number):
        def work(_at):
            inbox.charge(A, 0.6 * fair_queue.BATCH_SECONDS_MAX)
            return number

        return Job(work)

    for number in range(5):
        await inbox.put_from(A, at_a_cost(number), 1)
    assert await gathered(inbox) == [0, 1]
    assert await gathered(inbox) == [2, 3]
    assert await gathered(inbox) == [4]


async def test_nobody_waits_for_room_where_nothing_is_taken_any_more(inbox):
    for number in range(fair_queue.FLOW_MAX):
        await inbox.put_from(A, named(number), 1)
    waiting = asyncio.create_task(inbox.put_from(A, named("late"), 1))
    await asyncio.sleep(0)
    assert not waiting.done()
    inbox.close()
    await waiting
    await inbox.put_from(B, named("later"), 1)
    assert len(inbox) == fair_queue.FLOW_MAX


async def test_others_have_the_loop_between_two_batches(inbox):
    ran = []
    asyncio.get_running_loop().call_soon(ran.append, "another")
    await inbox.put_from(A, named("a"), 1)
    assert await gathered(inbox) == ["a"]
    assert ran == ["another"]


async def test_lanes_of_peers_that_are_gone_are_forgotten(inbox, monkeypatch):
    monkeypatch.setattr(fair_queue, "FLOWS_MAX", 2)
    await inbox.put_from(A, named("a"), 1)
    inbox.charge(B, 1.0)
    await inbox.put_from(C, named("c"), 1)
    assert set(inbox._flows) == {A, C}
    assert sorted(await gathered(inbox)) == ["a", "c"]


async def test_waiting_ends_with_the_first_that_comes(inbox):
    waiting = asyncio.create_task(gathered(inbox, 60))
    await asyncio.sleep(0)
    await inbox.put_from(A, named("a"), 1)
    assert await waiting == ["a"]
