"""What befalls the home of one of three running nodes: restored, cloned, wiped, damaged.

After each all three must show one digest and hold all that was acknowledged anywhere, and nobody
may have been shown two records in one slot.
"""

import itertools
import random
import shutil
import time
import tomllib
from collections import Counter

from tests.support.harness.daemons import Fleet, agree, eventually, free_port
from tests.support.invariants.acked_writes import AckedWrites, read_store
from tests.support.invariants.laws import Broken
from tests.support.soak.fork_server import ForkServer
from tests.support.soak.kills import Quick, Writers

STORE_FILES = ("store.db", "store.db-wal")
WRITE_SECONDS = 0.4
PAGE_BYTES = 4096


class Trio:
    """Three running nodes, the account of what they promised, and what was done to them."""

    def __init__(self, fleet, rng):
        self.fleet, self.rng = fleet, rng
        den = fleet.found()
        self.nodes = [den, fleet.join(den, "b"), fleet.join(den, "c")]
        self.account = AckedWrites()
        self.done = Counter()
        self._numbers = itertools.count()
        self._settle_down()
        self.settle()

    def _settle_down(self):
        """Give each node an address that outlives it, so that a wiped one can be found."""
        moved = {}
        other = self.nodes[1].client.ask("GET", "/status")["node"]
        for node in self.nodes:
            listen = node.client.ask("GET", "/status")["listen"]
            moved[listen] = f"127.0.0.1:{free_port(self.rng)}"
            node.stop()
        for node, address in zip(self.nodes, moved.values(), strict=True):
            path = node.home / "config.toml"
            text = path.read_text().replace("127.0.0.1:0", address)
            for old, new in moved.items():
                text = text.replace(old, new)
            if node is self.nodes[0]:
                # A founder joined nobody, so its config names no peer to ask after a loss.
                text += f'\n[[peers]]\nnode = "{other}"\naddress = "{list(moved.values())[1]}"\n'
            path.write_text(text)
            node.start()

    def _move(self, clone):
        """Two cannot listen at one address of one host."""
        path = clone.home / "config.toml"
        listen = tomllib.loads(path.read_text())["listen"]
        path.write_text(path.read_text().replace(listen, f"127.0.0.1:{free_port(self.rng)}"))

    def write(self, *nodes):
        """Callers write to nodes for a moment, all at once."""
        writers = [Writers(node, self.account) for node in nodes]
        time.sleep(WRITE_SECONDS)
        for one in writers:
            one.stop()
        for one in writers:
            one.join()

    def settle(self):
        """All agree, and hold everything; seen in the files, with the daemons stopped or not."""
        agree(*self.nodes)
        for node in self.nodes:
            self.account.check(node.store)

    # --- what is done to a node ------------------------------------------------------------------

    def restored(self, victim):
        """An older copy of the store is put back, its witness left as it was."""
        self.write(*self.nodes)
        victim.stop()
        kept = self.fleet.folder / f"backup-{next(self._numbers)}"
        kept.mkdir()
        _copy_store(victim.home, kept)
        victim.start()
        self.write(*self.nodes)
        agree(*self.nodes)
        victim.kill()
        _put_back(kept, victim.home)
        victim.start()
        self.write(*self.nodes)

    def cloned(self, victim):
        """The whole home is copied; both run with one key, and both are written to."""
        self.write(*self.nodes)
        victim.stop()
        clone = Quick(self.fleet.folder / f"clone-{next(self._numbers)}", victim.zygote)
        shutil.copytree(victim.home, clone.home, ignore=shutil.ignore_patterns("run"))
        self._move(clone)
        self.fleet.nodes.append(clone)
        clone.start()
        self.write(clone)
        victim.start()
        self.write(clone, *self.nodes)
        # One after the other, so that what either holds alone gets to the others.
        victim.stop()
        others = [node for node in self.nodes if node is not victim]
        agree(clone, *others)
        clone.stop()
        self.account.see(read_store(clone.store)[0])
        victim.start()
        self.write(*self.nodes)

    def wiped(self, victim):
        """The store is gone; key and config are still there."""
        self.write(*self.nodes)
        agree(*self.nodes)
        victim.kill()
        for path in victim.home.glob("store.db*"):
            path.unlink()
        victim.start()
        eventually(lambda: self._belongs(victim), "the wiped node is told who belongs")
        self.write(*self.nodes)

    def flipped(self, victim):
        """Bits of the file at rest are not what they were."""

        def flip(data):
            for _ in range(self.rng.choice((1, 8, 64))):
                data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)

        self._hurt(victim, flip)

    def truncated(self, victim):
        """The end of the file is gone."""

        def cut(data):
            del data[self.rng.randrange(len(data)) :]

        self._hurt(victim, cut)

    def lost_wal(self, victim):
        """What the last run left beside the file is gone."""
        self.write(*self.nodes)
        agree(*self.nodes)
        victim.kill()
        (victim.home / "store.db-wal").unlink(missing_ok=True)
        self._start_hurt(victim)

    def emptied(self, victim):
        """The file is there, and nothing is in it, or less than its header."""

        def empty(data):
            del data[self.rng.choice((0, 0, 1, 99)) :]

        self._hurt(victim, empty)
        if "are left of it" not in victim.log() and "is damaged" not in victim.log():
            raise Broken("L8", "an empty store was taken for a new one")

    def older_page(self, victim):
        """A page of the file at rest is as it was some writes ago."""
        victim.stop()
        before = victim.store.read_bytes()
        victim.start()

        def swap(data):
            pages = range(min(len(before), len(data)) // PAGE_BYTES)
            places = [slice(n * PAGE_BYTES, (n + 1) * PAGE_BYTES) for n in pages]
            place = self.rng.choice([one for one in places if data[one] != before[one]])
            data[place] = before[place]

        self._hurt(victim, swap)

    def lost_at_work(self, victim):
        """What SQLite keeps beside the file is deleted under the running daemon."""
        self.write(*self.nodes)
        for suffix in ("-shm", "-wal"):
            victim.store.with_name(victim.store.name + suffix).unlink()
            self.write(*self.nodes)
        victim.kill()
        victim.start()
        self.write(*self.nodes)

    def not_writable(self, victim):
        """Its owner may read the file, and not write to it."""
        self.write(*self.nodes)
        victim.stop()
        victim.store.chmod(0o400)
        victim.start()
        self.write(*self.nodes)

    def replaced(self, victim):
        """A link or a folder stands in the file's place until the operator has read the log."""
        self.write(*self.nodes)
        victim.kill()
        away = victim.store.rename(victim.store.with_name("away.db"))
        if self.rng.random() < 0.5:
            victim.store.symlink_to(away)
            mend, word = victim.store.unlink, "it is a symlink"
        else:
            victim.store.mkdir()
            mend, word = victim.store.rmdir, "it is a folder"
        victim.spawn()
        eventually(lambda: victim.process.poll() is not None, "a daemon without a store ends")
        if victim.process.returncode != 1 or word not in victim.log():
            raise Broken("L8", f"a store that is no file is not told of: {victim.log()[-500:]}")
        mend()
        away.rename(victim.store)
        victim.start()
        self.write(*self.nodes)

    def _hurt(self, victim, how):
        self.write(*self.nodes)
        agree(*self.nodes)
        victim.stop()
        data = bytearray(victim.store.read_bytes())
        how(data)
        victim.store.write_bytes(data)
        self._start_hurt(victim)

    def _start_hurt(self, victim):
        before = set(victim.home.glob("*.damaged-*"))
        victim.start()
        if set(victim.home.glob("*.damaged-*")) - before:
            if "is damaged" not in victim.log():
                raise Broken("L8", "a damaged store was set aside and nothing was said")
            self.done["set_aside"] += 1
        agree(*self.nodes)
        self.write(*self.nodes)

    @staticmethod
    def _belongs(node):
        return not node.client.ask("GET", "/status")["writable"]


WHAT = (
    "restored", "cloned", "wiped", "flipped", "truncated", "lost_wal",
    "emptied", "older_page", "lost_at_work", "not_writable", "replaced",
)  # fmt: skip


def run(folder, seed, times):
    """Do each so many times, to a node drawn anew; gives how often, and how much was promised."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    with ForkServer() as zygote, Fleet(folder, lambda home: Quick(home, zygote)) as fleet:
        trio = Trio(fleet, rng)
        for what in rng.sample(WHAT * times, len(WHAT) * times):
            getattr(trio, what)(rng.choice(trio.nodes))
            trio.settle()
            trio.done[what] += 1
        return trio.done, len(trio.account.acknowledged)


def _copy_store(home, folder):
    for name in STORE_FILES:
        if (home / name).exists():
            shutil.copyfile(home / name, folder / name)


def _put_back(folder, home):
    """In place, as a restore program writes: the file keeps its number."""
    for name in STORE_FILES:
        if (folder / name).exists():
            (home / name).write_bytes((folder / name).read_bytes())
        else:
            (home / name).unlink(missing_ok=True)
    (home / "store.db-shm").unlink(missing_ok=True)
