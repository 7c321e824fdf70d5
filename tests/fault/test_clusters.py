"""The short form of ``make soak-store``: homes of a trio restored, cloned, wiped, damaged."""

import pytest

from tests.support.soak import clusters

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_trio_gets_over_whatever_befalls_the_home_of_one(tmp_path):
    done, acknowledged = clusters.run(tmp_path / "trio", seed=1, times=1)
    assert done.pop("set_aside")
    assert done == dict.fromkeys(clusters.WHAT, 1)
    assert acknowledged
