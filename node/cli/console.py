"""What the commands share: the chosen node, checked arguments, output, and errors.

Rich is imported only to print a table.
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

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
KEY_SHOWN = 8
TICKET = re.compile("gangline[0-9]{1,4}-[A-Za-z2-7]{8,}")
"""A ticket. It is a secret, so one that was given by mistake for another argument is masked."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
OWN_HINT = re.compile(r"(?:(?<=: )|(?<=\())gangline(?= )")
"""A command for this host, which follows a colon or a bracket; one for another host does not."""
FIRM_WIDTH = 12
"""A wide column shrinks to this at most; a narrower one keeps its width."""
GAP = 3
PIPE_WIDTH = 1 << 20
"""Wide enough for any row: programs that read a pipe read one line a row."""


class Chosen:
    """The node that ``--home`` chose, and how a command for it is written."""

    home: Home = Home(Path())
    command = "gangline"


def client() -> Client:
    """Return a client of the chosen node's daemon.

    Raises:
        OperatorError: another user could answer in its place.
    """
    Chosen.home.check_socket()
    return Client(Chosen.home.socket)


def put_note(sentence: str) -> None:
    """Print a sentence on standard error, escaped."""
    sys.stderr.write(f"gangline: {localized(clean(sentence))}\n")


def localized(sentence: str) -> str:
    """Adapt a sentence to its reader: commands get ``--home``, times are local, tickets masked."""
    masked = TICKET.sub("(a ticket, not shown)", sentence)
    return OWN_HINT.sub(lambda _: Chosen.command, in_local_time(masked))


@contextlib.contextmanager
def errors_reported() -> Iterator[None]:
    """Print an ``OperatorError`` as a sentence and end with its exit code.

    Raises:
        typer.Exit: there was an error.
    """
    try:
        yield
    except OperatorError as error:
        put_note(error.message)
        if isinstance(error, NoDaemon) and not Chosen.home.config.exists():
            put_note(Chosen.home.why_no_node())  # starting the daemon would fail too
        raise typer.Exit(error.code) from None
    except (KeyboardInterrupt, typer.Abort):
        raise typer.Exit(Exit.INTERRUPTED) from None


def parse_story_id(text: str | None) -> str | None:
    """Check a story's id before it becomes part of a URL.

    Raises:
        typer.Exit: it is not a story's id.
    """
    from machines.errors import InvalidValue  # noqa: PLC0415 - only where a story is named
    from machines.values import StoryId  # noqa: PLC0415

    try:
        return None if text is None else str(StoryId(text))
    except InvalidValue as fault:
        put_note(str(fault))
        raise typer.Exit(Exit.MALFORMED) from None


def parse_agent(text: str) -> str:
    """Check an agent's name before anything is written about the story.

    Raises:
        typer.Exit: an agent cannot have this name.
    """
    from machines.errors import InvalidValue  # noqa: PLC0415 - only where an agent is named
    from machines.values import AgentName  # noqa: PLC0415

    try:
        return str(AgentName(text))
    except InvalidValue as fault:
        put_note(f"--agent: {fault.rule}")
        raise typer.Exit(Exit.MALFORMED) from None


def parse_role(text: str | None) -> str | None:
    """Check the name of a role.

    Raises:
        typer.BadParameter: there is no such role.
    """
    if text is not None and text not in (known := completion.roles()):
        raise typer.BadParameter(f"no role is called {text}; there are: {', '.join(known)}")
    return text


def parse_node_name(text: str) -> str:
    """Check a node's name before the daemon is asked.

    Raises:
        typer.Exit: a node cannot have this name.
    """
    from machines.errors import InvalidValue  # noqa: PLC0415 - only where a node is named
    from node.config.node_name import node_name  # noqa: PLC0415

    try:
        return str(node_name(text))
    except InvalidValue as fault:
        put_note(str(fault))
        raise typer.Exit(Exit.MALFORMED) from None


StoryArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="A story's id.",
        callback=parse_story_id,
        autocompletion=completion.stories,
    ),
]


def seconds(option: str, text: str, least: str, most: str) -> int:
    """Read a duration such as 30m, in seconds.

    Raises:
        typer.BadParameter: it is not a duration, or not in the option's range.
    """
    duration = _seconds(text)
    if duration is None:
        raise typer.BadParameter(f"{option} {text}: a number and s, m, h or d, such as 30m")
    if not (_seconds(least) or 0) <= duration <= (_seconds(most) or 0):
        raise typer.BadParameter(f"{option} {text}: from {least} to {most}")
    return duration


def _seconds(text: str) -> int | None:
    found = re.fullmatch(r"([0-9]{1,6})([smhd]?)", text)
    return None if found is None else int(found[1]) * UNITS[found[2] or "s"]


def ask(method: str, path: str, body: object = None) -> Any:
    """Ask the daemon; if it refuses or is not there, print why and exit."""
    with errors_reported():
        return client().ask(method, path, body)


def to_builtins(value: object) -> Any:
    """Convert an answer made from a file to the JSON that the daemon would send."""
    import msgspec  # noqa: PLC0415 - only to read a file

    def plain(one: Any) -> Any:
        return one.hex() if isinstance(one, bytes) else str(one)

    return msgspec.to_builtins(value, enc_hook=plain)


def put_json(value: object) -> None:
    """Print an answer for programs."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def put_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    empty: str = "none",
) -> None:
    """Print a table for people: every cell escaped, nothing cut off, one line a row in a pipe.

    On a terminal that is too narrow, empty columns are left out and the widest wrap; if that is
    not enough, each row becomes a list of pairs. ``empty`` is printed on standard error if there
    are no rows.
    """
    shown = [[clean("" if cell is None else str(cell)) for cell in row] for row in rows]
    if not shown:
        put_note(empty)
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
    """Print names and values, a line each, escaped; empty values are left out.

    A value that is a list takes a line for each item, indented after the first.
    """
    shown = [(clean(name), value) for name, value in rows if value not in ("", None, [""])]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        first, *more = value if isinstance(value, list) else [value]
        typer.echo(f"{name.ljust(width)}  {clean(str(first))}")
        for line in more:
            typer.echo(f"{' ' * width}  {clean(str(line))}".rstrip())


def paragraphs(text: str) -> list[str]:
    """Split a text into its lines: free text may hold newlines and tabs."""
    return text.expandtabs().split("\n")


def short(key: str) -> str:
    """The start of a key, as people see it."""
    return key[:KEY_SHOWN]


def stage_text(stage: dict[str, Any]) -> str:
    """A stage, with its reason if it has one."""
    name = str(stage["stage"])
    reason = stage.get("reason")
    return f"{name} ({reason['kind']})" if reason else name


def role_text(role: str, *, founder: bool) -> str:
    """A role, marked if it is the founder's."""
    return f"{role} (founder)" if founder else role


def natural_key(text: str) -> tuple[list[str | int], str]:
    """A sort key that puts s-2 before s-10."""
    parts = re.split("([0-9]+)", text)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)], text
