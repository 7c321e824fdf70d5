"""What a network does to real daemons, and that no law breaks by it (``conftest.py``)."""

import itertools

import pytest

from tests.support.harness.daemons import agree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SECONDS = 120


def test_halves_that_are_cut_off_go_on_and_become_one_again(team):
    den, b, c, d = team
    with team.working() as work:
        work.go_on()
        team.network.cut([den.host, b.host], [c.host, d.host])
        work.go_on()
    agree(den, b)
    agree(c, d)
    assert den.digest() != c.digest()
    with team.working() as work:
        work.go_on()
    assert team.network.dropped()["partition"]


def test_what_one_road_swallows_comes_by_another(team):
    den, b, _, _ = team
    team.network.lose(den.host, b.host, 100, "one-way loss")
    with team.working() as work:
        work.go_on()
    agree(*team, seconds=SECONDS)
    assert team.network.dropped()["one-way loss"]


def test_every_fourth_packet_is_lost(team):
    for one, other in itertools.permutations(team, 2):
        team.network.lose(one.host, other.host, 25, "loss")
    with team.working() as work:
        work.go_on(40)
    assert team.network.dropped()["loss"]


def test_a_line_too_thin_for_what_is_said(team):
    _, _, c, _ = team
    team.network.rate(c.host, 64)
    with team.working() as work:
        work.go_on(40)
    agree(*team, seconds=SECONDS)
    assert team.network.dropped()["thin link"]
