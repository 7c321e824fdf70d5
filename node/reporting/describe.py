"""What a record says, in one line for people.

Stands at the edge: takes a body as JSON, whatever its kind, gives a sentence with names instead of
keys where they are known. Nothing is escaped here; whoever shows it does that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from node.system.plurals import counted

KEY_SHOWN = 8
Names = Mapping[str, str]


def display_name(names: Names, key: str) -> str:
    """What a node is called, or the start of its key."""
    return names.get(key) or key[:KEY_SHOWN]


def whole_name(name: str, key: str) -> str:
    """A name, which another node may have too, and what tells the two apart."""
    return f"{name} ({key[:KEY_SHOWN]})" if name else key[:KEY_SHOWN]


def format_ref(names: Names, ref: Sequence[Any] | None) -> str:
    """A record's place: ``den/0#7``."""
    return "" if ref is None else f"{display_name(names, ref[0])}/{ref[1]}#{ref[2]}"


def format_fields(thing: Mapping[str, Any], without: Sequence[str]) -> str:
    """What an event or a state carries: ``reason=why``."""
    return " ".join(
        f"{name}={_flat(value)}" for name, value in thing.items() if name not in without
    )


def _flat(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, list) else value


RANK = ("observer", "member", "admin")


def roster_change(change: Mapping[str, Any], names: Names, *, own: str = "") -> str:
    """How a node's place on the roster changed: ``north (1feb11c0) was revoked by den``.

    Args:
        own: this node's key, which is called so.
    """
    node, now, was = change["node"], change["role"], change["before_role"]
    who = whole_name(change["name"] or change["before_name"], node)
    who = f"this node, {who}," if node == own else who
    told = []
    if now == "revoked" != was:
        told.append("was revoked")
    elif now in RANK and was in RANK and now != was:
        up = RANK.index(now) > RANK.index(was)
        told.append(f"was {'promoted' if up else 'demoted'} from {was} to {now}")
    elif now in RANK and now != was:
        again = "taken back in" if was == "revoked" else "admitted"
        told.append(f"was {again} as {now}")
    if was and change["name"] != change["before_name"]:
        told.append(f"was renamed from {change['before_name'] or 'nothing'}")
    if not told:
        told.append(f"is {now or 'unknown'} as before, on another word")
    by = f" by {display_name(names, change['by'])}" if change["by"] else ""
    return f"{who} {' and '.join(told)}{by}"


def describe_body(body: Mapping[str, Any], names: Names) -> str:
    """One line for a body of any kind."""
    match body["kind"]:
        case "transition":
            on = format_ref(names, body["parent"])
            event = body["event"]
            told = f"{body['story']} {event['event']} {format_fields(event, ('event',))}".rstrip()
            return f"{told} on {on}" if on else told
        case "execution":
            state = body["state"]
            told = f"{body['key']} {body['event']['event']} → {state['state']}"
            return f"{told} {format_fields(state, ('state', 'last_heartbeat'))}".rstrip()
        case "story":
            return f"{body['story']} {format_fields(body, ('kind', 'at', 'n', 'story'))}"
        case "claim" if body.get("released"):
            return f"{body['key']} released"
        case "claim":
            return f"{body['key']} since {body['since'][0]} until {body['until']}"
        case "ack":
            return f"{body['story']} seen archived by {format_ref(names, body['end'])}"
        case "member":
            return f"{body['node'][:KEY_SHOWN]} as {body['role']}, called {body['name']}"
        case "revocation":
            kept = ", ".join(f"{incarnation}#{clock}" for incarnation, clock in body["keep"])
            many = counted(len(body["admissions"]), "admission")
            told = f"{display_name(names, body['node'])} loses {many}"
            below = f"what it wrote counts below {kept}" if kept else "nothing that it wrote counts"
            return f"{told}; {below}"
        case "evidence":
            author, incarnation = body["feed"]
            return f"{display_name(names, author)}/{incarnation} forked at #{body['clock']}"
        case "seal":
            return (
                f"{counted(body['count'], 'live record')} before it, {body['digest'][:KEY_SHOWN]}"
            )
        case _:
            return format_fields(body, ("kind", "at", "n"))
