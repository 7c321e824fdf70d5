"""Draws the tree of a story's events: its spine, who stands behind it, and what beside it lost.

Takes the answer to *explain*, gives lines that fit a terminal of 80 columns. The spine runs down
the left edge however long it is; only what left it is set in.
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
    """The whole answer, line by line, escaped."""
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
        yield "in no tree, since what they act on does not count, or does not take them:"
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
    """What hangs below an event: first what left the path here, then the path itself."""
    while children := tree.get(parent):
        *beside, on = sorted(children, key=_last_goes_on)
        for event in beside:
            yield from _event(event, f"{edge}├─", f"{edge}│ ", names)
            yield from _branch(tree, event["record"][3], f"{edge}│ ", names)
        yield from _event(on, edge, f"{edge}│" if tree.get(on["record"][3]) else f"{edge} ", names)
        parent = on["record"][3]


def _last_goes_on(event: dict[str, Any]) -> tuple[bool, int]:
    """The spine goes on below its branches; elsewhere the heaviest does."""
    return event["place"] == "spine", event["weight"]


def _event(event: dict[str, Any], edge: str, below: str, names: Names) -> Iterator[str]:
    """An event: what it does and who fired it, then what spoke for it, or against it."""
    what = f"{event['event']['event']} → {event['makes']['stage']}"
    who, record = display_name(names, event["record"][0]), format_ref(names, event["record"])
    head = f"{edge}{MARKS[event['place']]} {what}"
    yield clean(f"{head:<{EVENT_WIDTH}}  {local(event['stamp'][0])}  {who}")
    told = [f"{record}, id {event['record'][3][:8]}"]
    said = format_fields(event["event"], ("event",))
    if said:
        told.append(said)
    if event["place"] == "applied":
        told.append("applied after the end of the spine")
    elif event["place"] == "lost":
        beaten = format_ref(names, event["beaten_by"])
        told.append(f"lost{f' to {beaten}' if beaten else ''}: {event['why']}")
    if event["in_tree"]:
        behind = ", ".join(display_name(names, one) for one in event["authors"])
        told.append(f"weight {event['weight']}: {behind}")
    if event["acks"]:
        told.append(
            f"seen archived by {', '.join(display_name(names, one) for one in event['acks'])}"
        )
    indent = f"{below}   "
    for line in told:
        yield from wrap(
            clean(line), WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ",
            break_on_hyphens=False,
        )  # fmt: skip
