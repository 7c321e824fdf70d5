from crdt.ledger.bounds import (
    Bounds,
    RecordBounds,
    VoidBounds,
    pending_bounds,
    stranger_bounds,
    void_bounds,
)
from crdt.ledger.feed import Entry
from crdt.primitives import limits
from tests.support.builders.ledger_fixture import ADMITTED, VOID_FORK

MANY = 10**9


def filled(bounds, *records):
    room = RecordBounds(lambda: bounds)
    for record in records:
        assert room.fits(record)
        room.count(record, 1)
    return room


def test_bounds_of_one_author(court):
    one, two, other = court.bob.story("a"), court.bob.story("b"), court.cat.story("c")
    size = len(one.value)
    assert len(two.value) == len(other.value) == size
    for bounds in (Bounds(1, MANY, MANY, MANY), Bounds(MANY, MANY, 2 * size - 1, MANY)):
        room = filled(bounds, one)
        assert not room.fits(two)
        assert room.fits(other)
    assert filled(Bounds(2, MANY, 2 * size, MANY), one).fits(two)


def test_bounds_in_total(court):
    one, other = court.bob.story("a"), court.cat.story("c")
    size = len(one.value)
    for bounds in (Bounds(MANY, 1, MANY, MANY), Bounds(MANY, MANY, MANY, 2 * size - 1)):
        room = filled(bounds, one)
        assert not room.fits(other)
        room.count(one, -1)
        assert room.fits(other)
    assert filled(Bounds(MANY, 2, MANY, 2 * size), one).fits(other)


def test_author_without_records_is_forgotten(court):
    room = filled(Bounds(MANY, MANY, MANY, MANY), one := court.bob.story("a"))
    room.count(one, -1)
    assert room._of_author == {}


def test_the_bounds_are_those_of_the_limits():
    waiting = (limits.WAITING_BYTES_PER_AUTHOR_MAX, limits.WAITING_BYTES_MAX)
    assert void_bounds() == (limits.VOID_PER_AUTHOR_MAX, limits.VOID_MAX, *waiting)
    pending, strangers = pending_bounds(), stranger_bounds()
    assert pending.of_author == limits.PENDING_PER_AUTHOR_MAX
    assert pending.in_all + strangers.in_all == limits.PENDING_MAX
    assert pending[2:] == waiting
    most = limits.WAITING_BYTES_PER_AUTHOR_MAX
    assert stranger_bounds() == (
        limits.STRANGERS_PER_AUTHOR_MAX, limits.STRANGERS_MAX, most, most,
    )  # fmt: skip


def test_overflow_returns_void_records_that_do_not_fit(court, monkeypatch):
    monkeypatch.setattr(limits, "VOID_PER_AUTHOR_MAX", 1)
    room = VoidBounds()
    one, two, three = (Entry(court.bob.story(name), VOID_FORK) for name in "abc")
    room.take(one, stored=False)
    room.take(two, stored=False)
    room.take(three, stored=False)
    three.verdict = ADMITTED  # another record built on it
    assert [entry.bounded for entry in (one, two, three)] == [True, False, False]
    assert room.overflow() == [two]
    assert room.overflow() == []
    room.leave(one)
    room.leave(one)
    room.take(two, stored=False)
    assert room.overflow() == []


def test_stored_void_records_stay_and_are_counted(court, monkeypatch):
    monkeypatch.setattr(limits, "VOID_PER_AUTHOR_MAX", 1)
    room = VoidBounds()
    one, two = (Entry(court.bob.story(name), VOID_FORK) for name in "ab")
    room.take(one, stored=True)
    room.take(two, stored=True)
    assert room.overflow() == []
    late = Entry(court.bob.story("c"), VOID_FORK)
    room.take(late, stored=False)
    assert room.overflow() == [late]


def test_own_void_records_are_not_bounded(court, monkeypatch):
    monkeypatch.setattr(limits, "VOID_MAX", 0)
    room = VoidBounds(court.bob.node)
    mine, theirs = (Entry(pen.story("a"), VOID_FORK) for pen in (court.bob, court.cat))
    for entry in (mine, theirs):
        room.take(entry, stored=False)
    assert room.overflow() == [theirs]
