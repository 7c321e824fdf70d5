"""Clusters in one process: fixed seeds, kept schedules, planted bugs; ``make sim`` runs more."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.simulation import histories
from tests.support.simulation import plan as plans
from tests.support.simulation.planted import CAUGHT_BY, PLANTED, TRANSCRIPTS, caught_by
from tests.support.simulation.run import FIXED, KEPT, must_fire, play
from tests.support.simulation.shrink import Shrinker

ROOT = Path(__file__).parents[2]
HISTORIES = range(1, 41)
"""The seeds of the roster's histories that every change must pass."""


def test_every_law_holds_in_every_fixed_seed_and_every_fault_fires():
    fired = Counter()
    for seed in FIXED:
        outcome = play(plans.make(seed))
        assert not outcome.broken, (
            f"seed {seed}; python -m tests.support.simulation --seeds 1 --seed {seed}"
        )
        fired += outcome.counts
    assert must_fire() - set(fired) == set()


def test_every_law_holds_in_every_history_of_the_roster_and_everything_happens():
    fired = Counter()
    for seed in HISTORIES:
        outcome = play(histories.make(seed))
        assert not outcome.broken, (
            f"seed {seed}; python -m tests.support.simulation --roster --seeds 1 --seed {seed}"
        )
        fired += outcome.counts
    assert histories.must_fire() - set(fired) == set()


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_what_once_broke_a_law_breaks_none(path):
    assert play(plans.load(path.read_bytes())).broken == ""


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_caught(name):
    # That nothing is caught where nothing is planted, other tests see: of these seeds and
    # schedules the ones above, of the transcripts tests/scenarios.
    transcripts = [path.name for path in TRANSCRIPTS.glob("*.txt")]
    assert CAUGHT_BY[name] in (*FIXED, *(path.stem for path in KEPT), *transcripts)
    assert caught_by(name)


def test_one_seed_gives_one_run_whatever_the_hash_seed():
    script = (
        "from tests.support.simulation import plan, run;"
        "print([run.play(plan.make(seed)).fingerprint for seed in (3, 8)])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True, text=True,
            env=os.environ | {"PYTHONHASHSEED": number, "PYTHONPATH": str(ROOT)},
        ).stdout
        for number in ("1", "2")
    }  # fmt: skip
    assert len(told) == 1


def test_a_kept_schedule_is_the_one_that_was_played():
    plan = plans.make(5)
    assert plans.load(plans.dump(plan)) == plan


def test_a_failing_schedule_is_cut_down():
    with PLANTED["frames_leave_before_the_disk_has_them"]():
        plan = plans.make(1)
        shrinker = Shrinker(play(plan).law)
        small = shrinker.shrink(plan)
        assert play(small).law == "L5"
    assert len(small.steps) < 3
    assert small.nodes == 2


def test_what_a_trace_tells_can_be_read():
    lines = []
    play(plans.make(1), trace=lines.append)
    assert any("links with" in line for line in lines)
    assert any("wrote" in line for line in lines)
