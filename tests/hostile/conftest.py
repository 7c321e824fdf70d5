import pytest

from tests.support.harness.hostile_cluster import HostileCluster


@pytest.fixture
def siege():
    return HostileCluster()
