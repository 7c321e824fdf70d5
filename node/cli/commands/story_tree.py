"""Draws the tree of a story's events: the spine, its branches, weights, and what lost.

Takes the answer to *explain*; returns lines of at most 80 columns. The spine stays at the left
edge and only branches are indented, as in ``git log --graph``. Rich's tree cannot draw that: it
would indent each event of the spine once more.
"""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

from node.cli.console import stage_text
from node.reporting.describe import Names, display_name, format_fields, format_ref
from node.system.local_time import local
from node.system.sanitize import clean

WIDTH = 80
MARKS = {"spine": "●", "applied": "+", "lost": "✗"}
EVENT_WIDTH = 34


def draw(answer: dict[str, Any]) -> Iterator[str]:
    """Draw the whole answer, line by line, escaped."""
    names, events = answer["names"], answer["events"]
    yield clean(f"{answer['id']}  {answer['title'] or '(untitled)'}")
    yield clean(f"stands at {stage_text(answer['stage'])}: {_counted(events)}")
    yield ""
    tree: dict[str | None, list[dict[str, Any]]] = {}
    for event in events:
        if event["in_tree"]:
            tree.setdefault(_parent(event), []).append(event)
    if tree:
        yield "backlog"
        yield from _branch(tree, None, "", names)
    orphans = [event for event in events if not event["in_tree"]]
    if orphans:
        yield ""
        yield "not in the tree, because their parent does not count or does not take them:"
        for event in orphans:
            yield from _event(event, "", "", names)


def _counted(events: Sequence[dict[str, Any]]) -> str:
    counts = [sum(e["place"] == kind for e in events) for kind in MARKS]
    return f"{counts[0]} on the spine, {counts[1]} applied after it, {counts[2]} lost"


def _parent(event: dict[str, Any]) -> str | None:
    return None if event["parent"] is None else event["parent"][3]


def _branch(
    tree: dict[str | None, list[dict[str, Any]]], parent: str | None, edge: str, names: Names
) -> Iterator[str]:
    """The events below one event: first the branches, then the path that continues."""
    while children := tree.get(parent):
        *branches, next_event = sorted(children, key=_continues)
        for event in branches:
            yield from _event(event, f"{edge}├─", f"{edge}│ ", names)
            yield from _branch(tree, event["record"][3], f"{edge}│ ", names)
        parent = next_event["record"][3]
        below = f"{edge}│" if tree.get(parent) else f"{edge} "
        yield from _event(next_event, edge, below, names)


def _continues(event: dict[str, Any]) -> tuple[bool, int]:
    """A sort key that puts last the event to continue with: on the spine, else the heaviest."""
    return event["place"] == "spine", event["weight"]


def _event(event: dict[str, Any], edge: str, below: str, names: Names) -> Iterator[str]:
    """One event: what it does, its time and author, then its details, indented."""
    what = f"{event['event']['event']} → {event['makes']['stage']}"
    who, record = display_name(names, event["record"][0]), format_ref(names, event["record"])
    head = f"{edge}{MARKS[event['place']]} {what}"
    yield clean(f"{head:<{EVENT_WIDTH}}  {local(event['stamp'][0])}  {who}")
    details = [f"{record}, id {event['record'][3][:8]}"]
    carried = format_fields(event["event"], ("event",))
    if carried:
        details.append(carried)
    if event["place"] == "applied":
        details.append("applied after the end of the spine")
    elif event["place"] == "lost":
        beaten = format_ref(names, event["beaten_by"])
        details.append(f"lost{f' to {beaten}' if beaten else ''}: {event['why']}")
    if event["in_tree"]:
        authors = ", ".join(display_name(names, one) for one in event["authors"])
        details.append(f"weight {event['weight']}: {authors}")
    if event["acks"]:
        details.append(
            f"seen archived by {', '.join(display_name(names, one) for one in event['acks'])}"
        )
    indent = f"{below}   "
    for line in details:
        yield from wrap(
            clean(line), WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ",
            break_on_hyphens=False,
        )  # fmt: skip
