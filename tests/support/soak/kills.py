"""Kills of real daemons with writes in flight: at random, and at every named point.

A lane kills one node of a cluster of three again and again, while the two others stay. After each
death the laws are checked on the file it left; at the end all three must agree, and hold all that
was acknowledged anywhere.
"""

import itertools
import random
import signal
import threading
import time
from collections import Counter

import apsw

from node.client.http_client import Client
from node.storage.migrations import APPLICATION_ID, MIGRATIONS, add_functions
from node.system.errors import NoDaemon
from node.system.home import Home
from tests.support.harness.daemons import Failed, Fleet, Node, agree, eventually
from tests.support.invariants.acked_writes import AckedWrites
from tests.support.soak.fork_server import FOUND, ForkServer
from tests.support.soak.points import POINTS

AT_RANDOM = "at_random"
WRITERS = 2
KILLS_IN_A_CLUSTER = 80
EARLY = 0.3
"""How many of the random kills fall on a daemon that is still starting."""
PASSES = {"in_a_migration": 3, "in_key_creation": 6}
PASSES_ELSE = 8


class Quick(Node):
    """A node whose daemon is forked from one that has imported everything."""

    def __init__(self, home, zygote):
        super().__init__(home)
        self.zygote = zygote
        self.client = Client(Home(home).socket)
        self.store = Home(home).store

    def start(self):
        self.spawn()
        eventually(self.answers, "the daemon answers")

    def spawn(self, **fault):
        log = self.home.parent / f"{self.home.name}.log"
        self.process = self.zygote.start(self.home, log, **fault)

    def answers(self):
        if self.process.poll() is not None:
            raise Failed(f"the daemon ended: {self.log()[-2000:]}")
        return self.speaks()

    def speaks(self):
        try:
            self.client.ask("GET", "/status")
        except NoDaemon:
            return False
        return True

    def digest(self):
        return self.client.ask("GET", "/status")["digest"]


class Writers:
    """Callers of one daemon's local API, until it is gone. What was acknowledged is noted."""

    numbers = itertools.count()

    def __init__(self, node, account):
        self._node, self._account = node, account
        self._faults = []
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(next(self.numbers),)) for _ in range(WRITERS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stopping.set()

    def join(self):
        for thread in self._threads:
            thread.join()
        if self._faults:
            raise self._faults[0]

    def _run(self, number):
        try:
            for turn in itertools.count():
                if self._stopping.is_set():
                    return
                path = f"/stories/w-{number}-{turn}"
                self._tell("POST", path, {"title": "first"})
                if turn % 2:
                    for seconds in (60, 90):
                        key = ("claim", path.rpartition("/")[2])
                        self._tell("POST", f"{path}/claim", {"seconds": seconds}, key)
                else:
                    self._tell("POST", f"{path}/events", {"event": {"event": "deps_met"}})
        except NoDaemon:
            return
        except Exception as fault:  # noqa: BLE001 - told to whoever waits
            self._faults.append(fault)

    def _tell(self, method, path, body, key=None):
        written = self._node.client.ask(method, path, body)
        slot = (bytes.fromhex(written["author"]), written["incarnation"], written["clock"])
        self._account.acknowledge(slot, bytes.fromhex(written["record"]), key)


class Lane:
    """Kills one after the other; several lanes may run side by side.

    Attributes:
        fired: how often which kind of kill was seen to strike.
        missed: how often a point was never reached.
    """

    def __init__(self, folder, seed):
        self.folder = folder
        self.rng = random.Random(seed)
        self.fired = Counter()
        self.missed = Counter()
        self.acknowledged = 0

    def run(self, kinds):
        """Kill once for each of ``kinds``, in some order."""
        kinds = list(kinds)
        self.rng.shuffle(kinds)
        with ForkServer() as zygote:
            for number, start in enumerate(range(0, len(kinds), KILLS_IN_A_CLUSTER)):
                folder = self.folder / str(number)
                folder.mkdir(parents=True)
                with Fleet(folder, lambda home: Quick(home, zygote)) as fleet:
                    self._cluster(fleet, kinds[start : start + KILLS_IN_A_CLUSTER])
        return self

    def _cluster(self, fleet, kinds):
        den = fleet.found()
        nodes = [den, fleet.join(den, "b"), fleet.join(den, "c")]
        agree(*nodes)
        account = AckedWrites()
        victim = self.rng.choice(nodes)
        victim.stop()
        for number, kind in enumerate(kinds):
            if kind == "in_key_creation":
                self._kill_a_founder(fleet.folder / f"new-{number}", victim.zygote)
            else:
                self._kill(victim, kind, account)
                account.check(victim.store)
        victim.start()
        agree(*nodes)
        for node in nodes:
            node.stop()
            account.check(node.store)
        self.acknowledged += len(account.acknowledged)

    def _kill(self, victim, kind, account):
        if kind == AT_RANDOM:
            self._kill_at_random(victim, account)
            self.fired[kind] += 1
            return
        if kind == "in_a_migration":
            make_older(victim.store, self.rng.randrange(1, len(MIGRATIONS)))
        passes = self.rng.randint(1, PASSES.get(kind, PASSES_ELSE))
        victim.spawn(point=kind, passes=passes)
        eventually(
            lambda: victim.process.poll() is not None or victim.speaks(), "it speaks or is dead"
        )
        writers = Writers(victim, account)
        seen = self.fired
        try:
            eventually(lambda: victim.process.poll() is not None, f"it dies {kind} {passes}")
        except Failed:
            seen = self.missed
        finally:
            victim.kill()
            writers.join()
        seen[kind] += 1
        if victim.process.wait() != -signal.SIGKILL:
            raise Failed(f"the daemon ended by itself: {victim.log()[-2000:]}")

    def _kill_at_random(self, victim, account):
        victim.spawn()
        if self.rng.random() < EARLY:
            time.sleep(self.rng.uniform(0, 0.15))
            victim.kill()
            return
        eventually(victim.answers, "the daemon answers")
        writers = Writers(victim, account)
        time.sleep(self.rng.uniform(0, 0.3))
        victim.kill()
        writers.join()

    def _kill_a_founder(self, home, zygote):
        """``init`` dies in the making of the key: the folder is whole, or says what to do."""
        log = home.with_suffix(".log")
        passes = self.rng.randint(1, PASSES["in_key_creation"])
        first = zygote.start(home, log, do=FOUND, point="in_key_creation", passes=passes)
        if first.wait() != -signal.SIGKILL:
            raise Failed(f"init was not killed: {log.read_text()}")
        begun = (home / "node.key").exists()
        code = zygote.start(home, log, do=FOUND).wait()
        begun = (home / "node.key").exists() and code == 1 and "move the folder" in log.read_text()
        if not begun and code != 0:
            raise Failed(f"init after a kill: {log.read_text()}")
        self.fired["in_key_creation"] += 1


def make_older(store, version):
    """Turn a store into what an earlier version would have left, in the same file.

    Where a kill left it as one that is earlier still, it stays of that.
    """
    old = apsw.Connection(":memory:")
    add_functions(old)
    old.execute("ATTACH ? AS new", (str(store),))
    version = min(version, old.pragma("user_version", schema="new"))
    for script in MIGRATIONS[:version]:
        old.execute(script)
    old.pragma("application_id", APPLICATION_ID)
    old.pragma("user_version", version)
    for (table,) in list(old.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")):
        now = _columns(old, "new", table)
        shared = ", ".join(name for name in _columns(old, "main", table) if name in now)
        if shared:
            old.execute(f"DELETE FROM main.{table}")  # what its migration put there
            old.execute(f"INSERT INTO main.{table} ({shared}) SELECT {shared} FROM new.{table}")
    old.execute("DETACH new")
    data = bytearray(old.serialize("main"))
    old.close()
    data[18:20] = b"\x02\x02"  # in WAL mode, as every store is
    with store.open("r+b") as file:
        file.write(data)
        file.truncate()
    for suffix in ("-wal", "-shm"):
        store.with_name(store.name + suffix).unlink(missing_ok=True)


def _columns(database, schema, table):
    return [row[1] for row in database.execute(f"PRAGMA {schema}.table_info({table})")]


def kinds(kills, each):
    """Every named point so many times, the rest at random."""
    named = [point for point in POINTS for _ in range(each)]
    return named + [AT_RANDOM] * max(kills - len(named), 0)
