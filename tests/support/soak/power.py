"""Power cuts, and errors at every n-th call of the disk, under the very store that ships.

Lives of a daemon follow each other on one frail disk. After each the laws are checked on what the
disk kept, and the next life must start from it.
"""

import asyncio
import errno
from collections import Counter

import apsw

from node.system.errors import StoreFailure
from tests.support.faults.faulty_vfs import CHANGES, EVERY, TAKES_SPACE, Fault
from tests.support.soak.in_process_daemon import House
from tests.support.soak.slow import LongSyncs

LIVES_IN_A_HOUSE = 12
WRITES = 3
REACH = 130
"""About as many changes as a life makes: a cut is drawn from the first so many."""
CALLS_MAX = 2_000

ERRORS = {
    "ENOSPC": lambda at: Fault(at, error=apsw.FullError, calls=TAKES_SPACE, lasting=True),
    "EDQUOT": lambda at: Fault(
        at, error=apsw.IOError, errno=errno.EDQUOT, calls=TAKES_SPACE, lasting=True
    ),
    "EROFS": lambda at: Fault(
        at, error=apsw.IOError, errno=errno.EROFS, calls=CHANGES - {"sync"}, lasting=True
    ),
    "EIO": lambda at: Fault(at, error=apsw.IOError, errno=errno.EIO, calls=EVERY),
}


def cut_power(folder, rng, cuts):
    """Cut the power so many times; gives how often each kind of call was struck."""
    struck = Counter()
    number = 0
    while struck.total() < cuts:
        with _house(folder / f"house-{number}", rng) as house:
            for _ in range(min(LIVES_IN_A_HOUSE, cuts - struck.total())):
                house.disk.fault = Fault(rng.randint(1, REACH))
                live(house)
                if house.disk.fault.struck:
                    struck[house.disk.fault.struck] += 1
                house.cut()
                house.check()
            live(house)
            house.check()
        number += 1
    return struck


def take_long(folder, rng, syncs, seconds):
    """Let so many syncs take long, some of them to a power cut; gives how they ended."""
    struck = Counter()
    number = 0
    while struck["well"] < syncs:
        with _house(folder / f"slow-{number}", rng) as house:
            live(house)
            for cut in (False, True):
                house.disk.syncs = LongSyncs(house.disk, rng, seconds, cut=cut)
                house.dropped.clear()
                live(house)
                struck["in a power cut" if cut else "well"] += house.disk.syncs.struck
                if cut:
                    house.cut()
                else:
                    house.disk.syncs.check(house.dropped)
                house.check()
            house.disk.syncs = None
            live(house)
            house.check()
        number += 1
    return struck


def fail_every_call(folder, rng, kind, *, first=1, step=1):
    """Let a short script meet an error at its first call, its second, and so on, to its last."""
    struck = Counter()
    for at in range(first, CALLS_MAX, step):
        with _house(folder / f"{kind}-{at}", rng) as house:
            live(house)
            house.disk.fault = ERRORS[kind](at)
            live(house)
            house.check()
            if not house.disk.fault.struck:
                return struck
            struck[house.disk.fault.struck] += 1
            if at % 2:
                house.cut()
                house.check()
            house.disk.fault = None
            live(house)
            house.check()
    raise AssertionError(f"a script of more than {CALLS_MAX} calls: nothing was shown for the rest")


def live(house, writes=WRITES):
    """One life. Whatever the disk does, the daemon says it in a sentence."""
    try:
        asyncio.run(house.life(writes))
    except StoreFailure:
        if house.disk.fault is None or not house.disk.fault.struck:
            raise


def _house(folder, rng):
    folder.mkdir()
    return House(folder, rng)
