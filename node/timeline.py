"""The history as an operator reads it: one line for each event.

Stands at the edge, beside ``report.py``: takes rows of ``history.py``, from a daemon's store or a
file.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from machines.values import Instant
from node.api import types
from node.saying import Names, called, fields_of, place, roster_change


def rows(kept: Iterable[tuple[int, bytes]], names: Names) -> list[types.HistoryRow]:
    """Rows of the table as an operator reads them."""
    shown = []
    for at, text in kept:
        event = msgspec.json.decode(text)
        what = event["type"]
        story = event.get("story", "")
        shown.append(
            types.HistoryRow(str(Instant.from_ms(at)), what, story, _says(event, names), event)
        )
    return shown


def _says(event: Mapping[str, Any], names: Names) -> str:
    """One line for an event of any kind."""
    match event["type"]:
        case "stage_moved":
            by = f" by {event['event']}" if event["event"] else ""
            late = ", late" if event["late"] else ""
            stages = f"{event['before']['stage']} → {event['after']['stage']}"
            return f"{stages}{by} of {place(names, event['record'])}{late}"
        case "event_lost":
            beaten = place(names, event["beaten_by"])
            why = f"beaten by {beaten}" if beaten else event["why"]
            return f"{event['event']} of {place(names, event['record'])} lost: {why}"
        case "execution_moved":
            return f"{called(names, event['node'])} {event['event']} → {event['state']}"
        case "claim_moved":
            sides = (event["before"], event["holder"])
            return " → ".join(called(names, one) if one else "nobody" for one in sides)
        case "record_rejected":
            return f"{place(names, event['record'])}: {event['reason']}: {event['detail']}"
        case "fork_proven":
            author = called(names, event["author"])
            return f"{author}/{event['incarnation']} forked at #{event['clock']}"
        case "roster_moved" if "nodes" in event:  # as it was written once
            return ", ".join(called(names, node) for node in event["nodes"])
        case "roster_moved":
            return "; ".join(roster_change(change, names) for change in event["changes"])
        case "peer_faulted":
            return f"{called(names, event['peer'])}: {event['reason']}: {event['detail']}"
        case "incarnation_opened":
            return f"goes on in {event['incarnation']}: {event['why']}"
        case "noticed":
            return f"{event['what']}: {event['detail']}"
        case _:
            return fields_of(event, ("type", "story"))
