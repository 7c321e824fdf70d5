"""``invite``, ``join``, ``members``: who belongs, and who comes in."""

import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli import complete
from node.cli.common import (
    Chosen,
    Json,
    ask,
    client,
    put_json,
    put_table,
    role_text,
    say,
    seconds,
    short,
    speaking,
)
from node.cli.common import when as shown_time
from node.cli.exits import Exit
from node.cli.found import DEFAULT_LISTEN, Advertise, Listen, Name
from node.cli.text import clean
from node.client import Refused


def role_named(text: str | None) -> str | None:
    """A role as an option gave it.

    Raises:
        typer.BadParameter: there is none of that name.
    """
    if text is not None and text not in (known := complete.roles()):
        raise typer.BadParameter(f"no role is called {text}; there are: {', '.join(known)}")
    return text


NodeArgument = Annotated[
    str,
    typer.Argument(
        metavar="NODE",
        help="Its key, the start of it, or its name.",
        autocompletion=complete.nodes,
    ),
]
TICKET_MAX = "30d"
USES_MAX = 1000
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be written, no more.")]
KEEP_HELP = (
    "What of its work still counts. written: all that this host holds of it now; right for a host "
    "that is retired or lost. nothing: none of it; right for a key that somebody stole, but its "
    "stories and moves go too. Or pairs incarnation:clock, as inspect feeds shows them: in each "
    "feed what stands below that clock; a feed that is not listed counts for nothing."
)


def invite(
    role: Annotated[
        str,
        typer.Option(
            metavar="ROLE",
            help="member or observer.",
            callback=role_named,
            autocompletion=complete.roles,
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
                    f"{len(row['used_by'])} of {row['uses']}", shown_time(row["expires"]),
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
    typer.echo(f"joined cluster {ticket.cluster.hex()}")
    typer.echo(f"this node is {clean(called)} {node.hex()}")
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


members = typer.Typer(invoke_without_command=True, help="Who belongs, and in which role.")


@members.callback()
def list_members(context: typer.Context, as_json: Json = False) -> None:
    """Who belongs, in which role, and by whose word.

    Example: gangline members
    Exits: 1 3
    """
    if context.invoked_subcommand is not None:
        return
    rows = ask("GET", "/members")
    if as_json:
        put_json(rows)
        return
    put_table(
        "",
        ("node", "name", "role", "admitted by", "revoked by"),
        [_line(row) for row in rows],
    )


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    """One key: the admission it stands by, or the last one it had; to the day."""
    standing = [one for one in row["admissions"] if not one["revoked"]]
    last = (standing or row["admissions"])[-1]
    by = last["by_name"] or short(last["by"])
    role = role_text(row["role"] or last["role"], founder=row["founder"])
    gone = last["revoked"][-1] if last["revoked"] else None
    return (
        short(row["node"]),
        row["name"],
        role if row["belongs"] else f"was {role}",
        f"{by}, {last['at'][:10]}",
        f"{gone['by_name'] or short(gone['by'])}, {gone['at'][:10]}" if gone else "",
    )


@members.command()
def admit(
    node: Annotated[str, typer.Argument(help="The node's public key, 64 hex digits.")],
    role: Annotated[
        str,
        typer.Option(
            metavar="ROLE",
            help="admin, member or observer.",
            callback=role_named,
            autocompletion=complete.roles,
        ),
    ] = "member",
    name: Annotated[str, typer.Option(metavar="NAME", help="What the node is called.")] = "",
) -> None:
    """Admit a node by its key, or take one back in: all it ever wrote counts again.

    Example: gangline members admit 1feb11c0… --role observer --name wall-screen
    Exits: 1 3 4 65
    """
    ask("POST", "/members", {"node": node, "role": role, "name": name})
    typer.echo(f"admitted {short(node)} as {role}")


@members.command()
def promote(
    node: NodeArgument,
    role: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE",
            help="admin or member; else the next.",
            callback=role_named,
            autocompletion=complete.roles,
        ),
    ] = None,
) -> None:
    """Give a node a higher role. Only the founder names admins.

    Example: gangline members promote kennel-2 --role admin
    Exits: 1 3 4 65
    """
    ask("POST", "/members/role", {"node": node, "up": True, "role": role})
    typer.echo(f"promoted {clean(node)}")


@members.command()
def demote(
    node: NodeArgument,
    role: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE",
            help="member or observer; else the next.",
            callback=role_named,
            autocompletion=complete.roles,
        ),
    ] = None,
) -> None:
    """Give a node a lower role. What it did in the higher one up to now stands.

    By whoever admitted it in the higher role, or the founder.

    Example: gangline members demote kennel-2 --role observer
    Exits: 1 3 4 65
    """
    ask("POST", "/members/role", {"node": node, "up": False, "role": role})
    typer.echo(f"demoted {clean(node)}")


@members.command()
def rename(
    node: NodeArgument,
    name: Annotated[str, typer.Argument(help="What it is called from now on.")],
) -> None:
    """Call a node something else. By whoever admitted it, or the founder.

    Example: gangline members rename 1feb11c0 kennel-3
    Exits: 1 3 4 65
    """
    ask("POST", "/members/name", {"node": node, "name": name})
    typer.echo(f"{clean(node)} is called {clean(name)}")


@members.command()
def revoke(
    node: NodeArgument, keep: Annotated[str, typer.Option(help=KEEP_HELP)] = "written"
) -> None:
    """Take a node off the roster: its links end, and nothing it writes from now on counts.

    By whoever admitted it, or the founder. What it knows already it keeps.

    Example: gangline members revoke kennel-2 --keep nothing
    Exits: 1 3 4 65
    """
    answer = ask("POST", "/members/revoke", {"node": node, "keep": keep})
    typer.echo(f"revoked {clean(node)}")
    for warning in answer["warnings"]:
        say(warning)


@members.command("apply")
def apply_file(
    file: Annotated[Path, typer.Argument(help="TOML, or JSON where it ends in .json.")],
    dry_run: DryRun = False,
) -> None:
    """Write what a list of hosts has and the roster lacks; for those who keep hosts in git.

    Each entry has node (the key), role (member where it is left out) and name. Who is missing is
    admitted, a lower role is raised, another name is given. Nobody is revoked or demoted, and who
    was revoked is not taken back: such differences are named, and end the command with 5.

    Example: gangline members apply hosts.toml --dry-run
    Exits: 1 3 4 5 65
    """
    from node import roster_file  # noqa: PLC0415 - only here

    with speaking():
        plan = roster_file.plan(roster_file.read(file), ask("GET", "/members"))
    left = list(plan.left)
    for step in plan.steps:
        if dry_run:
            typer.echo(f"would {clean(step.said)}")
            continue
        try:
            client().ask("POST", step.path, step.body)
            typer.echo(clean(step.said))
        except Refused as refusal:
            left.append(f"cannot {step.said}: {refusal.sentence}")
    for sentence in (*plan.extra, *left):
        say(sentence)
    if not plan.steps and not left:
        typer.echo("the roster has all that the file has")
    if left:
        raise typer.Exit(Exit.DIFFER)
