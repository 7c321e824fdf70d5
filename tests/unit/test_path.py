"""The path of one record through the core stays short (``python -m benchmarks.path``)."""

from benchmarks.path import Journey, calls_of, rooms_of

CALLS_MAX = 163
ROOM_CHANGES_MAX = 56


def test_one_transition_takes_few_calls_and_changes_of_room():
    calls = calls_of(Journey().run)
    rooms = rooms_of(calls)
    assert {"crdt", "wire", "ledger", "records", "views", "sync"} <= set(rooms)
    assert len(calls) <= CALLS_MAX
    assert len(rooms) - 1 <= ROOM_CHANGES_MAX
