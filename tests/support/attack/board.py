"""A board that is large before the attack begins: records of a member that does nothing else."""

import asyncio

from tests.support.attack.environment import eventually
from tests.support.attack.member import HostileMember, parts, wall_ms
from tests.support.builders.record_author import RecordAuthor, as_frame

STORIES = 1_000
AT_ONCE = 20
"""Messages between two looks at whether the daemon has taken them."""
SECONDS_MAX = 900
"""A few thousand records a second are signed here, and checked by each of the daemons."""


async def fill(ground, records):
    """Write so many records, and wait until every daemon holds them."""
    if not records:
        return
    pen = RecordAuthor(ground.scribe, ground.cluster, wall_ms() - records)

    async def write(one):
        written = (pen.story(f"old-{n % STORIES}", title=f"{n}") for n in range(records))
        for number, part in enumerate(parts(written)):
            one.tell(as_frame(*part))
            if number % AT_ONCE == 0:
                await one.word()

    await HostileMember(ground, ground.scribe, ground.targets[0]).play(write)
    who = ground.scribe.pubkey.hex()
    await asyncio.to_thread(eventually, lambda: _held(ground, who) == {records},
                            f"every node holds {records} records", SECONDS_MAX)  # fmt: skip


def _held(ground, author):
    """How many records of an author each daemon holds."""
    return {
        sum(row["live"] for row in node.client.ask("GET", "/inspect/feeds")
            if row["author"] == author)
        for node in ground.fleet.nodes
    }  # fmt: skip
