"""The board as lines of JSON: out of one cluster, into another or back.

Stands beside ``backup.py``: a backup is a node, signatures and all; this is what the stories say,
for other tools and for another cluster. What came in is written anew, by who imports it and now.
The plan of an import is made here, from two lines; whoever calls carries it out.
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
    """The first line: whose board, when, and how many stories follow."""

    version: int
    cluster: str
    node: str
    at: Instant
    digest: str
    stories: int


class ExportedStory(msgspec.Struct, frozen=True, tag_field="type", tag="story"):
    """One story: its fields, where it stands, and the events that brought it there, in order."""

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
        assert state is not None, "a story that is shown is known"
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
    """A story's line as it is read: events as they stand, for the daemon to judge."""

    id: str
    title: str | None = None
    description: str | None = None
    depends_on: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    stage: dict[str, Any] = {}
    events: tuple[dict[str, Any], ...] = ()


class ReadHead(msgspec.Struct, frozen=True, tag_field="type", tag="board"):
    """The first line as it is read."""

    version: int
    stories: int


_DECODER: Final = msgspec.json.Decoder(ReadHead | Line)


def read(lines: list[bytes]) -> list[Line]:
    """The stories of a file.

    Raises:
        ValueError: a line that is none; says which.
    """
    found: list[Line] = []
    head: ReadHead | None = None
    for number, text in enumerate(lines, start=1):
        try:
            line = _DECODER.decode(text)
        except (msgspec.MsgspecError, UnicodeError) as fault:
            raise ValueError(f"line {number}: {fault}") from fault
        if isinstance(line, Line) != (head is not None):
            raise ValueError(f"line {number}: the head stands first, and once")
        if isinstance(line, Line):
            found.append(line)
        elif line.version != VERSION:
            raise ValueError(f"written by another version ({line.version}); this one is {VERSION}")
        else:
            head = line
    if head is None or head.stories != len(found):
        raise ValueError(
            f"it holds {counted(len(found), 'story')}, and its head says "
            f"{head.stories if head else 'nothing'}: it is cut short"
        )
    return found


class ImportPlan(msgspec.Struct):
    """What an import does about one story.

    Attributes:
        fields: to write.
        events: to fire, in order.
        left: sentences, each about something that stays as it is here.
    """

    id: str
    new: bool
    fields: dict[str, Any]
    events: tuple[dict[str, Any], ...]
    left: list[str]


def plan(there: Line, here: Line | None, *, force: bool) -> ImportPlan:
    """What to do so that a story that is here says what the file says.

    What is missing here is written; what differs is left, or with ``force`` its fields are
    overwritten. Events are only ever added at the end: nobody can take one back.
    """
    wanted = {
        name: getattr(there, name) for name in FIELDS if getattr(there, name) not in (None, ())
    }
    if here is None:
        return ImportPlan(there.id, True, wanted, there.events, [])
    made = ImportPlan(there.id, False, {}, (), [])
    for name, value in wanted.items():
        known = getattr(here, name)
        if known == value:
            continue
        if known in (None, ()) or force:
            made.fields[name] = value
        else:
            made.left.append(f"its {name} is another here; --force overwrites it")
    done = len(here.events)
    if here.events == there.events[:done]:
        made.events = there.events[done:]
    elif there.events != here.events[: len(there.events)]:
        made.left.append(
            f"it went another way here and is in {here.stage.get('stage')}, not in "
            f"{there.stage.get('stage')}: events cannot be taken back"
        )
    return made
