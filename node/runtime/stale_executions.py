"""Resets own executions whose ``exec`` sends no heartbeat, and logs it. Their agents may still run.

Stands beside ``daemon.py``, which runs it. Source: protocol §7.
"""

import asyncio
import contextlib
import logging
from functools import partial

from crdt.authoring.intents import FireExecution
from crdt.primitives.errors import ProposalRefused
from crdt.replica import Replica
from machines.execution import ExecutionState, Pending, Reset, Running
from machines.values import Instant, StoryId
from node.runtime.driver import Driver
from node.system.errors import StoreFailure

log = logging.getLogger("gangline")

LOOK_SECONDS = 15.0
SILENT_LOOKS = 4

# An own execution's state and last heartbeat; and at how many looks it was unchanged.
Sign = tuple[ExecutionState, Instant | None]
Silent = dict[str, tuple[Sign, int]]


async def watch(driver: Driver) -> None:
    """Reset own executions whose ``exec`` is silent, until cancelled."""
    silent: Silent = {}
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        silent = await reset_stale(driver, silent)


async def reset_stale(driver: Driver, before: Silent) -> Silent:
    """Reset own executions without a heartbeat for ``SILENT_LOOKS`` looks; returns this look.

    A running ``exec`` sends a heartbeat every 15 s. Looks are counted, not time: a daemon that was
    frozen itself has missed one look, and the heartbeats wait in its socket.

    Args:
        before: what the previous look returned.
    """

    def working(replica: Replica) -> dict[str, Sign]:
        return {
            story: (one.state, replica.beacon.beats.get(story))
            for story, one in replica.ledger.board.executions(replica.own)
            if isinstance(one.state, Pending | Running)
        }

    silent: Silent = {}
    for story, sign in (await driver.query(working)).items():
        last, looks = before.get(story, (None, 0))
        silent[story] = (sign, looks + 1 if sign == last else 0)
        if silent[story][1] < SILENT_LOOKS:
            continue
        # A refusal, such as for a full disk, is tried again at the next look.
        with contextlib.suppress(ProposalRefused, StoreFailure):
            await driver.propose(FireExecution(StoryId(story), Reset()))
            await driver.query(partial(_forget_beat, story))
            log.warning(
                "reset the execution of %s: gangline exec sent no heartbeat for about a minute; if "
                "it was killed, its agent may still be running",
                story,
            )
    return silent


def _forget_beat(story: str, replica: Replica) -> None:
    replica.beacon.beats.pop(story, None)
