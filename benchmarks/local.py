"""A local write: durable and answered; then seen on another node of the same host.

``python -m benchmarks.local [WRITES]``. The write goes through the daemon's own driver and store,
beside one row put into SQLite with the same settings and a commit. Then two real daemons: a story
is added on one, and its change comes out of the other's stream; beside a bare websocket round trip
between two processes, and that commit. Each pair takes turns, and medians are compared. Source:
protocol §15.
"""

import asyncio
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from queue import Queue
from threading import Thread

import apsw
from websockets.asyncio.client import connect

from benchmarks.report import Measured, say
from crdt.authoring.intents import AddStory
from machines.values import FreeText, StoryId
from node.cli.demo.demo_node import TIMEOUT_SECONDS, DemoNode, agreed
from node.config import settings
from node.daemon import open_driver
from node.provisioning import init_join
from node.runtime.driver import Driver
from node.system import clock
from node.system.home import Home

WRITES = 500
ROW = bytes(400)
"""About as long as a record."""
ECHO = """
import asyncio
from websockets.asyncio.server import serve

async def echo(link):
    async for message in link:
        await link.send(message)

async def main():
    async with serve(echo, "127.0.0.1", 0, compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

asyncio.run(main())
"""


class Bare:
    """SQLite alone, set as the store sets it."""

    def __init__(self, folder: Path) -> None:
        self._db = apsw.Connection(str(folder / "bare.db"))
        self._db.pragma("journal_mode", "wal")
        self._db.pragma("synchronous", "full")
        self._db.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, value BLOB)")

    def write(self) -> None:
        """One row, on disk when this returns."""
        with self._db:
            self._db.execute("INSERT INTO records (value) VALUES (?)", (ROW,))


async def milliseconds(work: Awaitable[object]) -> float:
    """How long something takes."""
    began = clock.monotonic()
    await work
    return (clock.monotonic() - began) * 1000


@asynccontextmanager
async def driven(folder: Path) -> AsyncIterator[Driver]:
    """A driver at work over a store of its own."""
    home = Home(folder / "home")
    init_join.found(home, "bench", "")
    driver = open_driver(home, settings.load(home.config))
    running = asyncio.create_task(driver.run())
    try:
        yield driver
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await driver.stop()


async def write_both(folder: Path, writes: int) -> tuple[float, float]:
    """Medians of a write through the driver, and of a bare commit, in milliseconds."""
    ours, bare = [], []
    below = Bare(folder)
    async with driven(folder) as driver:
        for number in range(writes):
            intent = AddStory(StoryId(f"s-{number}"), FreeText(f"story {number}"))
            ours.append(await milliseconds(driver.propose(intent)))
            began = clock.monotonic()
            below.write()
            bare.append((clock.monotonic() - began) * 1000)
    return statistics.median(ours), statistics.median(bare)


def reach(folder: Path, writes: int) -> float:
    """The median of a write on one daemon until another's stream shows it, in milliseconds."""
    one, two = DemoNode(folder / "one"), DemoNode(folder / "two")
    one.command("init", "--listen", "127.0.0.1:0")
    one.start()
    try:
        ticket = one.command("invite")
        two.command("join", "--listen", "127.0.0.1:0", stdin=ticket)
        two.start()
        return statistics.median(seen_after(one, two, writes))
    finally:
        for node in (one, two):
            if node.process is not None:
                node.process.terminate()
                node.process.wait()


def seen_after(one: DemoNode, two: DemoNode, writes: int) -> list[float]:
    """Fire an event on one daemon, and wait for it in the stream of the other."""
    names = [f"s-{number}" for number in range(writes)]
    for name in names:
        one.client.ask("POST", f"/stories/{name}", {"title": name})
    agreed([one, two])
    heard: Queue[str] = Queue()

    def listen() -> None:
        for event in two.client.stream("/events"):
            if event["type"] == "stage_moved":
                heard.put(event["story"])

    Thread(target=listen, daemon=True).start()
    found = []
    for name in names:
        began = clock.monotonic()
        one.client.ask("POST", f"/stories/{name}/events", {"event": {"event": "deps_met"}})
        while heard.get(timeout=TIMEOUT_SECONDS) != name:
            pass
        found.append((clock.monotonic() - began) * 1000)
    return found


async def round_trips(trips: int) -> float:
    """The median of a bare websocket round trip to another process, in milliseconds."""
    echo = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ECHO, stdout=asyncio.subprocess.PIPE
    )
    assert echo.stdout is not None
    try:
        port = int(await echo.stdout.readline())
        async with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as link:

            async def there_and_back() -> None:
                await link.send(ROW)
                await link.recv()

            found = [await milliseconds(there_and_back()) for _ in range(trips)]
        return statistics.median(found)
    finally:
        echo.terminate()
        await echo.wait()


def main() -> None:
    """Measure, and print."""
    writes = int(sys.argv[1]) if len(sys.argv) > 1 else WRITES
    with tempfile.TemporaryDirectory(prefix="gangline-bench-") as folder:
        ours, commit = asyncio.run(write_both(Path(folder), writes))
        say(
            Measured(
                "a local write, durable, to the caller's answer",
                f"{ours:.2f} ms",
                f"one commit of SQLite {commit:.2f} ms",
                ours / commit,
                "at most 3",
            )
        )
        seen = reach(Path(folder), writes)
        trip = asyncio.run(round_trips(writes))
        say(
            Measured(
                "a local write until another daemon's stream shows it",
                f"{seen:.2f} ms",
                f"ten bare round trips of {trip:.2f} ms and that commit",
                seen / (10 * trip + commit),
                "at most 1",
            )
        )


if __name__ == "__main__":
    main()
