"""The commands ``invite``, ``join``, ``leave`` and ``rotate``."""

import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from node.cli import completion
from node.cli.commands.lifecycle import DEFAULT_LISTEN, Advertise, Listen, Name, warn_of
from node.cli.console import (
    Chosen,
    Json,
    ask,
    errors_reported,
    parse_role,
    put_json,
    put_note,
    put_table,
    seconds,
    short,
)
from node.system.exit_codes import Exit
from node.system.local_time import local
from node.system.sanitize import clean

TICKET_MAX = "30d"
USES_MAX = 1000
TICKET_HINT = "pipe the line that gangline invite printed into join, or use --ticket-file"


def invite(
    role: Annotated[
        str,
        typer.Option(
            metavar="ROLE",
            help="member or observer.",
            callback=parse_role,
            autocompletion=completion.roles,
        ),
    ] = "member",
    expires: Annotated[
        str, typer.Option(metavar="TIME", help="How long the ticket is valid, at most 30d.")
    ] = "1h",
    uses: Annotated[
        int, typer.Option(min=1, max=USES_MAX, metavar="N", help="How many nodes may use it.")
    ] = 1,
    listed: Annotated[
        bool, typer.Option("--list", help="List the tickets that this node issued.")
    ] = False,
    withdraw: Annotated[
        str | None, typer.Option("--revoke", metavar="TICKET", help="Revoke a ticket.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a ticket that lets a node join.

    The ticket is one line. By default it is valid for one node and one hour. Anyone who has the
    line can join, so handle it like a password. It works while this daemon runs and can be
    reached. --list and --revoke name a ticket by its hash.

    Example: gangline invite --expires 30m | ssh other-host gangline join
    Exits: 1 3 4 65
    """
    if listed:
        rows = ask("GET", "/tickets")
        if as_json:
            put_json(rows)
            return
        put_table(
            "",
            ("ticket", "role", "state", "used", "expires", "used by"),
            [
                (
                    row["ticket"], row["role"], row["state"],
                    f"{len(row['used_by'])} of {row['uses']}", local(row["expires"]),
                    ", ".join(map(short, row["used_by"])),
                )
                for row in rows
            ],
            empty="this node has issued no tickets",
        )  # fmt: skip
        return
    if withdraw is not None:
        ask("POST", "/tickets/withdraw", {"ticket": withdraw})
        typer.echo(f"revoked {clean(withdraw)}; nodes that used it stay")
        return
    duration = seconds("--expires", expires, "1s", TICKET_MAX)
    answer = ask("POST", "/invite", {"role": role, "seconds": duration, "uses": uses})
    if as_json:
        put_json(answer)
        return
    typer.echo(answer["ticket"])
    if sys.stdout.isatty():
        put_note("on the other host, run gangline join and paste this line")


def join(
    context: typer.Context,
    name: Name = None,
    listen: Listen = DEFAULT_LISTEN,
    advertise: Advertise = None,
    ticket_file: Annotated[
        Path | None,
        typer.Option("--ticket-file", metavar="FILE", help="Read the ticket from a file."),
    ] = None,
) -> None:
    """Join a cluster with a ticket.

    The ticket is read from a prompt, a pipe or a file. It is never an argument, since other users
    of the host can read arguments.

    Example: gangline join --name kennel-2
    Exits: 1 4 65
    """
    import asyncio  # noqa: PLC0415 - heavy, and only here

    from node.network.ticket import read_ticket  # noqa: PLC0415
    from node.provisioning import init_join  # noqa: PLC0415

    if context.args:  # not shown: this output may be logged
        raise typer.BadParameter(f"other users of this host can read arguments; {TICKET_HINT}")
    with errors_reported():
        if ticket_file is not None:
            try:
                text = ticket_file.read_text()
            except OSError as fault:
                put_note(f"cannot read {ticket_file}: {fault.strerror}")
                raise typer.Exit(Exit.ENVIRONMENT) from fault
        elif sys.stdin.isatty():
            text = typer.prompt("ticket", hide_input=True)
        else:
            text = sys.stdin.readline()
        if not text.strip():
            put_note(f"no ticket was given; {TICKET_HINT}")
            raise typer.Exit(Exit.MALFORMED)
        ticket = read_ticket(text)
        called = name or socket.gethostname()[:64]
        joining = init_join.join(Chosen.home, ticket, called, listen, advertise or ())
        node = asyncio.run(joining)
    typer.echo(f"joined cluster {ticket.cluster.hex()}")
    typer.echo(f"this node is {clean(called)} {node.hex()}")
    warn_of(listen, advertise)
    put_note("next: gangline run")


def leave() -> None:
    """Leave the cluster.

    The node that admitted this one, or the founder, takes it off the roster; one of them must be
    linked now. What this node wrote stays valid. Its copy of the board can still be read, but is
    no longer updated.

    Example: gangline leave && gangline stop
    Exits: 1 3 4
    """
    ask("POST", "/leave")
    typer.echo("left the cluster; what this node wrote stays valid")
    put_note("this copy can still be read; stop the daemon with: gangline stop")


def rotate() -> None:
    """Replace this node's key.

    The node that admitted this one, or the founder, admits the new key and revokes the old one;
    one of them must be linked now. Role, name, stories and moves stay. Executions and claims are
    written again under the new key, the old key is destroyed, and the daemon restarts itself.
    Nodes that an admin admitted under its old key can then be revoked only by the founder.

    Example: gangline rotate
    Exits: 1 3 4
    """
    answer = ask("POST", "/rotate")
    typer.echo(f"this node is now {answer['node']}")
