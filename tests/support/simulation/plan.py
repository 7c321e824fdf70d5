"""A schedule: the topology, who does what, and what goes wrong, all of it drawn from one seed.

A schedule is data. It can be kept in a file, played again, and cut down: every step means something
wherever the steps before it led ("the fourth legal event of the story this node knows as the
second"), so that a schedule with steps taken out is a schedule still.
"""

import random
from collections.abc import Iterable

import msgspec

FAULTS = (
    "kill", "stall", "partition", "one_way", "clog", "flap", "loss", "duplicate", "replay",
    "corrupt", "clock_bump", "clock_freeze", "clock_fast", "clock_jump", "clock_lost", "storm",
    "wipe", "restore", "clone", "rollback", "disk_full", "eio", "slow_disk",
)  # fmt: skip
FAULTS_APART = ("ring", "jam", "clock_strobe", "old_page")
"""Faults that came later, drawn apart."""
FAULTS_LATER = ("proof_bit",)
"""And those that came after them."""
PROGRAMS = (
    "equivocate", "fork_old", "illegal", "foreign", "false_seal", "flood", "far_future",
    "back_date", "revoke", "garbage", "forge_gap", "malformed", "false_evidence", "withhold",
    "replay_frames", "carried", "squat", "false_ack", "big_claims", "hide_twin",
)  # fmt: skip
PROGRAMS_APART = ("flood_valid", "spend_others", "forge_petition", "strange_forks", "endless_feeds")
"""Hostile programs that came later, drawn apart."""
PROGRAMS_LATER = (
    "many_feeds", "old_records", "far_statements", "build_illegally", "spoilt_proofs",
)  # fmt: skip
"""And those that came after them."""
CALM = ("flood_valid", "spend_others", "flood", "squat")
"""Programs beside which honest work must not even wait, where nothing else goes wrong."""
WORK = ("add", "edit", "fire", "fire", "fire", "execution", "execution", "claim", "release")
ROSTER_WORK = ("expel", "readmit")
MEMBERSHIP = (
    "promote", "demote", "rename", "admit", "strike", "ticket", "leave", "rotate", "rotate",
)  # fmt: skip
"""What admins wish, and what nodes ask of them; in some runs, drawn apart from the rest."""


class FaultStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happens at ``at`` (ms of virtual time); the rest as ``what`` reads it."""

    at: int
    what: str
    node: int = 0
    a: int = 0
    b: int = 0


class FaultPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that decides a run.

    Attributes:
        seed: what the network, the disks and the keys draw from.
        nodes: how many; the first is the founder.
        hostile: which of them are hostile.
        admins: which of them the founder names admins.
        seconds: how long things go wrong (virtual).
        delay_ms: the mean delay of a message.
        loss: messages lost, in a thousand; ``duplicates`` likewise.
        steps: in order of time.
        observers: which of the nodes are observers at first.
        newcomers: which of the nodes nobody has admitted at first.
        small: the bounds are small, so that they are met (``SMALL`` in ``run.py``).
        roster: a history of the roster (``histories.py``), at the end of which the founder takes
            everybody back; what is done now and then is done sooner (``QUICK`` in ``run.py``).
    """

    seed: int
    nodes: int
    hostile: tuple[int, ...]
    admins: tuple[int, ...]
    seconds: int
    delay_ms: int
    loss: int
    duplicates: int
    steps: tuple[FaultStep, ...]
    observers: tuple[int, ...] = ()
    newcomers: tuple[int, ...] = ()
    small: bool = False
    roster: bool = False

    @property
    def calm(self) -> bool:
        """Whether nothing goes wrong but what floods do."""
        quiet = not (self.loss or self.duplicates or self.newcomers)
        return quiet and all(step.what in {*WORK, *CALM, "old_records"} for step in self.steps)


def make(seed: int, *, seconds: int = 60, nodes: int | None = None) -> FaultPlan:
    """The schedule of a seed."""
    chance = random.Random(f"plan {seed}")
    size = nodes or chance.randint(3, 7)
    bad = chance.choice([0, 0, 1, 1, 1, 2, size - 2])
    # The founder is hostile in few runs: it may revoke everybody.
    candidates = list(range(size) if chance.random() < 0.1 else range(1, size))
    hostile = tuple(sorted(chance.sample(candidates, min(bad, size - 2))))
    admins = tuple(n for n in range(1, size) if chance.random() < 0.3)
    faults = [fault for fault in FAULTS if chance.random() < 0.4]
    programs = [program for program in PROGRAMS if chance.random() < 0.5]
    steps = [*_work(chance, size, seconds)]
    # Some runs are about one thing, which then comes again and again.
    theme = chance.choice([*faults, *programs]) if chance.random() < 0.4 else None
    if chance.random() < 0.3:
        faults += ROSTER_WORK
    for fault in faults:
        for _ in range(chance.randint(5, 12) if fault == theme else chance.randint(1, 4)):
            at = chance.randint(3, seconds) * 1000 + chance.randrange(1000)
            node = chance.randrange(size)
            steps.append(FaultStep(at, fault, node, chance.getrandbits(31), chance.getrandbits(31)))
    for node in hostile:
        for program in programs:
            for _ in range(chance.randint(5, 12) if program == theme else chance.randint(1, 5)):
                at = chance.randint(3, seconds) * 1000 + chance.randrange(1000)
                steps.append(
                    FaultStep(at, program, node, chance.getrandbits(31), chance.getrandbits(31))
                )
    # Drawn apart, so that the schedules of before stay what they were but for these.
    apart = random.Random(f"membership {seed}")
    observers: tuple[int, ...] = ()
    newcomers: tuple[int, ...] = ()
    if apart.random() < 0.35:
        plain = [n for n in range(1, size) if n not in admins and n not in hostile]
        observers = tuple(n for n in plain if apart.random() < 0.2)
        newcomers = tuple(n for n in plain if n not in observers and apart.random() < 0.3)
        steps += _drawn(apart, MEMBERSHIP, size, seconds, 3)
    later = [fault for fault in FAULTS_APART if apart.random() < 0.2]
    steps += _drawn(apart, later, size, seconds, 3)
    bad_ones = [name for name in PROGRAMS_APART if apart.random() < 0.25]
    for node in hostile:
        steps += _drawn(apart, bad_ones, size, seconds, 3, by=node)
    steps += _later(seed, size, seconds, hostile)
    small = apart.random() < 0.3
    delay_ms = chance.choice([1, 30, 100, 400])
    loss = chance.choice([0, 0, 20, 100, 300]) if "loss" in faults else 0
    duplicates = chance.choice([50, 500]) if "duplicate" in faults else 0
    if hostile and apart.random() < 0.06:
        # Nothing goes wrong but floods, so that nobody else may even have to wait.
        steps = [step for step in steps if step.what in WORK]
        for node in hostile:
            steps += _drawn(apart, CALM, size, seconds, 5, by=node)
        small, loss, duplicates, newcomers = True, 0, 0, ()
    steps.sort(key=lambda step: step.at)
    return FaultPlan(
        seed=seed,
        nodes=size,
        hostile=hostile,
        admins=admins,
        seconds=seconds,
        delay_ms=delay_ms,
        loss=loss,
        duplicates=duplicates,
        steps=tuple(steps),
        observers=observers,
        newcomers=newcomers,
        small=small,
    )


def _later(seed: int, size: int, seconds: int, hostile: Iterable[int]):
    """What came last of all."""
    chance = random.Random(f"later {seed}")
    yield from _drawn(chance, FAULTS_LATER, size, seconds, 2)
    programs = [name for name in PROGRAMS_LATER if chance.random() < 0.3]
    for node in hostile:
        yield from _drawn(chance, programs, size, seconds, 4, by=node)


def _drawn(
    chance: random.Random,
    names: Iterable[str],
    size: int,
    seconds: int,
    most: int,
    by: int | None = None,
):
    """Each of some steps up to so many times, at any time, at any node or at one."""
    for what in names:
        for _ in range(chance.randint(0, most)):
            at = chance.randint(3, seconds) * 1000 + chance.randrange(1000)
            node = chance.randrange(size) if by is None else by
            yield FaultStep(at, what, node, chance.getrandbits(31), chance.getrandbits(31))


def _work(chance: random.Random, size: int, seconds: int):
    """Honest work, in bursts, so that feeds fall quiet and are sealed in between."""
    pace = chance.choice([0.5, 1.0, 3.0])
    at = 3000.0
    while at < seconds * 1000:
        at += chance.expovariate(pace) * 1000
        if chance.random() < 0.03:
            at += 4000
        what = chance.choice(WORK)
        yield FaultStep(
            int(at), what, chance.randrange(size), chance.getrandbits(31), chance.getrandbits(31)
        )


def load(data: bytes) -> FaultPlan:
    """A schedule that was kept."""
    return msgspec.json.decode(data, type=FaultPlan)


def dump(plan: FaultPlan) -> bytes:
    """A schedule to keep: one step a line, so that a person can read it and cut it."""
    head = msgspec.json.encode(msgspec.structs.replace(plan, steps=()))
    body = b",\n".join(msgspec.json.encode(step) for step in plan.steps)
    return head[:-1].replace(b',"steps":[]', b"") + b',"steps":[\n' + body + b"\n]}\n"
