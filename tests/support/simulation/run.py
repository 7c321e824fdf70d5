"""Plays schedules and says how it went; one summary for one or for thousands."""

import contextlib
import functools
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from nacl.bindings import crypto_sign_open

from crdt.primitives import limits
from crdt.records import signatures
from tests.support.invariants.laws import Broken
from tests.support.simulation.laws import Laws
from tests.support.simulation.members import reunite
from tests.support.simulation.plan import (
    FAULTS,
    FAULTS_APART,
    FAULTS_LATER,
    MEMBERSHIP,
    PROGRAMS,
    PROGRAMS_APART,
    PROGRAMS_LATER,
    ROSTER_WORK,
    FaultPlan,
)
from tests.support.simulation.world import World

CHECK_MS = 5000
FIXED = range(1, 21)
"""The seeds that every change must pass."""
SCHEDULES = Path(__file__).parents[2] / "simulation" / "schedules"
KEPT = sorted(SCHEDULES.glob("*.json"))
"""Schedules that once broke a law, cut down."""
SMALL = {
    "UPDATE_BYTES_MAX": 20 * limits.KIB,
    "CATCHUP_BYTES_MAX": 40 * limits.KIB,
    "FEEDS_PER_FRAME_MAX": 4,
    "RANGES_PER_FRAME_MAX": 4,
    "RECORDS_PER_FRAME_MAX": 64,
    "AWARENESS_ENTRIES_MAX": 2,
    "RANGE_LEAF": 4,
    "PENDING_PER_AUTHOR_MAX": 20,
    "PENDING_MAX": 60,
    "STRANGERS_PER_AUTHOR_MAX": 10,
    "STRANGERS_MAX": 20,
    "REJECTED_MAX": 100,
    "AUTHOR_RECORDS_BURST": 40,
    "AUTHOR_RECORDS_PER_SECOND": 4.0,
    "OUTBOX_MESSAGES_MAX": 150,
    "PART_FRAMES_MAX": 8,
    "COMPARED_AT_ONCE_MAX": 16,
}
"""The bounds of the core, so small that a minute meets them.

Not that of what is void: it bounds what arrives, and what was held before may come to be void.
"""
QUICK = {
    "ANTI_ENTROPY_SECONDS": 6.0,
    "WRITE_AGAIN_SECONDS": 2.0,
    "PRESENCE_SECONDS": 30.0,
}
"""What a history of the roster need not wait for long, and what is no matter of it."""
SETTLE_MS = 600_000
"""After the faults stop, a cluster must agree within this virtual time."""


opened = functools.lru_cache(2**14)(crypto_sign_open)
"""Many nodes in one process ask the same of the same bytes: what holds, holds for each of them."""


@dataclass
class Outcome:
    """How one run went. ``broken`` is the law that did not hold, with what was seen."""

    plan: FaultPlan
    broken: str = ""
    settled_ms: int = 0
    counts: Counter = field(default_factory=Counter)
    looked: Counter = field(default_factory=Counter)
    virtual_ms: int = 0
    fingerprint: str = ""

    @property
    def law(self):
        return self.broken.partition(":")[0]


def play(plan, *, trace=None):
    """Play one schedule: faults, then quiet until the cluster agrees, then every law."""
    bounds = (SMALL if plan.small else {}) | (QUICK if plan.roster else {})
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(signatures, "crypto_sign_open", opened))
        if bounds:
            stack.enter_context(mock.patch.multiple(limits, **bounds))
        return _play(plan, trace)


def _play(plan, trace):
    laws = Laws()
    world = World(plan, laws, trace=trace)
    outcome = Outcome(plan, counts=world.counts, looked=laws.looked)
    try:
        _safety(world, laws)
        _liveness(world, laws, outcome)
        laws.finally_(world)
    except Broken as broken:
        outcome.broken = str(broken)
    except Exception as fault:
        if trace is not None:
            raise
        outcome.broken = f"L9: {type(fault).__name__}: {fault}"
    outcome.virtual_ms = world.t
    outcome.fingerprint = world.fingerprint()
    return outcome


def _safety(world, laws):
    for step in world.plan.steps:
        world.at(step.at, world.do, step)
    end = world.plan.seconds * 1000
    for t in range(CHECK_MS, end + CHECK_MS, CHECK_MS):
        world.run_until(t)
        laws.anytime(world)


def _liveness(world, laws, outcome):
    world.heal()
    start = world.t
    differs = "nothing was compared"
    while world.t - start < SETTLE_MS:
        world.run_until(world.t + CHECK_MS)
        laws.anytime(world)
        differs = laws.converged(world)
        if not differs and not world.busy() and not (world.plan.roster and reunite(world)):
            outcome.settled_ms = world.t - start
            return
    raise Broken("L1", f"{differs} after {SETTLE_MS // 1000} s without faults")


def must_fire():
    """What must have happened at least once in any larger set of runs."""
    killed = {
        "killed at once", "killed before a commit", "killed in a commit that was lost",
        "killed in a commit that was kept", "killed between commit and sending",
        "killed between two peers",
    }  # fmt: skip
    network = {"lost", "duplicated", "corrupted", "lost in a partition", "withheld"}
    counted = {"duplicate": "duplicates"}
    faults = {counted.get(fault, fault) for fault in FAULTS}
    faults |= {*FAULTS_APART, *FAULTS_LATER, *ROSTER_WORK, *MEMBERSHIP, "a failed commit came back"}
    faults |= {"a twin was noticed", "changed keys", "ticket: let in", "petition: done"}
    programs = (*PROGRAMS, *PROGRAMS_APART, *PROGRAMS_LATER)
    return faults | killed | network | {f"hostile: {program}" for program in programs}
