import pytest

from tests.support.harness.daemons import Fleet


@pytest.fixture
def fleet(tmp_path):
    with Fleet(tmp_path) as fleet:
        yield fleet
