"""A node that listens on loopback in the test's own loop: real TLS, a real driver and store."""

import asyncio
import contextlib

from crdt.contract.ready import Ready
from node.network.connection_limits import ConnectionLimiter
from node.network.handshake import AcceptMessage, HelloRefused, Identity
from node.network.link_supervisor import LinkSupervisor
from node.network.listener import Listener
from node.runtime.driver import Driver
from node.storage.store import Store
from node.system import clock
from tests.support.builders.cluster import Cluster


class OpenAuthorizer:
    """Lets in the nodes it is given, and whoever shows the ticket ``good``."""

    def __init__(self, *nodes):
        self.nodes = nodes

    def why_not(self, node):
        return "" if node in self.nodes else "not_a_member"

    async def join(self, node, ticket, name):
        if ticket != b"good":
            raise HelloRefused("bad_ticket")
        return AcceptMessage("founder", name)


class Listening:
    """What is known of the node from outside, and what stands behind it."""

    def __init__(self, address, me, driver, door):
        self.address, self.me, self.driver, self.limiter = address, me, driver, door

    def __iter__(self):
        return iter((self.address, self.me, self.driver))


@contextlib.asynccontextmanager
async def listening(tmp_path, *members, address="127.0.0.1:0"):
    """A node that listens; unpacks to its address, its identity and its driver."""
    cluster = Cluster(1)
    me = Identity(cluster.keys[0], cluster.found.id)
    door = ConnectionLimiter(clock.monotonic)
    with Store(tmp_path / "store.db") as store:
        driver = Driver(store, lambda *_: (cluster.replicas[0], Ready()))
        running = asyncio.create_task(driver.run())
        holder = LinkSupervisor(driver, door, lambda node: node.short)
        listener = Listener(driver, me, OpenAuthorizer(*members), tmp_path, holder)
        try:
            yield Listening(await listener.start(address), me, driver, door)
        finally:
            await listener.stop()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            await driver.stop()


async def until(holds):
    """Wait for what has no event of its own."""
    while not holds():  # noqa: ASYNC110 - it may change at any time
        await asyncio.sleep(0.01)
