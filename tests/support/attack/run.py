"""One run: three daemons, honest work, everybody at once, and what holds at the end."""

import asyncio
import itertools
import random
import time
from collections import Counter

from tests.support.attack import board, costly, member, relay, stranger
from tests.support.attack.environment import ROGUES, Ground, resident_kib
from tests.support.attack.honest import Honest
from tests.support.attack.relay import Middle, Relay
from tests.support.attack.results import AttackResults
from tests.support.attack.stranger import HostileStranger
from tests.support.attack.watched import WatchedNode
from tests.support.harness.daemons import Fleet
from tests.support.invariants import fleet_laws
from tests.support.invariants.laws import Broken

WRITES_PER_SECOND = 100
REACHED_PERCENT_MIN = 90
STRANGERS, MEMBERS = 5, 3
PAUSE_SECONDS = 0.1
RELAY_PAUSE_SECONDS = 2.0
QUARTERS = 4
GROWTH_PERCENT_MAX = 10
JUDGED_SECONDS = 60
"""A run this long is held to its rate and to its memory."""
SAMPLES, SAMPLE_SECONDS = 10, 0.3
"""What a connection holds for a moment is no growth: the least of so many looks counts."""
OVERTIME_SECONDS = 300
"""How long the attackers may go on until each attempt of the catalogue has come past the door."""
CATALOGUES = (
    stranger.CATALOGUE, member.CATALOGUE, costly.CATALOGUE, costly.ADMIN, costly.LOCAL,
    relay.WIRE, relay.PASSING,
)  # fmt: skip
HOLD_MS_MAX = 50
"""The budget for one message of ordinary size, or one tick, whoever sent it."""
LOUD_SECONDS = 2.0
"""So long after an attempt its last messages are on the way to the other nodes."""


class Attack:
    """One run.

    Args:
        records: how many the board holds when the attack begins, beside what honest work writes.
        say: takes a line to tell a person.

    Attributes:
        memory: of each node, what it had in use after each quarter, in KiB.
    """

    def __init__(self, folder, seed, seconds, say, records=0):
        self.folder, self.seed, self.seconds, self.say = folder, seed, seconds, say
        self.records = records
        self.rng = random.Random(seed)
        attempts = [one for catalogue in CATALOGUES for one in catalogue.values()]
        self.tally = AttackResults(attempts)
        self.memory = {}
        self._faults = Counter()
        self._busy = set()

    async def run(self):
        """Everything; the last line that is told closes it.

        Raises:
            AssertionError: a law did not hold, or an attempt got what it must not.
        """
        relays = [await Relay().open() for _ in range(3)]
        try:
            with Fleet(self.folder, WatchedNode) as fleet:
                self.ground = await asyncio.to_thread(Ground, fleet, relays, self.rng)
                self.say(f"{len(fleet.nodes)} daemons, {ROGUES} members and an admin gone bad")
                await self._fill_the_board()
                self._began = time.time()
                await self._attack_at_work(fleet.nodes, relays)
                self.say("the attack is over; every law must hold")
                await asyncio.to_thread(self._judge, fleet.nodes)
        finally:
            for one in relays:
                await one.close()

    async def _fill_the_board(self):
        begin = time.monotonic()
        await board.fill(self.ground, self.records)
        if self.records:
            took = time.monotonic() - begin
            self.say(f"a board of {self.records} records, everywhere after {took:.0f} s")

    async def _attack_at_work(self, nodes, relays):
        path = self.folder / "work.jsonl"
        with Honest(nodes, self.seed, path, WRITES_PER_SECOND) as self.work:
            begin = time.monotonic()
            if self.seconds >= JUDGED_SECONDS:
                # What is bounded is to be full when memory is first measured.
                await member.fill(self.ground)
                await self._measure_holds()
            await self._attack(relays, begin)
            self.lasted = time.monotonic() - begin
            await asyncio.to_thread(self.work.end)

    async def _measure_holds(self):
        """What was dear once, one after the other beside honest work alone, and its figure."""
        lanes = ((costly.CATALOGUE, self._member), (costly.ADMIN, self._admin),
                 (costly.LOCAL, self._local))  # fmt: skip
        for attempt, act in [(one, act) for all_, act in lanes for one in all_.values()]:
            begin = time.time()
            self.tally.note(attempt, await act(attempt))
            await asyncio.sleep(LOUD_SECONDS)
            holds = [node.longest_hold(begin) for node in self.ground.fleet.nodes]
            longest = max(holds, key=lambda hold: hold.ms)
            self.say(f"{attempt.who} {attempt.name}: longest hold of a loop {_figure(longest)}")

    # --- the attack ------------------------------------------------------------------------

    async def _attack(self, relays, begin):
        middle = Middle(self.ground, relays)
        strangers = self._bag(stranger.CATALOGUE)
        members = self._bag(member.CATALOGUE, costly.CATALOGUE, relay.PASSING)
        self._stop = asyncio.Event()
        lanes = [
            *(self._lane(self._stranger, strangers, PAUSE_SECONDS) for _ in range(STRANGERS)),
            *(self._lane(self._member, members, PAUSE_SECONDS) for _ in range(MEMBERS)),
            self._lane(self._admin, self._bag(costly.ADMIN), PAUSE_SECONDS),
            self._lane(self._local, self._bag(costly.LOCAL), PAUSE_SECONDS),
            self._lane(
                lambda one: middle.play(one.act), self._bag(relay.WIRE), RELAY_PAUSE_SECONDS
            ),
        ]
        tasks = [asyncio.create_task(lane) for lane in lanes]
        watching = asyncio.create_task(self._watch(begin))
        await asyncio.wait({watching, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        self._stop.set()
        await asyncio.gather(watching, *tasks)

    def _bag(self, *catalogues):
        """Every attempt once in random order, again and again."""
        attempts = [one for catalogue in catalogues for one in catalogue.values()]
        while True:
            yield from self.rng.sample(attempts, len(attempts))

    async def _lane(self, act, bag, pause):
        while not self._stop.is_set():
            attempt = next(bag)
            word = await act(attempt)
            self.tally.note(attempt, word)
            await asyncio.sleep(pause * self.rng.uniform(0.5, 1.5))

    async def _stranger(self, attempt):
        return await attempt.act(HostileStranger(self.ground))

    async def _admin(self, attempt):
        return await self._played(attempt, self.ground.admin, self.ground.target())

    async def _local(self, attempt):
        return await attempt.act(self.ground)

    async def _member(self, attempt):
        """An attempt by the key, and at the daemon, where least is held against it."""
        pairs = [
            (key, target)
            for key, target in itertools.product(self.ground.rogues, self.ground.targets)
            if key not in self._busy
        ]
        self.rng.shuffle(pairs)
        key, target = min(pairs, key=lambda pair: self._faults[pair[0].pubkey, pair[1].port])
        self._busy.add(key)
        try:
            word = await self._played(attempt, key, target)
        finally:
            self._busy.discard(key)
        if word.startswith(member.DROPPED):
            self._faults[key.pubkey, target.port] += 1
        return word

    async def _played(self, attempt, key, target):
        rogue = member.HostileMember(self.ground, key, target)
        word = await rogue.play(attempt.act)
        self.tally.sent(attempt, rogue.records)
        return word

    async def _watch(self, begin):
        """Measure after each quarter; go on until everything has been tried.

        Where memory is judged, the first quarter begins once everything has been tried: what an
        attempt leaves in a daemon for good, in bounds, is there by then.
        """
        if self.seconds >= JUDGED_SECONDS:
            await self._until_all_was_tried(begin)
            begin = time.monotonic()
        for quarter in range(1, QUARTERS + 1):
            due = begin + self.seconds * quarter / QUARTERS
            while time.monotonic() < due and not self._stop.is_set():
                await asyncio.sleep(0.1)
            await self._measure()
        await self._until_all_was_tried(begin + self.seconds)

    async def _measure(self):
        """Look at the memory of each node."""
        looks = []
        async with self.ground.alone:  # no outbox is being filled just now
            for _ in range(SAMPLES):
                looks.append([resident_kib(node.process) for node in self.ground.fleet.nodes])
                await asyncio.sleep(SAMPLE_SECONDS)
        for node, seen in zip(self.ground.fleet.nodes, zip(*looks, strict=True), strict=True):
            self.memory.setdefault(node, []).append(min(seen))

    async def _until_all_was_tried(self, begin):
        end = begin + OVERTIME_SECONDS
        while self.tally.unshown() and time.monotonic() < end and not self._stop.is_set():
            await asyncio.sleep(0.2)

    # --- the end ---------------------------------------------------------------------------

    def _judge(self, nodes):
        stores = fleet_laws.hold(nodes, self.work.acked, self.ground.liars)
        fates = {}
        for held in stores.values():
            fates |= _fates(held)
        self.tally.settle(fates)
        for line in self.tally.table():
            self.say(line)
        if unshown := self.tally.unshown():
            names = ", ".join(" ".join(one.key) for one in unshown)
            raise Broken("L6", f"these attempts never ran: {names}")
        if wrong := self.tally.wrong():
            raise Broken("L6", "; ".join(wrong))
        self.say(self._summary())
        if self.seconds >= JUDGED_SECONDS:
            self._hold_to_measures()

    def _hold_to_measures(self):
        """What hangs on the machine too, and is therefore asked of long runs alone."""
        grown = self._growth()
        if max(grown.values()) > GROWTH_PERCENT_MAX:
            told = ", ".join(f"{node} by {percent:.1f} %" for node, percent in grown.items())
            raise Broken("L7", f"memory grew from the first quarter to the last: {told}")
        if self._is_slow():
            raise Broken(
                "L6",
                f"only {self.work.reached:.0f} of {WRITES_PER_SECOND} honest writes a second were "
                "done: the machine is busy or slow, or the attack holds honest work up",
            )

    def _is_slow(self):
        return 100 * self.work.reached < REACHED_PERCENT_MIN * WRITES_PER_SECOND

    def _growth(self):
        return {node: 100 * (after[-1] / after[0] - 1) for node, after in self.memory.items()}

    def _summary(self):
        report = self.work.report
        half, most = (f"{1000 * seconds:.0f} ms" for seconds in report.took)
        probes, seen = report.seen
        grown = ", ".join(
            f"{node} {percent:+.1f} % of {self.memory[node][0] // 1024} MiB"
            for node, percent in self._growth().items()
        )
        held = ", ".join(
            f"{node} {_figure(node.longest_hold(self._began))}" for node in self.ground.fleet.nodes
        )
        return (
            f"attack, seed {self.seed}: {self.tally.tried.total()} attempts of "
            f"{len(self.tally.attempts)} kinds in {self.lasted:.0f} s; "
            f"{len(self.work.acked)} honest writes acknowledged, {self.work.reached:.0f}/s of the "
            f"{WRITES_PER_SECOND}/s asked for{', WHICH WERE NOT REACHED' * self._is_slow()} "
            f"(half within {half}, 99 % within {most}; {probes} probes seen everywhere within "
            f"{seen:.1f} s), 0 lost; one digest; 0 honest feeds cut or held up; "
            f"longest hold of the loop (processor time): {held}; "
            f"memory after the last quarter against the first: {grown}"
        )


def _figure(hold):
    """A hold of a loop beside its budget."""
    missed = f", MISSED in {hold.where}" if hold.ms > HOLD_MS_MAX else ""
    return f"{hold.ms:.0f} ms of {HOLD_MS_MAX} ms{missed}"


def _fates(held):
    """What has become of each record that a store knows of, by its id."""
    fates = {}
    for *_, record, reason, _, _ in held.quarantined:
        if record is not None:
            fates[bytes(record)] = f"rejected {reason}"
    for _, entry in held.entries():
        word = entry.verdict.name.lower().replace("_", " ")
        fates[bytes(entry.record.record_id)] = word
    return fates
