"""A disk that is full before the daemon starts: it reads and serves, and writes once there is room.

On a real one, a file system in memory made for each test; what only SQLite can say is said by the
disk of ``tests/support/frail.py``.
"""

import contextlib
import itertools
import os
import subprocess
import sys

import apsw
import pytest

from crdt.intents import AddStory
from crdt.ready import Persist
from machines.values import FreeText, StoryId
from node import config, daemon, founding
from node.daemon import open_driver
from node.driver import now
from node.errors import NoRoom, StoreFailure, Trouble
from node.home import Home
from node.store import Store
from tests.support.frail import TAKES_SPACE, Fault, FrailDisk
from tests.unit.node.test_driver import running

DISK_BYTES = 4 * 1024 * 1024


@pytest.fixture(autouse=True)
def _tries_at_once(monkeypatch):
    monkeypatch.setattr("node.turn.PROBE_SECONDS", 0.0)
    monkeypatch.setattr("node.driver.PROBE_SECONDS", 0.0)
    monkeypatch.setattr("node.database.BUSY_MS", 0)


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

    def make_room(self):
        self._rest.unlink()


@pytest.fixture
def disk(tmp_path):
    if sys.platform != "linux" or os.getuid():
        pytest.skip("only root on Linux can make a disk that is small enough to fill")
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "gangline-test", str(path)]
    made = subprocess.run(mount, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield Disk(path)
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def home(disk):
    home = Home(disk.path / "home")
    founding.found(home, "house", "")
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
        assert "the disk is full" in await driver.query(lambda r: r.writable(now()))
        assert await driver.query(stories) == ["s-1"]
        with pytest.raises(StoreFailure, match="make room first"):
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
    with pytest.raises(Trouble, match="Read-only file system"):
        await daemon.run(home)
    with pytest.raises(Trouble, match="Read-only file system"):
        opened(home)
    disk.mount_again("rw")
    async with running(opened(home)) as driver:
        assert (await add(driver, "s-1")).incarnation == 0


def test_what_nobody_has_written_yet_cannot_be_read_on_a_full_disk(disk):
    disk.fill()
    with pytest.raises(NoRoom):
        Store(disk.path / "store.db")


@pytest.fixture
def frail(tmp_path):
    disk = FrailDisk()
    path = tmp_path / "store.db"
    with Store(path, vfs=disk.name) as store:
        store.commit(Persist(doubt=""), [], 0)
    yield disk, path
    disk.unregister()


def test_wherever_in_opening_the_room_ends_the_store_is_read_until_there_is_some(frail):
    disk, path = frail
    for at in itertools.count(1):
        disk.fault = fault = Fault(at, error=apsw.FullError, calls=TAKES_SPACE, lasting=True)
        with Store(path, vfs=disk.name) as store:
            if not fault.struck:
                disk.fault = None
                break
            assert "disk is full" in store.no_room
            assert list(store.rows()) == []
            with pytest.raises(NoRoom):
                store.probe()
            disk.fault = None
            assert store.probe()
            assert not store.no_room
            store.commit(Persist(doubt=""), [], 0)
    assert at > 5


def test_what_a_failed_sync_may_have_lost_is_shown_to_nobody(frail):
    # Of what is in the WAL nothing says that it is on disk until a sync of it has worked.
    disk, path = frail
    disk.fault = Fault(1, error=apsw.IOError, calls={"sync"})
    with pytest.raises(StoreFailure, match="the disk fails"):
        Store(path, vfs=disk.name)
