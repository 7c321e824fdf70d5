"""The short form of ``make soak-store``: real daemons killed at random and at every named point."""

import pytest

from tests.support.soak import kills
from tests.support.soak.points import POINTS

pytestmark = pytest.mark.timeout(300)


def test_no_kill_loses_what_was_acknowledged_or_uses_a_slot_twice(tmp_path):
    lane = kills.Lane(tmp_path, seed=1).run(kills.kinds(20, each=1))
    assert lane.missed == {}
    assert set(lane.fired) == {kills.AT_RANDOM, *POINTS}
    assert lane.acknowledged
