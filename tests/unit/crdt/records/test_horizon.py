from crdt.primitives import limits
from crdt.records.horizon import FIRST, LAST, Horizon, latest_own
from machines.values import Instant

AHEAD = limits.STAMP_AHEAD_MS_MAX


def at(court, ms):
    return Instant.from_ms(court.found.record.body.at.ms + ms)


def test_stamps_count_up_to_five_minutes_ahead(court):
    horizon = Horizon()
    assert horizon.arriving == horizon.on_disk == FIRST
    horizon.set_time(at(court, 0))
    assert horizon.arriving == at(court, AHEAD)
    assert horizon.on_disk == latest_own(at(court, 0)) == at(court, AHEAD + 1000)
    assert not horizon.is_clockless


def test_own_record_may_be_slightly_further_ahead(court):
    horizon = Horizon(court.bob.node)
    horizon.set_time(at(court, 0))
    own, others = court.bob.story("s-1"), court.cat.story("s-1")
    assert horizon.of(own, on_disk=False) == horizon.of(own, on_disk=True) == horizon.on_disk
    assert horizon.of(others, on_disk=False) == horizon.arriving
    assert horizon.of(others, on_disk=True) == horizon.on_disk


def test_a_clock_before_the_founding_record_is_none(court):
    horizon = Horizon()
    horizon.note(court.found.record)
    horizon.set_time(at(court, -AHEAD))
    assert not horizon.is_clockless
    horizon.set_time(at(court, -AHEAD - 1))
    assert horizon.is_clockless
    assert (horizon.arriving, horizon.on_disk) == (at(court, -1), LAST)


def test_the_founding_record_alone_dates_the_cluster(court):
    horizon = Horizon()
    horizon.note(court.bob.story("s-1"))
    horizon.note(court.admissions[court.bob.node])
    horizon.set_time(at(court, -AHEAD - 1))
    assert not horizon.is_clockless
