"""The short form of ``make attack``: the whole catalogue once, and every law at the end."""

import sys

import pytest

from tests.support.attack.run import Attack

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="callers come from all of 127.0.0.0/8"),
]


async def test_everything_a_hostile_stranger_member_and_relay_can_do_harms_no_honest_work(tmp_path):
    told = []
    await Attack(tmp_path, 1, 10, told.append).run()
    assert "0 lost; one digest" in told[-1]
