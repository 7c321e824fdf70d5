"""One form of time for people, in the zone of whoever reads it."""

import pytest

from node.system.local_time import in_local_time, local, local_of


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("UTC0", "2026-11-30 12:11:22+00:00"),
        ("IST-5:30", "2026-11-30 17:41:22+05:30"),
        ("NST3:30", "2026-11-30 08:41:22-03:30"),
    ],
)
def test_an_instant_is_shown_in_local_time(zone, name, shown):
    zone(name)
    assert local("2026-11-30T12:11:22.999Z") == local("2026-11-30T12:11:22Z") == shown
    assert local_of(1_796_040_682.9) == shown


def test_summer_time_counts_where_it_was_in_force(zone):
    zone("CET-1CEST,M3.5.0,M10.5.0/3")
    assert local("2026-07-01T12:00:00Z") == "2026-07-01 14:00:00+02:00"
    assert local("2026-12-01T12:00:00Z") == "2026-12-01 13:00:00+01:00"


def test_only_instants_in_a_sentence_are_converted(zone):
    zone("IST-5:30")
    told = "s-1 is held by b until 2026-11-30T12:11:22.000Z, (2026-11-30T12:11:22Z)"
    shown = "2026-11-30 17:41:22+05:30"
    assert in_local_time(told) == f"s-1 is held by b until {shown}, ({shown})"
    for other in (
        "", "no time", "2026-11-30", "2026-02-30T12:11:22Z", "9999-12-31T23:59:59Z",
        "store.db.damaged-2026-11-30T121122.000Z", "x2026-11-30T12:11:22Z",
    ):  # fmt: skip
        assert in_local_time(other) == other


@pytest.mark.parametrize("text", ["", "\x1b[31m", "2026-02-30T12:11:22Z", "20261130T121122Z"])
def test_what_is_no_instant_stays_as_it_is(text):
    assert local(text) == text
