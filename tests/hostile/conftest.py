import pytest

from tests.support.harness.hostile_cluster import Siege


@pytest.fixture
def siege():
    return Siege()
