"""Publishes what happened to local subscribers.

Takes observations from ``driver.py`` once they are on disk, and gives each subscriber a separate
stream. A subscriber that raises, stalls or never reads harms no other: its queue is bounded, and if
it falls behind, its stream shows how many events it missed. Source: protocol §6.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec

from crdt.contract.ready import Observation

log = logging.getLogger("gangline.bus")

CAPACITY = 1024


class Missed(msgspec.Struct, frozen=True, tag_field="type", tag="missed"):
    """How many events did not fit this subscriber's queue."""

    count: int


Event = Observation | Missed
Filter = Callable[[Observation], bool]


class Subscription:
    """One subscriber's stream: ``async for event in subscription``."""

    def __init__(self, wanted: Filter, capacity: int) -> None:
        self._wanted = wanted
        self._capacity = capacity
        self._queue: deque[Observation] = deque()
        self._missed = 0
        self._filled = asyncio.Event()
        self._closed = False

    def offer(self, event: Observation) -> None:
        """Queue an event, or count it as missed; never waits."""
        if not self._wanted(event):
            return
        if len(self._queue) >= self._capacity:
            self._missed += 1
        else:
            self._queue.append(event)
        self._filled.set()

    def close(self) -> None:
        """End the stream once what is queued has been read."""
        self._closed = True
        self._filled.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._queue:
                yield self._queue.popleft()
            if self._missed:
                missed, self._missed = self._missed, 0
                yield Missed(missed)
                continue
            if self._closed:
                return
            self._filled.clear()
            await self._filled.wait()


class EventBus:
    """Every subscriber."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._taps: list[Callable[[Observation], None]] = []

    @contextlib.contextmanager
    def subscribe(
        self, wanted: Filter = lambda _event: True, *, capacity: int = CAPACITY
    ) -> Iterator[Subscription]:
        """A stream of the events that pass a filter, until the ``with`` block ends."""
        subscription = Subscription(wanted, capacity)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def tap(self, call: Callable[[Observation], None]) -> None:
        """Call a function for every event; it must not wait. One that raises is logged."""
        self._taps.append(call)

    def publish(self, event: Observation) -> None:
        """Give an event to every subscriber; never waits, never raises."""
        for subscription in tuple(self._subscriptions):
            try:
                subscription.offer(event)
            except Exception:
                log.exception("a subscriber's filter raised")
        for call in self._taps:
            try:
                call(event)
            except Exception:
                log.exception("a subscriber raised")

    def close(self) -> None:
        """End every stream."""
        for subscription in tuple(self._subscriptions):
            subscription.close()
