"""Histories of the roster over honest nodes alone: the schedules of ``make sim-roster``.

Nodes are let in, revoked with every kind of ``keep``, promoted, demoted, given new keys, and let in
again, by the founder and by admins, at once and late, with restarts, lost disks and older copies
between; and all of them write all the while. At the end the founder takes everybody back, so that
all that was acknowledged must be there.
"""

import random

from tests.support.simulation.members import KEEPS
from tests.support.simulation.plan import WORK, FaultPlan, FaultStep

ROSTER = (
    "revocation", "revocation", "revocation", "withdrawal", "promote", "promote", "demote",
    "demote", "admit", "admit", "rename", "leave", "rotate", "ticket",
)  # fmt: skip
NETWORK = ("partition", "partition", "one_way", "clog", "jam", "flap", "replay")
PROCESSES = ("kill", "kill", "kill", "storm", "stall", "wipe", "restore", "eio", "slow_disk")


def make(seed: int) -> FaultPlan:
    """The history of a seed."""
    chance = random.Random(f"roster {seed}")
    size = chance.randint(3, 5)
    seconds = chance.choice([10, 15, 25])
    plain = range(1, size)
    admins = tuple(n for n in plain if chance.random() < 0.5)
    rest = [n for n in plain if n not in admins]
    newcomers = tuple(n for n in rest if chance.random() < 0.7)
    steps = [
        *(_let_in(chance, n, chance.choice([0, *admins])) for n in newcomers),
        *_spread(chance, size, seconds, WORK, seconds * chance.choice([1, 2])),
        *_spread(chance, size, seconds, ROSTER, chance.randint(3, 12)),
        *_spread(chance, size, seconds, NETWORK, chance.randint(0, 3)),
        *_spread(chance, size, seconds, PROCESSES, chance.randint(0, 4)),
    ]
    if chance.random() < 0.4:
        # Whatever the roster is then, all of them have to go on from their disks.
        steps += [
            FaultStep(seconds * 1000, "kill", n, 0, chance.getrandbits(31)) for n in range(size)
        ]
    return FaultPlan(
        seed=seed,
        nodes=size,
        hostile=(),
        admins=admins,
        seconds=seconds,
        delay_ms=chance.choice([1, 30, 200]),
        loss=0,
        duplicates=0,
        steps=tuple(sorted(steps, key=lambda step: step.at)),
        newcomers=newcomers,
        roster=True,
    )


def _let_in(chance, newcomer, by):
    """A newcomer is admitted early, often by an admin alone."""
    return FaultStep(chance.randint(200, 3000), "admit", by, newcomer, chance.getrandbits(30) * 2)


def _spread(chance, size, seconds, names, many):
    """So many of some steps, each at any time and any node."""
    for _ in range(many):
        at = chance.randint(1000, seconds * 1000)
        what, node = chance.choice(names), chance.randrange(size)
        yield FaultStep(at, what, node, chance.getrandbits(31), chance.getrandbits(31))


def must_fire():
    """What must have happened at least once in any larger set of histories."""
    names = {*ROSTER, *NETWORK, *PROCESSES} - {"revocation"}
    kinds = {f"revocation: keep {kind}" for kind in KEEPS}
    changes = {"changed keys", "petition: done", "ticket: let in", "taken back at the end"}
    return names | kinds | changes
