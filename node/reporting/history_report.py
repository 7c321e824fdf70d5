"""The history for an operator: one line for each event, from a daemon's store or a file."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from machines.values import Instant
from node.reporting.describe import Names, display_name, format_fields, format_ref, roster_change
from node.reporting.rows import HistoryRow

UNREADABLE = (
    msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError, RecursionError,
)  # fmt: skip
"""Errors that an event of unexpected shape may cause."""


def rows(kept: Iterable[tuple[int, bytes]], names: Names) -> list[HistoryRow]:
    """Rows of the table ``history``, described."""
    return [_row(str(Instant.nearest(at)), text, names) for at, text in kept]


def _row(at: str, text: bytes, names: Names) -> HistoryRow:
    """One row, which may hold anything: the table has no checksums, since nothing depends on it."""
    try:
        event = msgspec.json.decode(text, type=dict[str, Any])
        what, story = (msgspec.convert(event.get(name, ""), str) for name in ("type", "story"))
        return HistoryRow(at, what, story, _describe_event(event, names), event)
    except UNREADABLE:
        return HistoryRow(at, "damaged", "", "this row is damaged", {})


def _describe_event(event: Mapping[str, Any], names: Names) -> str:
    """One line for an event."""
    match event["type"]:
        case "stage_moved":
            by = f" by {event['event']}" if event["event"] else ""
            late = ", late" if event["late"] else ""
            stages = f"{event['before']['stage']} → {event['after']['stage']}"
            return f"{stages}{by} of {format_ref(names, event['record'])}{late}"
        case "event_lost":
            beaten = format_ref(names, event["beaten_by"])
            why = f"beaten by {beaten}" if beaten else event["why"]
            return f"{event['event']} of {format_ref(names, event['record'])} lost: {why}"
        case "execution_moved":
            return f"{display_name(names, event['node'])} {event['event']} → {event['state']}"
        case "claim_moved":
            sides = (event["before"], event["holder"])
            return " → ".join(display_name(names, one) if one else "nobody" for one in sides)
        case "record_rejected":
            return f"{format_ref(names, event['record'])}: {event['reason']}: {event['detail']}"
        case "fork_proven":
            author = display_name(names, event["author"])
            return f"{author}/{event['incarnation']} forked at #{event['clock']}"
        case "roster_moved" if "nodes" in event:  # the form of older versions
            return ", ".join(display_name(names, node) for node in event["nodes"])
        case "roster_moved":
            return "; ".join(roster_change(change, names) for change in event["changes"])
        case "peer_faulted":
            return f"{display_name(names, event['peer'])}: {event['reason']}: {event['detail']}"
        case "incarnation_opened":
            return f"continues in {event['incarnation']}: {event['why']}"
        case "noticed":
            return f"{event['what']}: {event['detail']}"
        case _:
            return format_fields(event, ("type", "story"))
