"""``invite``, ``join``, ``leave``, ``rotate``: how a node comes in, goes, or changes its key."""

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
    put_json,
    put_table,
    role_named,
    say,
    seconds,
    short,
    speaking,
)
from node.system.exit_codes import Exit
from node.system.local_time import local
from node.system.sanitize import clean

TICKET_MAX = "30d"
USES_MAX = 1000
TICKET_WAY = "pipe the line that gangline invite printed into join, or name a file by --ticket-file"


def invite(
    role: Annotated[
        str,
        typer.Option(
            metavar="ROLE",
            help="member or observer.",
            callback=role_named,
            autocompletion=completion.roles,
        ),
    ] = "member",
    expires: Annotated[
        str, typer.Option(metavar="TIME", help="How long it works, at most 30d.")
    ] = "1h",
    uses: Annotated[
        int, typer.Option(min=1, max=USES_MAX, metavar="N", help="How many nodes it lets in.")
    ] = 1,
    listed: Annotated[
        bool, typer.Option("--list", help="List the tickets that this node gave out.")
    ] = False,
    withdraw: Annotated[
        str | None, typer.Option("--revoke", metavar="TICKET", help="Let nobody in by it again.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a ticket that lets a node in: one line, for once, for an hour.

    Whoever holds the line can come in with it, so hand it over as you would a password. It works
    while this daemon runs and can be reached. --list and --revoke name a ticket by its hash.

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
            empty="no tickets were given out here",
        )  # fmt: skip
        return
    if withdraw is not None:
        ask("POST", "/tickets/withdraw", {"ticket": withdraw})
        typer.echo(f"withdrew {clean(withdraw)}; who came in by it stays")
        return
    lasts = seconds("--expires", expires, "1s", TICKET_MAX)
    answer = ask("POST", "/invite", {"role": role, "seconds": lasts, "uses": uses})
    if as_json:
        put_json(answer)
        return
    typer.echo(answer["ticket"])
    if sys.stdout.isatty():
        say("on the other host, run gangline join and paste this line")


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
    """Join a cluster by ticket, read from a prompt, a pipe or a file; never an argument.

    Example: gangline join --name kennel-2
    Exits: 1 4 65
    """
    import asyncio  # noqa: PLC0415 - heavy, and only here

    from node.network.ticket import read_ticket  # noqa: PLC0415
    from node.provisioning import init_join  # noqa: PLC0415

    if context.args:  # not shown: it would be in the log of whoever keeps this output
        raise typer.BadParameter(f"an argument may be read by others on this host; {TICKET_WAY}")
    with speaking():
        if ticket_file is not None:
            try:
                text = ticket_file.read_text()
            except OSError as fault:
                say(f"cannot read {ticket_file}: {fault.strerror}")
                raise typer.Exit(Exit.ENVIRONMENT) from fault
        elif sys.stdin.isatty():
            text = typer.prompt("ticket", hide_input=True)
        else:
            text = sys.stdin.readline()
        if not text.strip():
            say(f"no ticket was given; {TICKET_WAY}")
            raise typer.Exit(Exit.MALFORMED)
        ticket = read_ticket(text)
        called = name or socket.gethostname()[:64]
        joining = init_join.join(Chosen.home, ticket, called, listen, advertise or ())
        node = asyncio.run(joining)
    typer.echo(f"joined cluster {ticket.cluster.hex()}")
    typer.echo(f"this node is {clean(called)} {node.hex()}")
    warn_of(listen, advertise)
    say("next: gangline run")


def leave() -> None:
    """Leave the cluster: have this node taken off the roster. What it wrote stands.

    Asked of the node that admitted this one, or of the founder, whichever is linked now. The copy
    that is here stays here, to be read; it gets nothing new.

    Example: gangline leave && gangline stop
    Exits: 1 3 4
    """
    ask("POST", "/leave")
    typer.echo("left the cluster; what this node wrote stands")
    say("this copy can still be read; end it with: gangline stop")


def rotate() -> None:
    """Go on under a new key; the old one is revoked and destroyed.

    Asked of the node that admitted this one, or of the founder, whichever is linked now. The role,
    the name, the stories and moves stay; executions and claims are written anew under the new key.
    The daemon starts again by itself. Nodes that an admin took in under its old key can from then
    on be revoked by the founder alone.

    Example: gangline rotate
    Exits: 1 3 4
    """
    answer = ask("POST", "/rotate")
    typer.echo(f"this node is {answer['node']} from now on")
