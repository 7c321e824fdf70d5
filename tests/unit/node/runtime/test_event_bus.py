import asyncio

from crdt.contract.ready import Noticed
from node.runtime.event_bus import EventBus, Missed


def event(number):
    return Noticed("test", str(number))


async def read(subscription, count):
    found = []
    async for one in subscription:
        found.append(one)
        if len(found) == count:
            return found
    return found


async def test_one_that_raises_one_that_never_reads_and_one_that_is_slow_harm_nobody(caplog):
    bus = EventBus()
    seen = []

    def raises(_event):
        raise RuntimeError("a subscriber's own fault")

    bus.tap(raises)
    bus.tap(seen.append)
    with (
        bus.subscribe() as quick,
        bus.subscribe(capacity=2),
        bus.subscribe(capacity=3) as slow,
        bus.subscribe(raises) as broken,
    ):
        for number in range(10):
            bus.publish(event(number))
        assert await read(quick, 10) == [event(number) for number in range(10)]
        assert seen == [event(number) for number in range(10)]
        assert await read(slow, 4) == [event(0), event(1), event(2), Missed(7)]
        bus.publish(event(10))
        assert await read(slow, 1) == [event(10)]
        bus.close()
        assert await read(broken, 1) == []
    assert "a subscriber raised" in caplog.text
    assert "a subscriber's filter raised" in caplog.text


async def test_a_filter_chooses_and_a_closed_stream_ends_after_what_is_queued():
    bus = EventBus()
    with bus.subscribe(lambda one: one.detail == "2") as only:
        for number in range(4):
            bus.publish(event(number))
        bus.close()
        assert await read(only, 9) == [event(2)]


async def test_a_reader_waits_for_what_comes():
    bus = EventBus()
    with bus.subscribe() as later:
        reading = asyncio.create_task(read(later, 1))
        await asyncio.sleep(0)
        bus.publish(event(1))
        assert await reading == [event(1)]
