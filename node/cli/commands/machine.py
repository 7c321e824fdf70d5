"""The commands ``machine …``: the state machines alone, without a daemon or a cluster.

``replay.py`` feeds them events. It and the machines are imported by the commands that need them.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from node.cli import completion
from node.cli.console import put_table
from node.system.exit_codes import Exit
from node.system.sanitize import clean

if TYPE_CHECKING:
    from machines.kernel import Machine

app = typer.Typer(no_args_is_help=True, help="Print and try the state machines.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="pipeline or execution.", autocompletion=completion.machines
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="JSON", help="The state to start from; default: the initial state."
    ),
]


def _machine(name: str) -> "Machine":
    from machines.diagram import MACHINES  # noqa: PLC0415

    if name not in MACHINES:
        _fail(f"no machine is called {clean(name)}; there are: {', '.join(MACHINES)}", Exit.USAGE)
    return MACHINES[name]


def _fail(sentence: str, code: Exit) -> NoReturn:
    typer.echo(f"gangline: {sentence}", err=True)
    raise typer.Exit(code)


def _start(machine: "Machine", text: str | None) -> Any:
    """The state to start from; ends the command if the text is not one of this machine's."""
    from node.cli.commands import replay  # noqa: PLC0415

    try:
        if text is None:
            return machine.initial
        return replay.read_state(machine, replay.read_json(text.encode()))
    except ValueError as fault:
        _fail(f"--from is not a state of {machine.name}: {replay.reason(fault)}", Exit.MALFORMED)


@app.command("table")
def show_table(name: Name, as_json: Json = False) -> None:
    """Print the rules of a machine.

    The rules of a superstate are printed once.

    Example: gangline machine table pipeline
    Exits: 2
    """
    from machines.diagram import table  # noqa: PLC0415
    from node.cli.commands import replay  # noqa: PLC0415

    machine = _machine(name)
    rows = table(machine)
    if as_json:
        fields = ("from", "event", "to", "action")
        typer.echo(replay.to_json([dict(zip(fields, row, strict=True)) for row in rows]))
        return
    put_table(
        f"{name}: events that are not listed are ignored", ("from", "event", "to", "asks for"), rows
    )


@app.command()
def diagram(
    name: Name,
    as_dot: Annotated[
        bool, typer.Option("--dot", help="Print DOT (Graphviz) instead of Mermaid.")
    ] = False,
) -> None:
    """Draw a machine as Mermaid or DOT text.

    Example: gangline machine diagram execution --dot | dot -Tsvg > execution.svg
    Exits: 2
    """
    from machines.diagram import dot, mermaid  # noqa: PLC0415

    machine = _machine(name)
    typer.echo(dot(machine) if as_dot else mermaid(machine), nl=False)


@app.command()
def legal(name: Name, start: From = None, as_json: Json = False) -> None:
    """List the events that a state takes.

    Example: gangline machine legal pipeline --from '{"stage": "qa"}'
    Exits: 65
    """
    from node.cli.commands import replay  # noqa: PLC0415

    machine = _machine(name)
    events = machine.legal_events(_start(machine, start))
    typer.echo(replay.to_json(events) if as_json else "\n".join(events))


@app.command("replay")
def replay_events(
    name: Name,
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Events, one JSON object a line; - for stdin.")
    ] = "-",
    start: From = None,
    as_json: Json = False,
) -> None:
    """Feed events to a machine and print each outcome.

    A line is an event such as {"event": "block", "reason": "why"}, with an optional "at" (default:
    now). A line that is not an event is reported and changes nothing, and the command ends with
    65. If the first line is not JSON, the rest is not read. On a terminal the legal events are
    listed, and  block reason="why"  is enough.

    Example: gangline machine replay pipeline events.jsonl
      echo '{"event": "deps_met"}' | gangline machine replay pipeline --json
    Exits: 1 65
    """
    from node.cli.commands import replay  # noqa: PLC0415

    machine = _machine(name)
    state = _start(machine, start)
    if file == "-":
        ask = sys.stdin.isatty()
        ok = replay.replay(machine, state, sys.stdin.buffer, as_json=as_json, ask=ask)
    else:
        try:
            lines = Path(file).open("rb")  # noqa: SIM115 - what fails below may be the answer
        except OSError as fault:
            _fail(f"cannot read {clean(file)}: {fault.strerror}", Exit.ENVIRONMENT)
        with lines:
            ok = replay.replay(machine, state, lines, as_json=as_json, ask=False)
    if not ok:
        raise typer.Exit(Exit.MALFORMED)
