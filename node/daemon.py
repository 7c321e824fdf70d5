"""The daemon: puts the parts together, runs until it is stopped, and shuts down in order.

Start: key, config, lock, store, replay, socket, links. End: no new links, a seal, the last commit,
the store closed.
"""

import asyncio
import contextlib
import logging
import os
import resource
import secrets
import signal
from collections.abc import Coroutine
from functools import partial
from typing import Any

from crdt.contract.checkpoint import Checkpoint, pass_on
from crdt.contract.ready import Ready
from crdt.replica import Replica
from machines.values import NodePubkey
from node.api import server, unix_socket
from node.api.service import NodeService
from node.config import addresses, key_file, settings
from node.config.settings import Config
from node.network.connection_limits import ConnectionLimiter
from node.network.dialer import Dialer
from node.network.handshake import Identity
from node.network.join_authorizer import JoinAuthorizer
from node.network.link_supervisor import LinkSupervisor
from node.network.listener import Listener
from node.reporting import queries, store_origin
from node.runtime import leave_rotate, recovery_watch, stale_executions
from node.runtime.driver import Driver
from node.runtime.operator_notices import Notices
from node.storage import recovery
from node.storage.history import HistoryBounds
from node.storage.meta_keys import MetaKey
from node.storage.recovery_scan import InMemoryRows
from node.storage.rollback_guard import host_name
from node.storage.store import Store
from node.system import accepting_socket, clock, process_memory
from node.system.errors import OperatorError, StoreDamaged
from node.system.exit_codes import Exit
from node.system.home import Home
from node.system.log_format import start_logging

log = logging.getLogger("gangline")

SEED_BYTES = 32
DAMAGED = "%s; it is set aside, and rebuilt from what verifies"


def open_replica(
    home: Home, config: Config, store: Store, checkpoint: Checkpoint = pass_on
) -> tuple[Replica, Ready]:
    """Build the replica from the store; also returns what reading it left to be written.

    Args:
        checkpoint: called after each step of work that may be long.

    Raises:
        StoreDamaged: the store does not hold what was written.
        OperatorError: the key or the config is wrong, or the config is not the store's.
    """
    key = key_file.load(home.key)
    store_origin.check_config(home.config, config, store.first_records())
    store_origin.check_own(store, key.pubkey, config)
    cluster, founder = store_origin.named(config)
    written = store.meta(MetaKey.INCARNATION)
    replica = Replica(
        key,
        cluster,
        founder,
        seed=secrets.token_bytes(SEED_BYTES),
        incarnation=int.from_bytes(written, "big") if written is not None else 0,
        doubt=store.doubt,
        written=store.own_end(),
        former_end=store.former_end(),
        former=leave_rotate.former(store),
        checkpoint=checkpoint,
    )
    replica.beacon.host = host_name()
    if store.doubt:
        log.warning("%s: %s; the next write opens a new feed", store.path, store.doubt)
    with process_memory.gc_paused():
        ready = replica.replay(
            store.rows(), store.proofs(), store.rendered(), clock.now(), settled=store.settled()
        )
    if ready.damage:
        raise StoreDamaged(f"{store.path} is damaged: {ready.damage}")
    outside = replica.ledger.roster.write_block(replica.own)
    if (
        outside and replica.own == founder
    ):  # another has just joined, or learns it at its next write
        log.warning("%s", outside)
    peers = {*store.addresses(), *(NodePubkey.from_hex(peer.node) for peer in config.peers)}
    known = bool(peers - {key.pubkey})
    replica.store_incomplete = recovery.write_block_after_recovery(
        store, known=known, mute=bool(outside)
    )
    if replica.store_incomplete:
        log.error("%s", replica.store_incomplete)
    return replica, ready


def open_driver(
    home: Home,
    config: Config,
    *,
    accept_loss: bool = False,
    notices: Notices | None = None,
) -> Driver:
    """Open the driver over this node's store; if that is damaged, over a rebuilt one.

    Args:
        accept_loss: write, even if no other node has what a damaged store lost.
        notices: shows the operator that the store was rebuilt.

    Raises:
        OperatorError: the key, the config or the disk.
    """

    def opened() -> Driver:
        store = Store(home.store, history=HistoryBounds(config.history_rows, config.history_days))
        try:
            if accept_loss:
                store.set_meta(MetaKey.HURT, b"")
            if home.next_key.exists() and not store.no_room:
                leave_rotate.settle(home, store, open_replica(home, config, store)[0])
            driver = Driver(store, partial(open_replica, home, config))
        except BaseException:
            store.close()
            raise
        if driver.halted:
            log.error("%s", driver.halted)
        return driver

    if recovery.unfinished_rebuild(home.store) is not None:
        _rebuild(home, config, notices)
    elif not home.store.exists() and recovery.existed(home.store):
        log.warning("%s is gone: %s", home.store, recovery.missing_message(home))
    try:
        return opened()
    except StoreDamaged as damage:
        log.error(DAMAGED, damage)  # noqa: TRY400 - a sentence is enough
    _rebuild(home, config, notices)
    return opened()


def _rebuild(
    home: Home, config: Config, notices: Notices | None, known: InMemoryRows | None = None
) -> None:
    store_origin.check_config(home.config, config, recovery.first_records(home.store))
    told = recovery.rebuild(home.store, *store_origin.named(config), known).message
    log.warning("%s", told)
    if notices is not None:
        at = f"{clock.wall()[:19]}Z"
        notices.add(f"the store was found damaged and was mended at {at}: {told}")


async def run(home: Home, *, accept_loss: bool = False) -> None:
    """Run the node until it is stopped, also through a change of its key.

    Raises:
        OperatorError: something an operator can mend.
    """
    whole = True
    notices = Notices()
    recall: list[InMemoryRows] = []
    while True:
        try:
            if not await _live(home, notices, recall, accept_loss=accept_loss):
                return
        except StoreDamaged as damage:
            # Once: if the disk damages the store again, the operator must act.
            if not whole:
                raise
            whole = False
            log.error(DAMAGED, damage)  # noqa: TRY400 - a sentence is enough
            known = recall.pop() if recall else None
            _rebuild(home, settings.load(home.config), notices, known)
        accept_loss = False


async def _live(
    home: Home, notices: Notices, recall: list[InMemoryRows], *, accept_loss: bool
) -> bool:
    """Run the node under its present key; returns whether to go on under the next key.

    Args:
        recall: receives what the node still knows if its store is found damaged.
    """
    config = settings.load(home.config)
    home.make()
    driver = open_driver(home, config, accept_loss=accept_loss, notices=notices)
    process_memory.gc_freeze_all()
    stopping = asyncio.Event()
    leaving = leave_rotate.LeaveOrRotate(driver, home, stopping.set)
    called = queries.Called(lambda: driver.roster)
    notices.called, notices.own = called, driver.own.hex()
    notices.has_left = leaving.has_left
    driver.bus.tap(notices.on_event)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(accepting_socket.handler())
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    me = Identity(key_file.load(home.key), driver.cluster)
    holder = LinkSupervisor(driver, ConnectionLimiter(clock.monotonic), called, leaving.own_reason)
    listener = Listener(driver, me, JoinAuthorizer(driver), home.run, holder)
    listening = None
    try:
        address = await listener.start(config.listen) if config.listen else ""
        advertised = addresses.advertised(config.advertise, address)
        driver.advertise(advertised)
        if address and not advertised:
            log.warning("%s names no host that others could dial; set advertise", address)
        given = {NodePubkey.from_hex(peer.node): [peer.address] for peer in config.peers}
        known = addresses.merged(driver.store.addresses(), given)
        dialer = Dialer(driver, me, known, config.links, holder, leaving.has_left)
        dialer.given = given
        dialer.spare = lambda: key_file.load(home.next_key) if home.next_key.exists() else None
        listening = unix_socket.bind(home.place)
        home.record_socket()
        desk = NodeService(driver, dialer, config, address, leaving, stopping.set, notices)
        http = server.build(desk)
        log.info("node %s listens on %s; local API at %s", driver.own.short, address, home.socket)
        await _until(
            stopping,
            driver.run(),
            dialer.run(),
            leaving.watch(),
            stale_executions.watch(driver),
            recovery_watch.fetch_rest(driver),
            server.serve(http, listening),
        )
    except StoreDamaged:
        recall.append(driver.recall())
        raise
    finally:
        await listener.stop()
        try:
            await driver.stop()
        finally:
            if listening is not None:
                listening.close()
                with contextlib.suppress(OSError):  # a stale socket is replaced at the next start
                    home.place.unlink()
    return leaving.switching


async def _until(stopping: asyncio.Event, *work: Coroutine[Any, Any, Any]) -> None:
    """Run all parts until stopped, or until one fails; then end every part."""
    tasks = [asyncio.create_task(one) for one in work]
    told = asyncio.create_task(stopping.wait())
    try:
        done, _ = await asyncio.wait((*tasks, told), return_when=asyncio.FIRST_COMPLETED)
        for task in done - {told}:
            task.result()
    finally:
        for task in (*tasks, told):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, told, return_exceptions=True)


def main(home: Home, *, accept_loss: bool = False, log_format: str | None = None) -> None:
    """Run the daemon in this process.

    Args:
        log_format: overrides the config.

    Raises:
        OperatorError: something an operator can fix; also logged if the log is JSON.
    """
    log_format = log_format or settings.load(home.config).log_format
    start_logging(log_format)
    # The key is in memory: files are readable by the owner only, and there is no core dump.
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    process_memory.return_large_blocks()
    try:
        asyncio.run(run(home, accept_loss=accept_loss))
    except OperatorError as trouble:
        if log_format == "text":
            raise
        log.critical("%s", trouble.message)
        raise SystemExit(trouble.code) from None
    except Exception:
        # The interpreter would print it unescaped, and a peer's text may be in it.
        log.critical("the daemon stops because of an internal error", exc_info=True)
        raise SystemExit(Exit.ENVIRONMENT) from None
