"""What befalls real daemons themselves: stopped, killed, told the wrong time (``conftest.py``)."""

import random
import re

import pytest

from tests.support.harness.daemons import agree, eventually, faketime

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SECONDS = 120


def seen(viewers, name, column):
    """How a node stands in other nodes' lists."""
    lists = [viewer.client.ask("GET", "/nodes") for viewer in viewers]
    return {row[column] for rows in lists for row in rows if row["name"] == name}


def test_a_daemon_that_is_stopped_for_long_is_missed_and_goes_on(team):
    *others, d = team
    with team.working() as work:
        work.go_on()
    d.pause()
    with team.working(others) as work:
        work.go_on()
    eventually(lambda: seen(others, "d", "linked") == {False}, "dead links are noticed", SECONDS)
    eventually(lambda: seen(others, "d", "liveness") == {"suspect"}, "d is missed", SECONDS)
    agree(*others)
    d.resume()
    eventually(lambda: seen(others, "d", "liveness") == {"alive"}, "d is back", SECONDS)


def test_killed_again_and_again_while_it_is_written_to(team):
    rng = random.Random(7)
    with team.working() as work:
        for _ in range(6):
            work.go_on(5)
            node = rng.choice(team.nodes)
            node.kill()
            node.start()
    assert work.counts["unanswered"]


@pytest.fixture
def timed(team):
    """The last of the team, with a wall clock of its own."""
    if faketime() is None:
        pytest.skip("there is no libfaketime here (Debian: libfaketime)")
    return team.nodes[-1]


def restart_with_clock(node, seconds):
    node.stop()
    node.shift_clock(seconds)
    node.start()


def test_a_clock_ten_minutes_ahead_keeps_a_node_from_writing_until_it_is_right(team, timed):
    restart_with_clock(timed, 600)
    eventually(lambda: timed.status()["writable"], "d finds its clock off", SECONDS)
    told = timed.gangline("add", "from-the-future", code=1)
    off = re.search(r"this host's clock is (\d+) s ahead of its peers'; set it right", told)
    assert off
    assert int(off[1]) in range(590, 700)
    with team.working(team.nodes[:-1]) as work:
        work.go_on()
    timed.shift_clock(0)
    eventually(lambda: not timed.status()["writable"], "d may write again", SECONDS)
    with team.working() as work:
        work.go_on()


def test_a_clock_that_goes_back_across_a_restart_costs_no_write(team, timed):
    restart_with_clock(timed, 280)
    with team.working() as work:
        work.go_on()
    before = timed.status()["incarnation"]
    restart_with_clock(timed, -280)
    with team.working() as work:
        work.go_on()
    assert timed.status()["incarnation"] != before
