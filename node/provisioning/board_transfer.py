"""Exports the board as lines of JSON, and plans an import into this or another cluster.

Unlike a backup, an export has no signatures or keys, only stories, for other tools and clusters. An
import writes new records, signed by the importing node. This module plans it; the caller writes.
"""

from typing import Any, Final

import msgspec

from crdt.replica import Replica
from crdt.views.event_tree import transition_of
from machines.pipeline import PipelineEvent, Stage
from machines.values import Instant
from node.system.plurals import counted

VERSION: Final = 1
FIELDS: Final = ("title", "description", "depends_on", "labels")


class Head(msgspec.Struct, frozen=True, tag_field="type", tag="board"):
    """The first line: the cluster and node, the time, and how many stories follow."""

    version: int
    cluster: str
    node: str
    at: Instant
    digest: str
    stories: int


class ExportedStory(msgspec.Struct, frozen=True, tag_field="type", tag="story"):
    """One story: its fields, its stage, and the events that led there, in order."""

    id: str
    title: str | None
    description: str | None
    depends_on: tuple[str, ...]
    labels: tuple[str, ...]
    stage: Stage
    events: tuple[PipelineEvent, ...]


def export(replica: Replica, at: Instant) -> list[Head | ExportedStory]:
    """The lines of a board."""
    board = replica.ledger.board
    lines: list[Head | ExportedStory] = []
    for view in board.stories():
        state = board.state(view.id)
        assert state is not None, "every story in the list has a state"
        events = tuple(transition_of(one).event for one in (*state.fold.spine, *state.fold.applied))
        lines.append(
            ExportedStory(
                view.id, view.title, view.description, view.depends_on, view.labels, view.stage,
                events,
            )
        )  # fmt: skip
    head = Head(
        VERSION, replica.cluster.hex(), replica.own.hex(), at,
        replica.document_digest().hex(), len(lines),
    )  # fmt: skip
    return [head, *lines]


class Line(msgspec.Struct, frozen=True, tag_field="type", tag="story"):
    """A story's line as read; the daemon checks the events later."""

    id: str
    title: str | None = None
    description: str | None = None
    depends_on: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    stage: dict[str, Any] = {}
    events: tuple[dict[str, Any], ...] = ()


class ReadHead(msgspec.Struct, frozen=True, tag_field="type", tag="board"):
    """The first line as read."""

    version: int
    stories: int


_DECODER: Final = msgspec.json.Decoder(ReadHead | Line)


def read(lines: list[bytes]) -> list[Line]:
    """Parse the stories of a file.

    Raises:
        ValueError: a line is invalid, with its number, or the file is truncated.
    """
    found: list[Line] = []
    head: ReadHead | None = None
    for number, text in enumerate(lines, start=1):
        try:
            line = _DECODER.decode(text)
        except (msgspec.MsgspecError, UnicodeError) as fault:
            raise ValueError(f"line {number}: {fault}") from fault
        if isinstance(line, Line) != (head is not None):
            raise ValueError(f"line {number}: the head must come first, and once")
        if isinstance(line, Line):
            found.append(line)
        elif line.version != VERSION:
            raise ValueError(f"written by another version ({line.version}); this one is {VERSION}")
        else:
            head = line
    if head is None or head.stories != len(found):
        raise ValueError(
            f"it holds {counted(len(found), 'story')}, but its head states "
            f"{head.stories if head else 'nothing'}: it is truncated"
        )
    return found


class ImportPlan(msgspec.Struct):
    """What an import does for one story.

    Attributes:
        fields: to write.
        events: to fire, in order.
        left: a sentence for each difference that stays.
    """

    id: str
    new: bool
    fields: dict[str, Any]
    events: tuple[dict[str, Any], ...]
    left: list[str]


def plan(theirs: Line, ours: Line | None, *, force: bool) -> ImportPlan:
    """Plan the changes that make our story equal to theirs, from the file.

    Missing fields are written. Fields that differ stay, or are overwritten with ``force``. Events
    are only appended, since none can be taken back.
    """
    wanted = {
        name: getattr(theirs, name) for name in FIELDS if getattr(theirs, name) not in (None, ())
    }
    if ours is None:
        return ImportPlan(theirs.id, True, wanted, theirs.events, [])
    result = ImportPlan(theirs.id, False, {}, (), [])
    for name, value in wanted.items():
        known = getattr(ours, name)
        if known == value:
            continue
        if known in (None, ()) or force:
            result.fields[name] = value
        else:
            result.left.append(f"its {name} differs here; --force overwrites it")
    done = len(ours.events)
    if ours.events == theirs.events[:done]:
        result.events = theirs.events[done:]
    elif theirs.events != ours.events[: len(theirs.events)]:
        result.left.append(
            f"its events differ here: it is in {ours.stage.get('stage')}, not in "
            f"{theirs.stage.get('stage')}, and events cannot be taken back"
        )
    return result
