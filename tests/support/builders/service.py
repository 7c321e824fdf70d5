"""A node's local API without its daemon: a real driver and store, asked in the same loop."""

import asyncio
import contextlib
from functools import partial

import httpx

from node.api import app
from node.api.service import NodeService
from node.config import key_file
from node.config import settings as config
from node.daemon import open_replica
from node.network.connection_limits import ConnectionLimiter
from node.network.dialer import Dialer
from node.network.handshake import Identity
from node.network.link_supervisor import LinkSupervisor
from node.provisioning import init_join
from node.runtime.driver import Driver
from node.runtime.leave_rotate import LeaveOrRotate
from node.runtime.operator_notices import Notices
from node.storage.store import Store
from node.system import clock
from node.system.home import Home


@contextlib.asynccontextmanager
async def api(folder, listen="127.0.0.1:7467"):
    """A client of a new node's local API, and the desk behind it."""
    home = Home(folder / "den")
    init_join.found(home, "den", "127.0.0.1:0")
    settings = config.load(home.config)
    store = Store(home.store)
    driver = Driver(store, partial(open_replica, home, settings))
    notices = Notices()
    driver.bus.tap(notices.on_event)
    me = Identity(key_file.load(home.key), driver.cluster)
    leaving = LeaveOrRotate(driver, home, lambda: None)
    holder = LinkSupervisor(driver, ConnectionLimiter(clock.monotonic), lambda node: node.short)
    dialer = Dialer(driver, me, {}, 1, holder)
    desk = NodeService(driver, dialer, settings, listen, leaving, lambda: None, notices)
    serving = asyncio.create_task(driver.run())
    transport = httpx.ASGITransport(app=app.build(desk), raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
            yield client, desk
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        await driver.stop()
