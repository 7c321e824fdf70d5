"""The command ``gangline``: puts the groups of commands together.

Stands outside the line. Imports as little as each command needs, so that the quick ones are quick.
"""

import typer

from node.cli import machine
from node.cli.exits import Exit

app = typer.Typer(
    name="gangline",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Keeps the state of a fleet of coding agents.",
)
app.add_typer(machine.app, name="machine")


@app.callback()
def gangline() -> None:
    """Keep the state of a fleet of coding agents: one board, a daemon on every host, no server."""


def run() -> None:
    """The console script."""
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(Exit.INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        raise SystemExit(Exit.DONE) from None
