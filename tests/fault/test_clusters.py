"""The short form of ``make soak-store``: an older store put back, a clone and a wipe, in a trio."""

import pytest

from tests.support.soak import clusters

pytestmark = pytest.mark.timeout(300)


def test_a_trio_gets_over_a_restored_a_cloned_and_a_wiped_node(tmp_path):
    done, acknowledged = clusters.run(tmp_path / "trio", seed=1, times=1)
    assert done == dict.fromkeys(clusters.WHAT, 1)
    assert acknowledged
