"""What every command of the command line shares: which node, how to answer, how to end.

Stands under the groups of commands. Imports Rich only where a table is printed.
"""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli.exits import Exit
from node.cli.text import clean
from node.client import Client
from node.errors import Trouble
from node.home import Home

Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
KEY_SHOWN = 8


class Chosen:
    """Which node the command line is about."""

    home: Home = Home(Path())


def client() -> Client:
    """The chosen node's daemon."""
    return Client(Chosen.home.socket)


def say(sentence: str) -> None:
    """One sentence on standard error, with nothing in it that a terminal obeys."""
    sys.stderr.write(f"gangline: {clean(sentence)}\n")


@contextlib.contextmanager
def speaking() -> Iterator[None]:
    """Turn trouble into its sentence and its exit code.

    Raises:
        typer.Exit: there was trouble.
    """
    try:
        yield
    except Trouble as trouble:
        say(trouble.sentence)
        raise typer.Exit(trouble.code) from None
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None


def ask(method: str, path: str, body: object = None) -> Any:
    """Ask the daemon, or end with a sentence."""
    with speaking():
        return client().ask(method, path, body)


def put_json(value: object) -> None:
    """An answer for programs."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def put_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """An answer for people; every cell is escaped."""
    from rich.console import Console  # noqa: PLC0415 - slow to import, and only for tables
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=title or None, title_justify="left")
    for number, column in enumerate(columns, start=1):
        # Only the last column gives way where the terminal is narrow.
        table.add_column(column, no_wrap=number < len(columns), overflow="fold")
    for row in rows:
        table.add_row(*(escape(clean("" if cell is None else str(cell))) for cell in row))
    Console(soft_wrap=not sys.stdout.isatty()).print(table)


def short(key: str) -> str:
    """A key as people see it."""
    return key[:KEY_SHOWN]


def ref_text(ref: Sequence[Any] | None) -> str:
    """A record's place as people see it."""
    return "" if ref is None else f"{short(ref[0])}/{ref[1]}#{ref[2]}"
