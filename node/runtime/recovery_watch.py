"""Waits until peers have sent what a rebuilt store lacks; then the node may write again.

Stands beside ``driver.py``; ``node/storage/recovery.py`` rebuilt the store. Source: protocol §11.
"""

import asyncio
import contextlib
import logging

from crdt.replica import Replica
from node.runtime.driver import Driver
from node.storage.meta_keys import MetaKey
from node.system.errors import StoreFailure
from node.system.plurals import counted

log = logging.getLogger("gangline.store")

LOOK_SECONDS = 1.0


async def fetch_rest(driver: Driver) -> None:
    """Log how much of what a rebuilt store lacks has arrived, and when all has."""
    before = -1
    while True:
        with contextlib.suppress(StoreFailure):  # such as a full disk; tried again
            if not await driver.on_disk(lambda store: store.meta(MetaKey.HURT)):
                break
            many, linked, agrees = await driver.query(_how_far)
            if agrees:
                await driver.on_disk(lambda store: store.set_meta(MetaKey.HURT, b""))
                await driver.query(_lift)
                log.warning(
                    "the store holds what other nodes hold again: %s", counted(many, "record")
                )
            elif many != before:
                log.info(
                    "fetching the rest: %s so far, %s linked",
                    counted(many, "record"),
                    counted(linked, "node"),
                )
            before = many
        await asyncio.sleep(LOOK_SECONDS)
    await asyncio.Event().wait()


def _how_far(replica: Replica) -> tuple[int, int, bool]:
    sessions = list(replica.sessions.all())
    held = sum(len(list(feed.entries())) for feed in replica.ledger.feeds.values())
    return held, len(sessions), any(session.agrees for session in sessions)


def _lift(replica: Replica) -> None:
    replica.store_incomplete = ""
