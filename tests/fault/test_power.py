"""The short form of ``make soak-store``: power cuts and failing calls under the real store.

The long one fails every call, this one two of five.
"""

import random

import pytest

from tests.support.invariants.laws import Broken
from tests.support.soak import planted, power

SEED = 1


def test_no_power_cut_loses_what_was_acknowledged_or_seen(tmp_path):
    struck = power.cut_power(tmp_path, random.Random(SEED), 60)
    assert struck.total() == 60
    assert struck["write"]
    assert struck["sync"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", power.ERRORS)
@pytest.mark.parametrize("first", [1, 3])
def test_whichever_call_fails_nothing_acknowledged_is_lost(tmp_path, kind, first):
    struck = power.fail_every_call(tmp_path, random.Random(SEED), kind, first=first, step=5)
    assert struck["write"] > 10


def test_while_a_sync_takes_long_the_loop_and_links_go_on_and_nothing_is_told_before_it(tmp_path):
    struck = power.take_long(tmp_path, random.Random(SEED), 12, (0, 0.1))
    assert struck["well"] >= 12
    assert struck["in a power cut"]


def test_a_loop_that_waits_for_the_disk_is_caught(tmp_path):
    with planted.commit_on_the_loop(), pytest.raises(Broken, match="the loop itself"):
        power.take_long(tmp_path, random.Random(SEED), 12, (0, 0))


@pytest.mark.parametrize(
    ("bug", "word"),
    [
        ("no_fsync_at_commit", "before it is on disk|rolled back"),
        ("publish_before_commit", "before it is on disk"),
        ("witness_before_commit", "rolled back"),
    ],
)
def test_a_planted_bug_is_caught_within_thirty_cuts(tmp_path, bug, word):
    with planted.PLANTED[bug](), pytest.raises(Broken, match=word):
        power.cut_power(tmp_path, random.Random(SEED), 30)


def test_a_lost_commit_is_caught_by_what_the_store_holds_alone(tmp_path, monkeypatch):
    # Without the look at every frame, so that the account is shown to be able to fail.
    monkeypatch.setattr(
        "tests.support.soak.in_process_daemon.House.must_be_durable", lambda *_: None
    )
    with planted.no_fsync_at_commit(), pytest.raises(Broken, match=r"lost|rolled back"):
        power.cut_power(tmp_path, random.Random(SEED), 30)
