"""Feeds events to a state machine, one JSON object a line, and tells what it makes of each.

Stands under ``machine.py``. Takes the lines of a file, a pipe or a terminal.
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
    """A line that is no event of the machine."""


def to_json(value: object) -> str:
    """JSON that holds nothing a terminal would obey: such characters stand escaped, as JSON may."""
    text = msgspec.json.encode(value, enc_hook=enc_hook).decode()
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def read_state(machine: Machine, found: object) -> Any:
    """A state of a machine, from JSON that was read.

    Raises:
        ValueError: it is none.
    """
    return msgspec.convert(found, type=UNIONS[machine.name][0], dec_hook=lenient_hook)


def reason(fault: ValueError) -> str:
    """What is wrong, in one safe and short line: it may quote the input."""
    return clean(str(fault))[:ERROR_CHARACTERS_MAX]


def replay(machine: Machine, state: Any, source: BinaryIO, *, as_json: bool, ask: bool) -> bool:
    """Replay every line; says whether all of them were events.

    Where the first is no JSON, neither is the file: one sentence is enough, and the rest is left.
    """
    ok = first = True
    if ask:
        _ask(machine, state)
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
                _tell(machine.event_name(event), outcome, to_json(state))
        first = False
        if ask:
            _ask(machine, state)
    return ok


def _ask(machine: Machine, state: Any) -> None:
    """Prompt with the legal events, beside the answers and not among them."""
    events = ", ".join(machine.legal_events(state)) or "nothing is legal here; Ctrl-D ends"
    typer.secho(f"{machine.state_name(state)} ({events}) > ", nl=False, err=True, fg="cyan")


def _tell(event: str, outcome: StateChange | Updated | Ignored, state: str) -> None:
    """One line for people; the colours fall away where the output is no terminal."""
    match outcome:
        case StateChange():
            typer.echo(f"{typer.style(event, bold=True)} → {state}")
        case Updated():
            typer.echo(f"{typer.style(event, bold=True)}   updated: still {state}")
        case Ignored():
            typer.secho(f"{event}   ignored: still {state}", fg="yellow")


def _lines(source: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Every line that is not blank, with its number; ``None`` for one that is too long to read."""
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
    """One event and its instant from a line; ``typed`` by a person, who need not write JSON.

    Raises:
        ValueError: it is no event of this machine; says what is wrong.
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
        raise NoEvent(f"no such event; {machine.name} knows: {', '.join(names)}")
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
    """Read JSON strictly: no name twice in an object, no floats, nothing too deep.

    Raises:
        ValueError: it is not that.
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
        raise NoEvent("a name stands twice in one object")
    return found


def _no_float(_text: str) -> NoReturn:
    raise NoEvent("a number must be whole")
