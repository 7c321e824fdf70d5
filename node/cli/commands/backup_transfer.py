"""``backup``, ``restore``, ``export``, ``import``: what is kept, and how it comes back."""

import shlex
import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli.console import Chosen, Json, client, errors_reported, put_json, put_note
from node.client.http_client import RequestRefused, segment
from node.system.errors import NoDaemon, Silent
from node.system.exit_codes import Exit
from node.system.local_time import local
from node.system.plurals import counted

SAY_SECONDS = 2.0

File = Annotated[Path, typer.Argument(metavar="FILE")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]


class Progress:
    """Says on standard error how far long work has come, at most every two seconds."""

    def __init__(self) -> None:
        from node.system import clock  # noqa: PLC0415 - only where work may be long

        self._monotonic = clock.monotonic
        self._next = self._monotonic() + SAY_SECONDS

    def __call__(self, what: str, done: int, of: int) -> None:
        """So much of the work is done."""
        if self._monotonic() >= self._next and of:
            self._next = self._monotonic() + SAY_SECONDS
            put_note(f"{what}: {100 * done // of} % of {of}")


def backup(
    file: File,
    with_key: Annotated[
        bool, typer.Option("--with-key", help="Put the secret key into it too.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write this node into one file, while its daemon runs or not.

    It holds the store as of one instant and the config, and the secret key only where asked for.
    Of a damaged store none is made. Restore it with: gangline restore FILE

    Example: gangline backup /var/backups/den.gangline
    gangline backup --with-key --force ~/den.gangline
    Exits: 1 5
    """
    from node.provisioning import backup as work  # noqa: PLC0415 - heavy, and only here

    with errors_reported():
        try:
            listening = str(client().ask("GET", "/status")["listen"])
        except Silent:
            put_note(
                "the daemon does not answer: without what it says, the backup names no address for "
                "this node except those under advertise in the config"
            )
            listening = ""
        except NoDaemon:
            listening = ""
        made = work.backup(
            Chosen.home, file, listening=listening, with_key=with_key, force=force,
            progress=Progress(),
        )  # fmt: skip
    if as_json:
        put_json(_told(made, file))
        return
    typer.echo(
        f"{file}: node {made.node.short}, {counted(made.records, 'record')}, as of {local(made.at)}"
    )
    if with_key:
        put_note("the file holds this node's secret key: whoever reads it can be this node")
    else:
        put_note(f"the key is not in it: keep a copy of {Chosen.home.key} too, or give --with-key")


def restore(
    file: File,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="The node's key file, if the backup has none."),
    ] = None,
    as_new: Annotated[
        bool, typer.Option("--as-new", help="A node of its own, with a new key, that must join.")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What a new node is called.")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen", metavar="HOST:PORT", help="Where a new node listens; else as the other did."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a node from a backup, in a home that has none.

    It comes back under its key and fetches from its peers what it wrote since. Where the first
    host still runs, use --as-new: two daemons with one key get in each other's way. On one host
    the two need two ports: give the new one its own with --listen.

    Example: gangline restore /var/backups/den.gangline --key node.key
    gangline --home two restore den.gangline --as-new --listen 127.0.0.1:7468
    Exits: 1 4 5 65
    """
    from node.provisioning import backup as work  # noqa: PLC0415 - heavy, and only here

    if as_new and key is not None:
        raise typer.BadParameter("a new node makes its own key: leave out --key or --as-new")
    if listen is not None and not as_new:
        raise typer.BadParameter(
            "--listen is for a node of its own (--as-new); this one's stands in its config"
        )
    called = (name or socket.gethostname()[:64]) if as_new else ""
    with errors_reported():
        made = work.restore(
            Chosen.home, file, key_path=key, as_new=as_new, name=called, listen=listen,
            force=force, progress=Progress(),
        )  # fmt: skip
    if as_json:
        put_json(_told(made, file))
    else:
        typer.echo(f"node {made.node.hex()} of cluster {made.cluster}")
        typer.echo(f"{counted(made.records, 'record')}, as of {local(made.at)}")
    if as_new and listen is None and not made.listen.endswith(":0") and made.listen:
        put_note(
            f"it listens at {made.listen}, as the first one does: where both run on one host, set "
            f"another listen in {Chosen.home.config} (or restore with --listen HOST:PORT)"
        )
    if as_new:
        put_note(
            "this node is new: an admin must admit it by running gangline members admit "
            f"{made.node.hex()} --name {shlex.quote(called)}; then here: gangline run"
        )
    else:
        put_note(
            "next: gangline run; its first write opens a new feed, and peers bring the rest back"
        )


def _told(made: Any, file: Path) -> dict[str, Any]:
    return {
        "file": str(file),
        "node": made.node.hex(),
        "cluster": made.cluster,
        "at": made.at,
        "records": made.records,
        "key": made.key,
    }


def export(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]")] = None,
    force: Force = False,
) -> None:
    """Write the board as lines of JSON: each story with its fields, its stage and its events.

    Not in it: who wrote what and when, executions, claims, lost events, the roster. Without a
    FILE it goes to standard output.

    Example: gangline export board.jsonl
    gangline export | jq -r 'select(.type == "story") | .id'
    Exits: 1 3
    """
    from node.system.atomic_file import atomic_file  # noqa: PLC0415 - heavy, and only here

    with errors_reported():
        data = b"".join(_line(one) for one in client().stream("/export"))
        if file is None:
            sys.stdout.write(data.decode())
            return
        with atomic_file(file, force=force) as partial:
            partial.write_bytes(data)
    stories = data.count(b"\n") - 1
    typer.echo(f"{file}: {counted(stories, 'story')}")


def _line(value: object) -> bytes:
    import json  # noqa: PLC0415 - only here

    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file, or - for a pipe.")],
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite fields that are others here.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write what a file of gangline export says, and this board lacks.

    Stories that are missing are added and brought to their stage by the same events, written by
    this node and stamped now; fields that are empty here are filled. What differs here is left
    and named. Begun again after an interruption, it goes on where it stopped.

    Example: gangline import board.jsonl
    gangline --home old export | gangline --home new import -
    Exits: 1 3 4 5 65
    """
    from node.provisioning import board_transfer  # noqa: PLC0415 - heavy, and only here

    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        there = board_transfer.read(data.splitlines())
    except OSError as fault:
        put_note(f"cannot read {file}: {fault.strerror}")
        raise typer.Exit(Exit.ENVIRONMENT) from fault
    except ValueError as fault:
        put_note(f"{file} is no board of gangline export: {fault}")
        raise typer.Exit(Exit.MALFORMED) from fault
    told: dict[str, Any] = {"stories": len(there), "added": 0, "edited": 0, "fired": 0, "left": []}
    progress = Progress()
    with errors_reported():
        lines = [_line(one) for one in client().stream("/export")]
        here = {one.id: one for one in board_transfer.read(lines)}
        for number, line in enumerate(there, start=1):
            plan = board_transfer.plan(line, here.get(line.id), force=force)
            told["left"] += [f"{plan.id}: {left}" for left in plan.left]
            _carry_out(plan, told)
            progress("importing", number, len(there))
    if as_json:
        put_json(told)
    else:
        typer.echo(
            f"{counted(told['stories'], 'story')}: {told['added']} added, {told['edited']} edited, "
            f"{counted(told['fired'], 'event')} fired, "
            f"{counted(len(told['left']), 'thing')} left as in this board"
        )
        for left in told["left"]:
            put_note(left)
    if told["left"]:
        raise typer.Exit(Exit.DIFFER)


def _carry_out(plan: Any, told: dict[str, Any]) -> None:
    """Write one story's share; what the rules refuse is named and left.

    Raises:
        Refused: nothing can be written now.
    """
    path = f"/stories/{segment(plan.id)}"
    daemon = client()
    try:
        if plan.new:
            daemon.ask("POST", path, plan.fields)
            told["added"] += 1
        elif plan.fields:
            daemon.ask("PATCH", path, plan.fields)
            told["edited"] += 1
        for event in plan.events:
            daemon.ask("POST", f"{path}/events", {"event": event, "force": True})
            told["fired"] += 1
    except RequestRefused as refusal:
        if refusal.passing:
            raise
        told["left"].append(f"{plan.id}: {refusal.message}")
