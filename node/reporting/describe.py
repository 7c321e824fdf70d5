"""Describes a record in one line, with names instead of keys if they are known.

Takes a body as JSON. Nothing is escaped here; the caller does that when it displays the text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from node.system.plurals import counted

KEY_SHOWN = 8
Names = Mapping[str, str]


def display_name(names: Names, key: str) -> str:
    """The name of a node, or the start of its key."""
    return names.get(key) or key[:KEY_SHOWN]


def whole_name(name: str, key: str) -> str:
    """A name and the start of the key, since two nodes may have one name."""
    return f"{name} ({key[:KEY_SHOWN]})" if name else key[:KEY_SHOWN]


def format_ref(names: Names, ref: Sequence[Any] | None) -> str:
    """The place of a record: ``den/0#7``."""
    return "" if ref is None else f"{display_name(names, ref[0])}/{ref[1]}#{ref[2]}"


def format_fields(fields: Mapping[str, Any], without: Sequence[str]) -> str:
    """The fields of an event or a state: ``reason=why``."""
    return " ".join(
        f"{name}={_flat(value)}" for name, value in fields.items() if name not in without
    )


def _flat(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, list) else value


RANK = ("observer", "member", "admin")


def roster_change(change: Mapping[str, Any], names: Names, *, own: str = "") -> str:
    """How a node's roster entry changed: ``north (1feb11c0) was revoked by den``.

    Args:
        own: the key of this node, which is then called "this node".
    """
    node, now, was = change["node"], change["role"], change["before_role"]
    who = whole_name(change["name"] or change["before_name"], node)
    who = f"this node, {who}," if node == own else who
    changes = []
    if now == "revoked" != was:
        changes.append("was revoked")
    elif now in RANK and was in RANK and now != was:
        up = RANK.index(now) > RANK.index(was)
        changes.append(f"was {'promoted' if up else 'demoted'} from {was} to {now}")
    elif now in RANK and now != was:
        verb = "readmitted" if was == "revoked" else "admitted"
        changes.append(f"was {verb} as {now}")
    if was and change["name"] != change["before_name"]:
        changes.append(f"was renamed from {change['before_name'] or 'nothing'}")
    if not changes:
        changes.append(f"is {now or 'unknown'} as before, by another record")
    by = f" by {display_name(names, change['by'])}" if change["by"] else ""
    return f"{who} {' and '.join(changes)}{by}"


def describe_body(body: Mapping[str, Any], names: Names) -> str:
    """One line for a body of any kind."""
    match body["kind"]:
        case "transition":
            on = format_ref(names, body["parent"])
            event = body["event"]
            text = f"{body['story']} {event['event']} {format_fields(event, ('event',))}".rstrip()
            return f"{text} on {on}" if on else text
        case "execution":
            state = body["state"]
            text = f"{body['key']} {body['event']['event']} → {state['state']}"
            return f"{text} {format_fields(state, ('state', 'last_heartbeat'))}".rstrip()
        case "story":
            return f"{body['story']} {format_fields(body, ('kind', 'at', 'n', 'story'))}"
        case "claim" if body.get("released"):
            return f"{body['key']} released"
        case "claim":
            return f"{body['key']} since {body['since'][0]} until {body['until']}"
        case "ack":
            return f"{body['story']} seen archived by {format_ref(names, body['end'])}"
        case "member":
            return f"{body['node'][:KEY_SHOWN]} as {body['role']}, named {body['name']}"
        case "revocation":
            kept = ", ".join(f"{incarnation}#{clock}" for incarnation, clock in body["keep"])
            admissions = counted(len(body["admissions"]), "admission")
            records = f"its records count below {kept}" if kept else "none of its records counts"
            return f"{display_name(names, body['node'])} loses {admissions}; {records}"
        case "evidence":
            author, incarnation = body["feed"]
            return f"{display_name(names, author)}/{incarnation} forked at #{body['clock']}"
        case "seal":
            return (
                f"{counted(body['count'], 'live record')} before it, {body['digest'][:KEY_SHOWN]}"
            )
        case _:
            return format_fields(body, ("kind", "at", "n"))
