"""Feeds events to a state machine, one JSON object a line, and prints each outcome.

The lines come from a file, a pipe or a terminal. Used by ``machine.py``.
"""

import json
import shlex
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

import msgspec
import typer

from machines.codec import enc_hook, lenient_hook
from machines.execution import ExecutionEvent, ExecutionState
from machines.kernel import Ignored, Machine, StateChange, Updated, tag_of
from machines.pipeline import PipelineEvent, Stage
from machines.values import Instant
from node.system import clock
from node.system.sanitize import UNSAFE, clean

UNIONS: dict[str, tuple[Any, Any]] = {
    "pipeline": (Stage, PipelineEvent),
    "execution": (ExecutionState, ExecutionEvent),
}
LINE_BYTES_MAX = 65_536
ERROR_CHARACTERS_MAX = 300


class NoEvent(ValueError):
    """A line that is not an event of the machine."""


def to_json(value: object) -> str:
    """Encode as JSON, with every character escaped that a terminal would act on."""
    text = msgspec.json.encode(value, enc_hook=enc_hook).decode()
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def read_state(machine: Machine, found: object) -> Any:
    """Convert decoded JSON to a state of the machine.

    Raises:
        ValueError: it is not a state of this machine.
    """
    return msgspec.convert(found, type=UNIONS[machine.name][0], dec_hook=lenient_hook)


def reason(fault: ValueError) -> str:
    """The error as one short line, escaped: it may quote the input."""
    return clean(str(fault))[:ERROR_CHARACTERS_MAX]


def replay(machine: Machine, state: Any, source: BinaryIO, *, as_json: bool, ask: bool) -> bool:
    """Replay every line; returns whether all of them were events.

    If the first line is not JSON, neither is the file, and the rest is not read.
    """
    ok = first = True
    if ask:
        _prompt(machine, state)
    for number, line in _lines(source):
        try:
            event, at = read_event(machine, line, typed=ask)
        except ValueError as fault:
            ok = False
            if as_json:
                typer.echo(to_json({"line": number, "error": reason(fault)}))
            else:
                typer.echo(f"line {number}: {reason(fault)}", err=True)
            if first and not ask and isinstance(fault, json.JSONDecodeError | UnicodeDecodeError):
                typer.echo("gangline: an event is one JSON object on one line; stopped", err=True)
                break
        else:
            outcome = machine.step(state, event, at)
            if not isinstance(outcome, Ignored):
                state = outcome.state
            if as_json:
                typer.echo(to_json({"outcome": outcome.word, "state": state}))
            else:
                _show(machine.event_name(event), outcome, to_json(state))
        first = False
        if ask:
            _prompt(machine, state)
    return ok


def _prompt(machine: Machine, state: Any) -> None:
    """Prompt with the legal events, on standard error."""
    events = ", ".join(machine.legal_events(state)) or "no event is legal here; Ctrl-D ends"
    typer.secho(f"{machine.state_name(state)} ({events}) > ", nl=False, err=True, fg="cyan")


def _show(event: str, outcome: StateChange | Updated | Ignored, state: str) -> None:
    """Print an outcome for people, in colour on a terminal."""
    match outcome:
        case StateChange():
            typer.echo(f"{typer.style(event, bold=True)} → {state}")
        case Updated():
            typer.echo(f"{typer.style(event, bold=True)}   updated: still {state}")
        case Ignored():
            typer.secho(f"{event}   ignored: still {state}", fg="yellow")


def _lines(source: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Every line that is not blank, with its number; ``None`` if it is too long."""
    number = 0
    while line := source.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(line) > LINE_BYTES_MAX and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = source.readline(LINE_BYTES_MAX)
            yield number, None
        elif line.strip():
            yield number, line


def read_event(machine: Machine, line: bytes | None, *, typed: bool) -> tuple[Any, Instant]:
    """Read an event and its instant from a line; one that was ``typed`` need not be JSON.

    Raises:
        ValueError: it is not an event of this machine; the message is the reason.
    """
    if line is None:
        raise NoEvent(f"the line is longer than {LINE_BYTES_MAX} bytes")
    words = typed and not line.lstrip().startswith(b"{")
    raw = _read_words(line) if words else read_json(line)
    if not isinstance(raw, dict):
        raise NoEvent("an event is a JSON object")
    at = clock.wall()
    if "at" in raw:
        at = Instant.parse_lenient(raw.pop("at"))
    names = [tag_of(kind) for kind in machine.events]
    if raw.get("event") not in names:
        raise NoEvent(f"no such event; {machine.name} has: {', '.join(names)}")
    union = UNIONS[machine.name][1]
    return msgspec.convert(raw, type=union, dec_hook=lenient_hook, strict=not words), at


def _read_words(line: bytes) -> dict[str, str]:
    """Read ``block reason="why"``: the event, then its fields."""
    event, *fields = shlex.split(line.decode())
    pairs = [field.partition("=") for field in fields]
    if any(not sign for _, sign, _ in pairs):
        raise NoEvent("write the event and then its fields as name=value, or a JSON object")
    return {"event": event, **{name: value for name, _, value in pairs}}


def read_json(text: bytes) -> Any:
    """Read strict JSON: no repeated names in an object, no floats, no deep nesting.

    Raises:
        ValueError: it is not strict JSON.
    """
    try:
        return json.loads(
            text.decode(),
            object_pairs_hook=_object,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except RecursionError:
        raise NoEvent("nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NoEvent("a name is repeated in one object")
    return found


def _no_float(_text: str) -> NoReturn:
    raise NoEvent("a number must be an integer")
