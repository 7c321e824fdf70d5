"""Places: what counts as one, who did what there, and where members are at home."""

import pytest

from node.network import source_addresses
from node.network.source_addresses import Bans, MemberAddresses, source_prefix
from tests.support.builders.cluster import key


def test_bans_grow_and_end_and_are_forgiven():
    bans = Bans()
    assert not bans.banned("a", 0.0)
    assert [bans.fault("a", "bad_signature", 0.0) for _ in range(4)] == [1, 2, 4, 8]
    assert bans.banned("a", 7.9)
    assert not bans.banned("a", 8.0)
    [row] = bans.rows(2.0)
    assert (row.who, row.reason, row.times, row.seconds) == ("a", "bad_signature", 4, 6.0)
    assert bans.rows(8.0) == []
    assert bans.fault("a", "bad_signature", source_addresses.FORGIVEN_SECONDS) == 1
    assert max(bans.fault("b", "x", 0.0) for _ in range(99)) == source_addresses.BAN_SECONDS_MAX


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a name", "a name"),
    ],
)
def test_source_prefix_of_a_host_is_stable(host, place):
    assert source_prefix(host) == place


def test_a_member_is_at_home_in_its_last_few_places():
    homes = MemberAddresses()
    for number in range(source_addresses.PREFIXES_MAX + 1):
        homes.note(key(1).pubkey, f"10.0.0.{number}")
    homes.note(key(1).pubkey, "10.0.0.1")  # again
    assert "10.0.0.0" not in homes
    assert all(
        f"10.0.0.{number}" in homes for number in range(1, source_addresses.PREFIXES_MAX + 1)
    )
    homes.note(key(1).pubkey, "10.0.0.9")
    assert "10.0.0.1" in homes
    assert "10.0.0.2" not in homes


def test_a_member_pushes_no_other_members_places_out():
    homes = MemberAddresses()
    homes.note(key(1).pubkey, "10.0.0.1")
    homes.note(key(2).pubkey, "10.0.0.1")
    for number in range(2 * source_addresses.REMEMBERED_MAX):
        homes.note(key(2).pubkey, f"10.1.{number // 256}.{number % 256}")
    assert "10.0.0.1" in homes


def test_homes_are_bounded(monkeypatch):
    monkeypatch.setattr(source_addresses, "REMEMBERED_MAX", 3)
    homes = MemberAddresses()
    for number in range(10):
        homes.note(key(number).pubkey, f"10.0.0.{number}")
    assert [f"10.0.0.{number}" in homes for number in (6, 7, 8, 9)] == [False, True, True, True]
    assert len(homes._of) == len(homes._members) == 3
