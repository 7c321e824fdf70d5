import pytest

from tests.support.builders.ledger_fixture import LedgerFixture


@pytest.fixture
def court():
    return LedgerFixture()
