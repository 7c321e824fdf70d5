"""``init``, ``invite``, ``join``, ``members``, ``run``, ``stop``: found, join, be a node."""

import re
import socket
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from node import clock
from node.cli.common import Chosen, Json, ask, put_json, put_table, say, short, speaking
from node.cli.exits import Exit

DEFAULT_LISTEN = "127.0.0.1:7467"
STOP_SECONDS_MAX = 60
STOP_POLL_SECONDS = 0.05
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

Name = Annotated[str | None, typer.Option("--name", help="What the node is called.")]
Listen = Annotated[
    str, typer.Option("--listen", help="host:port; port 0: a free one at each start.")
]
Advertise = Annotated[
    list[str] | None,
    typer.Option(help="host:port that others dial, where that is another; may be repeated."),
]


def seconds(text: str) -> int:
    """A duration such as 30m as seconds.

    Raises:
        typer.BadParameter: it is none.
    """
    found = re.fullmatch(r"(\d{1,6})([smhd]?)", text)
    if found is None:
        raise typer.BadParameter("a number with s, m, h or d behind it, such as 30m")
    return int(found[1]) * UNITS[found[2] or "s"]


def init(name: Name = None, listen: Listen = DEFAULT_LISTEN, advertise: Advertise = None) -> None:
    """Found a cluster: make this node's key, and the record that everything else rests on.

    By default it listens on this host alone. For others to join, listen on an address that they
    reach, or on every address and say with --advertise which one that is.

    Example: gangline init --name den --listen 0.0.0.0:7467 --advertise den.example:7467
    Exits: 1
    """
    from node import founding  # noqa: PLC0415 - heavy, and only here

    with speaking():
        called = name or socket.gethostname()[:64]
        node, cluster = founding.found(Chosen.home, called, listen, advertise or ())
    typer.echo(f"founded cluster {cluster.hex()}\nthis node is {node.hex()}")
    say("next: gangline run; then, for each further host: gangline invite")


def invite(
    role: Annotated[str, typer.Option(help="member or observer.")] = "member",
    expires: Annotated[str, typer.Option(help="How long the ticket works.")] = "1h",
) -> None:
    """Print a ticket that lets one node in, once.

    Example: gangline invite --expires 30m | ssh other-host gangline join
    Exits: 1 3 4
    """
    answer = ask("POST", "/invite", {"role": role, "seconds": seconds(expires)})
    typer.echo(answer["ticket"])
    say("on the other host: gangline join, and paste this line")


def join(
    name: Name = None,
    listen: Listen = DEFAULT_LISTEN,
    advertise: Advertise = None,
    ticket_file: Annotated[
        Path | None, typer.Option("--ticket-file", help="Read the ticket from a file.")
    ] = None,
) -> None:
    """Join a cluster by ticket, read from a prompt, a pipe or a file; never an argument.

    Example: gangline join --name kennel-2
    Exits: 1 4 65
    """
    import asyncio  # noqa: PLC0415 - heavy, and only here

    from node import founding  # noqa: PLC0415
    from node.ticket import read_ticket  # noqa: PLC0415

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
        ticket = read_ticket(text)
        called = name or socket.gethostname()[:64]
        joining = founding.join(Chosen.home, ticket, called, listen, advertise or ())
        node = asyncio.run(joining)
    typer.echo(f"joined cluster {ticket.cluster.hex()}\nthis node is {node.hex()}")
    say("next: gangline run")


members = typer.Typer(invoke_without_command=True, help="Who belongs; admit and revoke.")


@members.callback()
def list_members(context: typer.Context, as_json: Json = False) -> None:
    """List who belongs.

    Example: gangline members
    Exits: 1 3
    """
    if context.invoked_subcommand is not None:
        return
    rows = ask("GET", "/nodes")
    if as_json:
        put_json(rows)
        return
    put_table("", ("node", "name", "role"), [(r["node"], r["name"], r["role"]) for r in rows])


@members.command()
def admit(
    node: Annotated[str, typer.Argument(help="The node's public key, 64 hex digits.")],
    role: Annotated[str, typer.Option(help="admin, member or observer.")] = "member",
    name: Annotated[str, typer.Option(help="What the node is called.")] = "",
) -> None:
    """Admit a node by its key, or give it another role or name.

    Example: gangline members admit 1feb11c0… --role admin --name den-2
    Exits: 1 3 4 65
    """
    ask("POST", "/members", {"node": node, "role": role, "name": name})
    typer.echo(f"admitted {short(node)} as {role}")


@members.command()
def revoke(
    node: Annotated[str, typer.Argument(help="The node's key, or the start of it.")],
    keep: Annotated[
        bool, typer.Option(help="Keep what it wrote up to now, or count nothing of it.")
    ] = True,
) -> None:
    """Withdraw a node's admission.

    Example: gangline members revoke 1feb11c0 --no-keep
    Exits: 1 3 4
    """
    ask("POST", "/members/revoke", {"node": node, "keep": keep})
    typer.echo(f"revoked {short(node)}")


def run(
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Write on without what a damaged store lost.")
    ] = False,
) -> None:
    """Be the node: keep links, serve the local API; until Ctrl-C or gangline stop.

    Example: gangline --home ~/den run
    Exits: 1
    """
    from node import daemon  # noqa: PLC0415 - heavy, and only here

    with speaking():
        daemon.main(Chosen.home, accept_loss=accept_loss)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the cluster running.")] = False,
) -> None:
    """Three nodes on this host, five stories through a real repository, a kill and two lies.

    Example: gangline demo --keep
    Exits: 1 5 130
    """
    from node import demo as play  # noqa: PLC0415 - only here

    with speaking():
        play.show(keep)


def stop() -> None:
    """Ask the daemon to seal its feed and end, and wait until it has.

    Example: gangline stop
    Exits: 1 3
    """
    ask("POST", "/stop")
    end = clock.monotonic() + STOP_SECONDS_MAX
    while Chosen.home.socket.exists():
        if clock.monotonic() > end:
            say(f"the daemon was told to stop, but has not ended after {STOP_SECONDS_MAX} s")
            raise typer.Exit(Exit.ENVIRONMENT)
        time.sleep(STOP_POLL_SECONDS)
    typer.echo("stopped")
