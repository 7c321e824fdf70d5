import pytest

from tests.support.siege import Siege


@pytest.fixture
def siege():
    return Siege()
