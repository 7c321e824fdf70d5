"""``gangline machine``: the state machines by themselves, with no daemon and no cluster.

Takes events, one JSON object a line, and shows what the machine makes of each. Imports nothing of
the core, so that it answers at once.
"""

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NoReturn

import msgspec
import typer

from machines.codec import enc_hook, lenient_hook
from machines.diagram import MACHINES, dot, mermaid, table
from machines.execution import ExecutionEvent, ExecutionState
from machines.kernel import Ignored, Machine, Transition, Updated, tag_of
from machines.pipeline import PipelineEvent, Stage
from machines.values import Instant
from node import clock
from node.cli.exits import Exit
from node.cli.text import UNSAFE, clean

app = typer.Typer(no_args_is_help=True, help="The state machines by themselves.")

UNIONS: dict[str, tuple[Any, Any]] = {
    "pipeline": (Stage, PipelineEvent),
    "execution": (ExecutionState, ExecutionEvent),
}
LINE_BYTES_MAX = 65_536
ERROR_CHARACTERS_MAX = 300

Name = Annotated[str, typer.Argument(metavar="NAME", help="pipeline or execution")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of text for people.")]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="JSON", help="The state to start from; else the initial one."),
]


class NoEvent(ValueError):
    """A line that is no event of the machine."""


def _machine(name: str) -> Machine:
    if name not in MACHINES:
        _fail(f"no machine is called {clean(name)}; there are: {', '.join(MACHINES)}", Exit.USAGE)
    return MACHINES[name]


def _fail(sentence: str, code: Exit) -> NoReturn:
    typer.echo(f"gangline: {sentence}", err=True)
    raise typer.Exit(code)


def _json(value: object) -> str:
    """JSON that holds nothing a terminal would obey: such characters stand escaped, as JSON may."""
    text = msgspec.json.encode(value, enc_hook=enc_hook).decode()
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


@app.command("table")
def show_table(name: Name, as_json: Json = False) -> None:
    """Print every rule; a superstate's rules stand once.

    Example: gangline machine table pipeline
    Exits: 2
    """
    machine = _machine(name)
    rows = table(machine)
    if as_json:
        fields = ("from", "event", "to", "action")
        typer.echo(_json([dict(zip(fields, row, strict=True)) for row in rows]))
        return
    from rich.console import Console  # noqa: PLC0415 - slow to import, and only for tables
    from rich.table import Table  # noqa: PLC0415

    grid = Table(title=f"{name}: what is not here is ignored")
    for heading, style in (("from", "cyan"), ("event", "bold"), ("to", "green"), ("asks for", "")):
        grid.add_column(heading, style=style)
    for row in rows:
        grid.add_row(*row)
    Console().print(grid)


@app.command()
def diagram(
    name: Name,
    as_dot: Annotated[bool, typer.Option("--dot", help="Graphviz instead of Mermaid.")] = False,
) -> None:
    """Draw the machine from its table, as Mermaid or DOT text.

    Example: gangline machine diagram execution --dot | dot -Tsvg > execution.svg
    Exits: 2
    """
    machine = _machine(name)
    typer.echo(dot(machine) if as_dot else mermaid(machine), nl=False)


@app.command()
def legal(name: Name, start: From = None, as_json: Json = False) -> None:
    """List the events that a state does not ignore.

    Example: gangline machine legal pipeline --from '{"stage": "qa"}'
    Exits: 65
    """
    machine = _machine(name)
    events = machine.legal_events(_start(machine, start))
    typer.echo(_json(events) if as_json else "\n".join(events))


@app.command()
def replay(
    name: Name,
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Events, one JSON object a line; - for stdin.")
    ] = "-",
    start: From = None,
    as_json: Json = False,
) -> None:
    """Feed events to the machine and show what it makes of each.

    A line is an event such as {"event": "block", "reason": "why"}, with an optional "at" (else
    now). A line that is no event is told, changes nothing, and makes the command end with 65. At a
    terminal the legal events are offered, and  block reason="why"  will do.

    Example: gangline machine replay pipeline examples/happy_path.jsonl
      echo '{"event": "deps_met"}' | gangline machine replay pipeline --json
    Exits: 1 65
    """
    machine = _machine(name)
    state = _start(machine, start)
    if file == "-":
        ok = _replay(machine, state, sys.stdin.buffer, as_json=as_json, ask=sys.stdin.isatty())
    else:
        try:
            with Path(file).open("rb") as lines:
                ok = _replay(machine, state, lines, as_json=as_json, ask=False)
        except OSError as fault:
            _fail(f"cannot read {clean(file)}: {fault.strerror}", Exit.ENVIRONMENT)
    if not ok:
        raise typer.Exit(Exit.MALFORMED)


def _start(machine: Machine, text: str | None) -> Any:
    """The state to start from; ends the command where the text is none of this machine's."""
    if text is None:
        return machine.initial
    try:
        return msgspec.convert(
            read_json(text.encode()), type=UNIONS[machine.name][0], dec_hook=lenient_hook
        )
    except ValueError as fault:  # NoEvent, msgspec's and Unicode's are all ValueErrors
        _fail(f"--from is no state of {machine.name}: {_reason(fault)}", Exit.MALFORMED)


def _reason(fault: ValueError) -> str:
    """What is wrong, in one safe and short line: it may quote the input."""
    return clean(str(fault))[:ERROR_CHARACTERS_MAX]


def _replay(machine: Machine, state: Any, source: BinaryIO, *, as_json: bool, ask: bool) -> bool:
    """Replay every line; says whether all of them were events."""
    ok = True
    if ask:
        _ask(machine, state)
    for number, line in _lines(source):
        try:
            event, at = read_event(machine, line, typed=ask)
        except ValueError as fault:
            ok = False
            if as_json:
                typer.echo(_json({"line": number, "error": _reason(fault)}))
            else:
                typer.echo(f"line {number}: {_reason(fault)}", err=True)
        else:
            outcome = machine.step(state, event, at)
            if not isinstance(outcome, Ignored):
                state = outcome.state
            if as_json:
                typer.echo(_json({"outcome": type(outcome).__name__.lower(), "state": state}))
            else:
                _tell(machine.event_name(event), outcome, _json(state))
        if ask:
            _ask(machine, state)
    return ok


def _ask(machine: Machine, state: Any) -> None:
    """Prompt with the legal events, beside the answers and not among them."""
    events = ", ".join(machine.legal_events(state)) or "nothing is legal here; Ctrl-D ends"
    typer.secho(f"{machine.state_name(state)} ({events}) > ", nl=False, err=True, fg="cyan")


def _tell(event: str, outcome: Transition | Updated | Ignored, state: str) -> None:
    """One line for people; the colours fall away where the output is no terminal."""
    match outcome:
        case Transition():
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
