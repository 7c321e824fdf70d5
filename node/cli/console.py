"""What every command of the command line shares: which node, how to answer, how to end.

Stands under the groups of commands. Imports Rich only where a table is printed.
"""

import contextlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli import completion
from node.client.http_client import Client
from node.system.errors import NoDaemon, OperatorError
from node.system.exit_codes import Exit
from node.system.home import Home
from node.system.local_time import in_local_time
from node.system.sanitize import clean

if TYPE_CHECKING:
    from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
KEY_SHOWN = 8
TICKET = re.compile("gangline[0-9]{1,4}-[A-Za-z2-7]{8,}")
"""Whoever reads one may join: one that was given in the place of something else is not shown."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
OWN_HINT = re.compile(r"(?:(?<=: )|(?<=\())gangline(?= )")
"""A command to be pasted here. One for another host stands behind no colon and no bracket."""
FIRM_WIDTH = 12
"""A column gives way down to this, and one that is no wider does not."""
GAP = 3
PIPE_WIDTH = 1 << 20
"""Wide enough for any row: what reads a pipe goes by lines."""


class Chosen:
    """Which node the command line is about, and how a command says so."""

    home: Home = Home(Path())
    command = "gangline"


def client() -> Client:
    """The chosen node's daemon.

    Raises:
        Trouble: somebody else could answer in its place.
    """
    Chosen.home.check_socket()
    return Client(Chosen.home.socket)


def say(sentence: str) -> None:
    """One sentence on standard error, with nothing in it that a terminal obeys."""
    sys.stderr.write(f"gangline: {for_here(clean(sentence))}\n")


def for_here(sentence: str) -> str:
    """A sentence as it is true of whoever reads it: of the chosen node, and in local time."""
    told = TICKET.sub("(a ticket, not shown)", sentence)
    return OWN_HINT.sub(lambda _: Chosen.command, in_local_time(told))


@contextlib.contextmanager
def speaking() -> Iterator[None]:
    """Turn trouble into its sentence and its exit code.

    Raises:
        typer.Exit: there was trouble.
    """
    try:
        yield
    except OperatorError as trouble:
        say(trouble.message)
        if isinstance(trouble, NoDaemon) and not Chosen.home.config.exists():
            say(Chosen.home.why_no_node())  # or to start it would be the next step in vain
        raise typer.Exit(trouble.code) from None
    except (KeyboardInterrupt, typer.Abort):
        raise typer.Exit(Exit.INTERRUPTED) from None


def story_named(text: str | None) -> str | None:
    """A story's id as an argument gave it, before it becomes a part of a path.

    Raises:
        typer.Exit: it is none.
    """
    from machines.errors import InvalidValue  # noqa: PLC0415 - only where a story is named
    from machines.values import StoryId  # noqa: PLC0415

    try:
        return None if text is None else str(StoryId(text))
    except InvalidValue as fault:
        say(str(fault))
        raise typer.Exit(Exit.MALFORMED) from None


def agent_named(text: str) -> str:
    """An agent's name as an option gave it, before anything is written about the story.

    Raises:
        typer.Exit: no agent can be called that.
    """
    from machines.errors import InvalidValue  # noqa: PLC0415 - only where an agent is named
    from machines.values import AgentName  # noqa: PLC0415

    try:
        return str(AgentName(text))
    except InvalidValue as fault:
        say(f"--agent: {fault.rule}")
        raise typer.Exit(Exit.MALFORMED) from None


def role_named(text: str | None) -> str | None:
    """A role as an option gave it.

    Raises:
        typer.BadParameter: there is none of that name.
    """
    if text is not None and text not in (known := completion.roles()):
        raise typer.BadParameter(f"no role is called {text}; there are: {', '.join(known)}")
    return text


def node_named(text: str) -> str:
    """A name as an argument gave it, before anybody is asked.

    Raises:
        typer.Exit: nothing can be called that.
    """
    from machines.errors import InvalidValue  # noqa: PLC0415 - only where a node is named
    from node.config.node_name import node_name  # noqa: PLC0415

    try:
        return str(node_name(text))
    except InvalidValue as fault:
        say(str(fault))
        raise typer.Exit(Exit.MALFORMED) from None


StoryArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="The story.", callback=story_named, autocompletion=completion.stories
    ),
]


def seconds(option: str, text: str, least: str, most: str) -> int:
    """A duration such as 30m as seconds.

    Raises:
        typer.BadParameter: it is none, or out of the option's range.
    """
    lasts = _seconds(text)
    if lasts is None:
        raise typer.BadParameter(f"{option} {text}: a number and s, m, h or d, such as 30m")
    if not (_seconds(least) or 0) <= lasts <= (_seconds(most) or 0):
        raise typer.BadParameter(f"{option} {text}: from {least} to {most}")
    return lasts


def _seconds(text: str) -> int | None:
    found = re.fullmatch(r"([0-9]{1,6})([smhd]?)", text)
    return None if found is None else int(found[1]) * UNITS[found[2] or "s"]


def ask(method: str, path: str, body: object = None) -> Any:
    """Ask the daemon, or end with a sentence."""
    with speaking():
        return client().ask(method, path, body)


def as_plain(value: object) -> Any:
    """One of our own answers as the JSON that the daemon would send."""
    import msgspec  # noqa: PLC0415 - only where a file is looked at

    def plain(one: Any) -> Any:
        return one.hex() if isinstance(one, bytes) else str(one)

    return msgspec.to_builtins(value, enc_hook=plain)


def put_json(value: object) -> None:
    """An answer for programs."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def put_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    empty: str = "there are none",
) -> None:
    """An answer for people: every cell escaped, nothing cut off, one line a row in a pipe.

    Where a terminal is too narrow, columns with nothing in them are left out, then the widest give
    way first, and at last each row becomes lines of its own. ``empty`` is said, beside the answer,
    where there are no rows.
    """
    shown = [[clean("" if cell is None else str(cell)) for cell in row] for row in rows]
    if not shown:
        say(empty)
        return
    from rich.console import Console  # noqa: PLC0415 - slow to import, and only for tables

    console = Console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    widths = _widths(columns, shown)
    if sum(widths) + GAP * len(widths) > console.width:
        used = [number for number, _ in enumerate(columns) if any(row[number] for row in shown)]
        columns = [columns[number] for number in used]
        shown = [[row[number] for number in used] for row in shown]
        widths = [widths[number] for number in used]
    if sum(min(width, FIRM_WIDTH) + GAP for width in widths) > console.width:
        for row in shown:
            put_pairs(zip(columns, row, strict=True))
            typer.echo()
        return
    with console.capture() as capture:
        console.print(_table(title, columns, widths, shown, lines=console.is_terminal))
    for line in capture.get().splitlines():
        sys.stdout.write(f"{line.rstrip()}\n")


def _table(
    title: str,
    columns: Sequence[str],
    widths: Sequence[int],
    rows: Sequence[Sequence[str]],
    *,
    lines: bool,
) -> "Table":
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - slow to import, and only for tables
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(
        title=title or None, title_justify="left", title_style="bold",
        box=SIMPLE_HEAD if lines else None, pad_edge=False,
    )  # fmt: skip
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, overflow="fold", no_wrap=width <= FIRM_WIDTH)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len  # noqa: PLC0415 - slow to import, and only for tables

    return [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]


def put_pairs(rows: Iterable[tuple[str, object]]) -> None:
    """Names and values, a line each; what is empty is left out, and both are escaped.

    A value that is a list has a line for each of its own, all but the first indented.
    """
    shown = [(clean(name), value) for name, value in rows if value not in ("", None, [""])]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        first, *more = value if isinstance(value, list) else [value]
        typer.echo(f"{name.ljust(width)}  {clean(str(first))}")
        for line in more:
            typer.echo(f"{' ' * width}  {clean(str(line))}".rstrip())


def paragraphs(text: str) -> list[str]:
    """A text's own lines, where they may stand as such: newlines and tabs are allowed in it."""
    return text.expandtabs().split("\n")


def short(key: str) -> str:
    """A key as people see it."""
    return key[:KEY_SHOWN]


def stage_text(stage: dict[str, Any]) -> str:
    """A stage in a word or two."""
    name = str(stage["stage"])
    reason = stage.get("reason")
    return f"{name} ({reason['kind']})" if reason else name


def role_text(role: str, *, founder: bool) -> str:
    """A role, and whether it is the one who founded the cluster: an admin whom nobody revokes."""
    return f"{role} (founder)" if founder else role


def natural(text: str) -> tuple[list[str | int], str]:
    """Sorts as people count: s-2 before s-10."""
    parts = re.split("([0-9]+)", text)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], text
