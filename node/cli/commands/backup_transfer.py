"""The commands ``backup``, ``restore``, ``export`` and ``import``."""

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

PROGRESS_SECONDS = 2.0

File = Annotated[Path, typer.Argument(metavar="FILE")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing files.")]


class Progress:
    """Prints the progress of long work on standard error, at most every two seconds."""

    def __init__(self) -> None:
        from node.system import clock  # noqa: PLC0415 - only for long work

        self._monotonic = clock.monotonic
        self._next = self._monotonic() + PROGRESS_SECONDS

    def __call__(self, what: str, done: int, of: int) -> None:
        """Report that ``done`` of ``of`` units are done."""
        if self._monotonic() >= self._next and of:
            self._next = self._monotonic() + PROGRESS_SECONDS
            put_note(f"{what}: {100 * done // of} % of {of}")


def backup(
    file: File,
    with_key: Annotated[bool, typer.Option("--with-key", help="Include the secret key.")] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Back up this node into one file.

    The file holds the config and the store as of one instant; --with-key adds the secret key. The
    daemon may run meanwhile. A damaged store is not backed up. Restore with: gangline restore FILE

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
                "the daemon does not answer, so of this node's addresses the backup has only those "
                "under advertise in the config"
            )
            listening = ""
        except NoDaemon:
            listening = ""
        made = work.backup(
            Chosen.home, file, listening=listening, with_key=with_key, force=force,
            progress=Progress(),
        )  # fmt: skip
    if as_json:
        put_json(_summary(made, file))
        return
    typer.echo(
        f"{file}: node {made.node.short}, {counted(made.records, 'record')}, as of {local(made.at)}"
    )
    if with_key:
        put_note("the file holds this node's secret key: anyone who reads it can act as this node")
    else:
        put_note(f"the key is not in it: keep a copy of {Chosen.home.key} too, or use --with-key")


def restore(
    file: File,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="The node's key file, if the backup has none."),
    ] = None,
    as_new: Annotated[
        bool,
        typer.Option("--as-new", help="Make a new node, with a new key, that must be admitted."),
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The name of the new node.")
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen", metavar="HOST:PORT", help="The new node's address; default: the old node's."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Restore a node from a backup.

    The home must not have a node yet. The node keeps its key and fetches from its peers what it
    wrote since the backup. If the old node still runs, use --as-new, since two daemons with one
    key disturb each other. On the same host, also give the new node its own port with --listen.

    Example: gangline restore /var/backups/den.gangline --key node.key
    gangline --home two restore den.gangline --as-new --listen 127.0.0.1:7468
    Exits: 1 4 5 65
    """
    from node.provisioning import backup as work  # noqa: PLC0415 - heavy, and only here

    if as_new and key is not None:
        raise typer.BadParameter("a new node makes its own key; use either --key or --as-new")
    if listen is not None and not as_new:
        raise typer.BadParameter(
            "--listen is for a new node (--as-new); this node's address is in its config"
        )
    called = (name or socket.gethostname()[:64]) if as_new else ""
    with errors_reported():
        made = work.restore(
            Chosen.home, file, key_path=key, as_new=as_new, name=called, listen=listen,
            force=force, progress=Progress(),
        )  # fmt: skip
    if as_json:
        put_json(_summary(made, file))
    else:
        typer.echo(f"node {made.node.hex()} of cluster {made.cluster}")
        typer.echo(f"{counted(made.records, 'record')}, as of {local(made.at)}")
    if as_new and listen is None and not made.listen.endswith(":0") and made.listen:
        put_note(
            f"it listens at {made.listen}, like the old node; if both run on one host, set another "
            f"listen in {Chosen.home.config} (or restore with --listen HOST:PORT)"
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


def _summary(made: Any, file: Path) -> dict[str, Any]:
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
    """Export the board as lines of JSON.

    Each line is a story with its fields, its stage and its events. Authors, times, executions,
    claims, lost events and the roster are left out. Without FILE the lines go to standard output.

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
        bool, typer.Option("--force", help="Overwrite fields that differ here.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Import a board from a file of gangline export.

    Missing stories are added and brought to their stage by the same events, written by this node
    and stamped now. Empty fields are filled. Differences are left as they are here and printed;
    the command then ends with 5. After an interruption, run it again to continue.

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
        put_note(f"{file} is not a file of gangline export: {fault}")
        raise typer.Exit(Exit.MALFORMED) from fault
    result: dict[str, Any] = {
        "stories": len(there),
        "added": 0,
        "edited": 0,
        "fired": 0,
        "left": [],
    }
    progress = Progress()
    with errors_reported():
        lines = [_line(one) for one in client().stream("/export")]
        here = {one.id: one for one in board_transfer.read(lines)}
        for number, line in enumerate(there, start=1):
            plan = board_transfer.plan(line, here.get(line.id), force=force)
            result["left"] += [f"{plan.id}: {left}" for left in plan.left]
            _carry_out(plan, result)
            progress("importing", number, len(there))
    if as_json:
        put_json(result)
    else:
        typer.echo(
            f"{counted(result['stories'], 'story')}: {result['added']} added, "
            f"{result['edited']} edited, {counted(result['fired'], 'event')} fired, "
            f"{counted(len(result['left']), 'difference')} left as in this board"
        )
        for left in result["left"]:
            put_note(left)
    if result["left"]:
        raise typer.Exit(Exit.DIFFER)


def _carry_out(plan: Any, result: dict[str, Any]) -> None:
    """Write what one story lacks; what the rules refuse is added to ``left``.

    Raises:
        RequestRefused: nothing can be written now.
    """
    path = f"/stories/{segment(plan.id)}"
    daemon = client()
    try:
        if plan.new:
            daemon.ask("POST", path, plan.fields)
            result["added"] += 1
        elif plan.fields:
            daemon.ask("PATCH", path, plan.fields)
            result["edited"] += 1
        for event in plan.events:
            daemon.ask("POST", f"{path}/events", {"event": event, "force": True})
            result["fired"] += 1
    except RequestRefused as refusal:
        if refusal.passing:
            raise
        result["left"].append(f"{plan.id}: {refusal.message}")
