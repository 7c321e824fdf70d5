"""What a record says, in one line for people.

Stands at the edge: takes a body as JSON, whatever its kind, gives a sentence with names instead of
keys where they are known. Nothing is escaped here; whoever shows it does that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

KEY_SHOWN = 8
Names = Mapping[str, str]


def called(names: Names, key: str) -> str:
    """What a node is called, or the start of its key."""
    return names.get(key) or key[:KEY_SHOWN]


def place(names: Names, ref: Sequence[Any] | None) -> str:
    """A record's place: ``den/0#7``."""
    return "" if ref is None else f"{called(names, ref[0])}/{ref[1]}#{ref[2]}"


def fields_of(thing: Mapping[str, Any], without: Sequence[str]) -> str:
    """What an event or a state carries: ``reason=why``."""
    return " ".join(
        f"{name}={_flat(value)}" for name, value in thing.items() if name not in without
    )


def _flat(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, list) else value


def says(body: Mapping[str, Any], names: Names) -> str:
    """One line for a body of any kind."""
    match body["kind"]:
        case "transition":
            on = place(names, body["parent"])
            event = body["event"]
            told = f"{body['story']} {event['event']} {fields_of(event, ('event',))}".rstrip()
            return f"{told} on {on}" if on else told
        case "execution":
            state = body["state"]
            told = f"{body['key']} {body['event']['event']} → {state['state']}"
            return f"{told} {fields_of(state, ('state', 'last_heartbeat'))}".rstrip()
        case "story":
            return f"{body['story']} {fields_of(body, ('kind', 'at', 'n', 'story'))}"
        case "claim" if body.get("released"):
            return f"{body['key']} released"
        case "claim":
            return f"{body['key']} since {body['since'][0]} until {body['until']}"
        case "ack":
            return f"{body['story']} seen archived by {place(names, body['end'])}"
        case "member":
            return f"{body['node'][:KEY_SHOWN]} as {body['role']}, called {body['name']}"
        case "revocation":
            kept = ", ".join(f"{incarnation}#{clock}" for incarnation, clock in body["keep"])
            told = f"{called(names, body['node'])}: {len(body['admissions'])} admissions"
            return f"{told}, from {kept}" if kept else f"{told}, everything"
        case "evidence":
            author, incarnation = body["feed"]
            return f"{called(names, author)}/{incarnation} forked at #{body['clock']}"
        case "seal":
            return f"{body['count']} live records before it, {body['digest'][:KEY_SHOWN]}"
        case _:
            return fields_of(body, ("kind", "at", "n"))
