"""A disk that is full before the daemon starts: it reads and serves, and writes once there is room.

On real ones, file systems made for each test, in memory and in a file; what only SQLite can say is
said by the disk of ``tests/support/faults/faulty_vfs.py``.
"""

import asyncio
import contextlib
import errno
import functools
import itertools
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import apsw
import pytest

from crdt.authoring.intents import AddStory
from crdt.contract.ready import Persist
from machines.values import FreeText, StoryId
from node import daemon
from node.client.http_client import Client
from node.config import settings as config
from node.daemon import open_driver, open_replica
from node.provisioning import init_join
from node.runtime.driver import Driver
from node.storage.store import Store
from node.system import clock
from node.system.errors import DiskFull, OperatorError, StoreFailure
from node.system.home import Home
from tests.support.builders.stores import running, speaks
from tests.support.faults.faulty_vfs import CHANGES, TAKES_SPACE, Fault, FrailDisk

MIB = 1024 * 1024
EXT4 = Path("/sys/fs/ext4")


@pytest.fixture(autouse=True)
def _tries_at_once(monkeypatch):
    monkeypatch.setattr("node.runtime.batch.PROBE_SECONDS", 0.0)
    monkeypatch.setattr("node.runtime.driver.PROBE_SECONDS", 0.0)
    monkeypatch.setattr("node.storage.database.BUSY_MS", 0)


class Disk:
    """A file system of its own, small enough to be filled."""

    def __init__(self, path):
        self.path = path
        self._rest = path / "rest"

    def fill(self):
        """Take every byte that is left."""
        with self._rest.open("ab", buffering=0) as file:
            for size in (4096, 1):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError:
                    continue
        assert os.statvfs(self.path).f_bavail == 0

    def mount_again(self, how):
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.path)], check=True)

    def fail(self):
        """The kernel finds it broken, and lets nobody write to it any longer."""
        device = self.path.stat().st_dev
        place = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        switch = EXT4 / place / "trigger_fs_error"
        if not switch.exists():
            pytest.skip(f"there is no {switch} to break a file system by")
        switch.write_text("1")

    def make_room(self):
        self._rest.unlink()


def in_memory(path):
    return [f"mount -t tmpfs -o size={4 * MIB} gangline-test {path}"]


def in_a_file(path):
    image = path.with_suffix(".image")
    with image.open("wb") as file:
        file.truncate(16 * MIB)
    return [f"mkfs.ext4 -q {image}", f"mount -o loop,errors=remount-ro {image} {path}"]


@contextlib.contextmanager
def mounted(path, make):
    if sys.platform != "linux" or os.getuid():
        pytest.skip("only root on Linux can make a disk that is small enough to fill")
    path.mkdir()
    for command in make(path):
        try:
            subprocess.run(command.split(), capture_output=True, text=True, check=True)
        except FileNotFoundError as missing:
            pytest.skip(f"{missing.filename} is not installed")
        except subprocess.CalledProcessError as refused:
            pytest.skip(f"no file system can be mounted here: {refused.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture(params=[in_memory, in_a_file], ids=["tmpfs", "ext4"])
def disk(tmp_path, request):
    with mounted(tmp_path / "disk", request.param) as disk:
        yield disk


@pytest.fixture
def home(disk):
    home = Home(disk.path / "home")
    init_join.found(home, "house", "")
    return home


def opened(home):
    return open_driver(home, config.load(home.config))


def add(driver, name):
    return driver.propose(AddStory(StoryId(name), FreeText("t")))


def stories(replica):
    return sorted(view.id for view in replica.ledger.board.stories())


@pytest.mark.parametrize("left", ["in order", "by a kill"])
async def test_on_a_full_disk_it_starts_and_writes_by_itself_once_there_is_room(
    disk, home, left, caplog
):
    async with running(opened(home)) as driver:
        await add(driver, "s-1")
        if left == "by a kill":
            kept = {p: p.read_bytes() for p in home.path.glob("store.db*") if p.suffix != ".lock"}
    if left == "by a kill":
        for path, data in kept.items():
            path.write_bytes(data)
    disk.fill()
    async with running(opened(home)) as driver:
        assert "the disk is full" in await driver.query(lambda r: r.write_state(clock.now()).why)
        assert await driver.query(stories) == ["s-1"]
        with pytest.raises(StoreFailure, match=r"while its disk is full \(make room\)"):
            Store(home.store, readonly=True)
        with pytest.raises(StoreFailure, match="the disk is full"):
            await add(driver, "s-2")
        disk.make_room()
        while driver.halted:
            await driver.query(stories)
        receipt = await add(driver, "s-2")
        assert receipt.incarnation == 0, "nobody put the store back: no doubt, the same feed"
        assert await driver.query(stories) == ["s-1", "s-2"]
    said = [r.getMessage() for r in caplog.records if r.name.startswith("gangline")]
    assert [one for one in said if "disk is full" in one or "writes again" in one] == said
    assert len(said) == 2
    async with running(opened(home)) as driver:
        assert await driver.query(stories) == ["s-1", "s-2"]


async def test_a_commit_that_finds_no_room_and_a_restart_lose_nothing(disk, home):
    async with running(opened(home)) as driver:
        await add(driver, "s-1")
        disk.fill()
        kept = ["s-1"]
        while not driver.halted:
            with contextlib.suppress(StoreFailure):
                await add(driver, f"t-{len(kept)}")
                kept.append(f"t-{len(kept)}")
        assert await driver.query(stories) == sorted(kept)
    async with running(opened(home)) as driver:
        assert await driver.query(stories) == sorted(kept)


async def test_on_a_file_system_that_is_mounted_read_only_it_says_so_and_ends(disk, home):
    disk.mount_again("ro")
    with pytest.raises(OperatorError, match="Read-only file system"):
        await daemon.run(home)
    with pytest.raises(OperatorError, match="Read-only file system"):
        opened(home)
    disk.mount_again("rw")
    async with running(opened(home)) as driver:
        assert (await add(driver, "s-1")).incarnation == 0


async def test_a_file_system_that_becomes_read_only_at_work_is_said_and_what_is_on_it_is_shown(
    tmp_path, caplog
):
    with mounted(tmp_path / "disk", in_a_file) as disk:
        home = Home(disk.path / "home")
        init_join.found(home, "house", "")
        running = asyncio.create_task(daemon.run(home))
        ask = functools.partial(asyncio.to_thread, Client(home.socket).ask)
        await speaks(ask, running)
        await ask("POST", "/stories/s-1", {"title": "t"})
        disk.fail()
        for _ in range(2):
            with pytest.raises(OperatorError, match="its file system became read-only"):
                await ask("POST", "/stories/s-2", {"title": "t"})
        assert "became read-only" in (await ask("GET", "/status"))["writable"]
        assert [story["id"] for story in await ask("GET", "/stories")] == ["s-1"]
        await ask("POST", "/stop")
        await running
    said = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 1
    assert "became read-only" in said[0].getMessage()


def test_what_nobody_has_written_yet_cannot_be_read_on_a_full_disk(disk):
    disk.fill()
    with pytest.raises(DiskFull):
        Store(disk.path / "store.db")


@pytest.fixture
def frail(tmp_path):
    disk = FrailDisk()
    path = tmp_path / "store.db"
    with Store(path, vfs=disk.name) as store:
        store.commit(Persist(doubt=""), [], 0)
    yield disk, path
    disk.unregister()


@pytest.mark.parametrize(
    ("error", "number", "words"),
    [(apsw.FullError, 0, "the disk is full"), (apsw.IOError, errno.EDQUOT, "disk quota")],
)
def test_wherever_in_opening_the_room_ends_the_store_is_read_until_there_is_some(
    frail, error, number, words
):
    disk, path = frail
    for at in itertools.count(1):
        disk.fault = fault = Fault(at, error=error, errno=number, calls=TAKES_SPACE, lasting=True)
        with Store(path, vfs=disk.name) as store:
            if not fault.struck:
                disk.fault = None
                break
            assert words in store.no_room
            assert list(store.rows()) == []
            with pytest.raises(DiskFull):
                store.probe()
            disk.fault = None
            assert store.probe()
            assert not store.no_room
            store.commit(Persist(doubt=""), [], 0)
    assert at > 5


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EIO, "the disk failed"), (errno.EDQUOT, "disk quota")]
)
def test_what_a_failed_sync_may_have_lost_is_shown_to_nobody(frail, number, words):
    # Of what is in the WAL nothing says that it is on disk until a sync of it has worked.
    disk, path = frail
    disk.fault = Fault(1, error=apsw.IOError, errno=number, calls={"sync"})
    with pytest.raises(StoreFailure, match=words) as told:
        Store(path, vfs=disk.name)
    assert not isinstance(told.value, DiskFull)


@pytest.mark.parametrize(
    ("number", "calls", "words"),
    [
        (errno.EDQUOT, TAKES_SPACE, "disk quota is full"),
        (errno.EROFS, CHANGES - {"sync"}, "became read-only .*mount"),
        (errno.EIO, CHANGES, "the disk failed"),
    ],
)
async def test_whatever_keeps_it_from_writing_is_named_and_it_goes_on_by_itself(
    tmp_path, number, calls, words
):
    home = Home(tmp_path / "home")
    init_join.found(home, "house", "")
    disk = FrailDisk()
    store = Store(home.store, vfs=disk.name)
    settings = config.load(home.config)
    async with running(Driver(store, partial(open_replica, home, settings))) as driver:
        await add(driver, "s-1")
        disk.fault = Fault(1, error=apsw.IOError, errno=number, calls=calls, lasting=True)
        for name in ("s-2", "s-3"):
            with pytest.raises(StoreFailure, match=words):
                await add(driver, name)
        assert re.search(words, await driver.query(lambda r: r.write_state(clock.now()).why))
        assert await driver.query(stories) == ["s-1"]
        disk.fault = None
        while driver.halted:
            await driver.query(stories)
        assert (await add(driver, "s-2")).incarnation == 0
    disk.unregister()
    async with running(opened(home)) as driver:
        assert await driver.query(stories) == ["s-1", "s-2"]


def test_a_witness_that_cannot_be_written_costs_no_commit(tmp_path, monkeypatch):
    # A file system that copies on write needs room to write over what is there.
    path = tmp_path / "store.db"

    def no_share(*_):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with Store(path) as store:
        monkeypatch.setattr("node.storage.rollback_guard.os.pwrite", no_share)
        store.commit(Persist(incarnation=7, doubt=""), [], 0)
        monkeypatch.undo()
    with Store(path) as store:
        assert (store.meta("incarnation"), store.doubt) == ((7).to_bytes(4, "big"), "")
