"""The path of one record through the core, counted: calls, and changes of room.

``python -m benchmarks.path``. A node receives one update that holds one transition, from its
author. Counted are calls of functions of ``crdt/``, without comprehensions and ``primitives``; and
how often the next call is in another room (folder) than the one before it. The modules at the top
of ``crdt/`` are one room. A test holds both counts.
"""

import sys
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

import crdt
from benchmarks.fleet import STORY_RECORDS, Fleet
from crdt.contract.ready import Now, Row
from crdt.primitives.identity import SigningKey
from crdt.records.record import VerifiedRecord
from crdt.replica import Replica
from crdt.wire.messages import Update, encode_frame
from crdt.wire.yjs_update import FeedSlice, encode_update
from machines.values import NodePubkey

CORE: Final = Path(crdt.__path__[0])
LEFT_OUT: Final = "primitives"


class Call(NamedTuple):
    """One call of a function: the room it is in, its file and its name."""

    room: str
    file: str
    name: str


class Journey:
    """A node that knows all but the last event of a story, and the message that brings it."""

    def __init__(self) -> None:
        fleet = Fleet(STORY_RECORDS)
        *known, before, last = fleet.members[0].written
        self.now = Now(fleet.end, 0.0)
        self.peer: NodePubkey = last.feed.author
        key = SigningKey(fleet.founder.key.seed())
        self.replica = Replica(key, fleet.cluster, key.pubkey, seed=bytes(32), checkpoint=_go_on)
        rows = [Row(*record.ref, record.value) for record in (*fleet.roster(), *known)]
        self.replica.replay(rows, [], {}, self.now)
        self.replica.connected(self.peer, self.now.wall, self.now)
        self.replica.receive(self.peer, _message(fleet, before), self.now)
        self.message = _message(fleet, last)

    def run(self) -> None:
        """Receive the message."""
        ready = self.replica.receive(self.peer, self.message, self.now)
        assert len(ready.persist.rows) == 1, "the transition is new, and admitted"


def calls_of(work: Callable[[], object]) -> list[Call]:
    """The calls of functions of the core that some work makes, in order."""
    calls: list[Call] = []
    begun: set[FrameType] = set()

    def note(frame: FrameType, event: str, _arg: Any) -> None:
        if event == "call" and frame not in begun and (call := _call(frame.f_code)) is not None:
            begun.add(frame)  # a generator that goes on is not called again
            calls.append(call)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def rooms_of(calls: Sequence[Call]) -> list[str]:
    """The rooms that the calls go through, each as often as it is entered."""
    return [room for room, _ in groupby(call.room for call in calls)]


def main() -> None:
    """Print both counts, and the rooms in the order in which they are entered."""
    calls = calls_of(Journey().run)
    rooms = rooms_of(calls)
    sys.stdout.write(f"{len(calls)} calls, {len(rooms) - 1} changes of room\n")
    for room, group in groupby(calls, key=lambda call: call.room):
        names = ", ".join(f"{call.file}:{call.name}" for call in group)
        sys.stdout.write(f"  {room}: {names}\n")


def _go_on() -> None:
    """The checkpoint belongs to the shell, and so is not counted."""


def _call(code: CodeType) -> Call | None:
    path = Path(code.co_filename)
    if not path.is_relative_to(CORE) or code.co_name.startswith("<"):
        return None
    *folders, file = path.relative_to(CORE).parts
    room = folders[0] if folders else CORE.name
    return None if room == LEFT_OUT else Call(room, file, code.co_name)


def _message(fleet: Fleet, record: VerifiedRecord) -> bytes:
    clock = record.clock
    client = record.feed.client_id(fleet.cluster)
    piece = FeedSlice(client, None, clock, clock + 1, [(clock, record.value)], [])
    return encode_frame(Update(encode_update([piece])))


if __name__ == "__main__":
    main()
