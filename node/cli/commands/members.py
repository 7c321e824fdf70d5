"""The commands ``members …``: the roster of nodes and their roles."""

from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli import completion
from node.cli.console import (
    Json,
    ask,
    client,
    errors_reported,
    parse_node_name,
    parse_role,
    put_json,
    put_note,
    put_table,
    role_text,
    short,
)
from node.client.http_client import RequestRefused
from node.system.exit_codes import Exit
from node.system.local_time import local
from node.system.sanitize import clean

NodeArgument = Annotated[
    str,
    typer.Argument(
        metavar="NODE",
        help="The node's name, its key, or the start of its key.",
        autocompletion=completion.nodes,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be written.")]
DATE = len("2026-11-30")
KEEP_HELP = (
    "Which of its records still count. written: all that this host has now; use it for a host that "
    "is retired or lost. nothing: none; use it for a stolen key, but its stories and moves are "
    "lost too. Or pairs INCARNATION:CLOCK, as inspect feeds shows them: in each feed the records "
    "below that clock; a feed that is not listed counts for nothing."
)

members = typer.Typer(
    invoke_without_command=True, help="List members; admit, rename or revoke nodes."
)


@members.callback()
def list_members(context: typer.Context, as_json: Json = False) -> None:
    """List members; admit, rename or revoke nodes.

    Without a command: list each node, its role, and which nodes admitted and revoked it.

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
        [_line(row, _next_key(row, rows)) for row in rows],
    )


def _next_key(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The key that replaced a revoked one; empty if there is none.

    It is the key to which the revoking node gave the same name first: only the next key may have
    a node's name.
    """
    if row["belongs"] or not row["name"]:
        return ""
    last = row["admissions"][-1]
    found = [
        str(other["node"])
        for other in rows
        for one in other["admissions"][:1]
        if one["name"] == row["name"]
        for gone in last["revoked"]
        if one["by"] == gone["by"] and last["at"] < one["at"] <= gone["at"]
    ]
    return found[-1] if found else ""


def _line(row: dict[str, Any], successor: str) -> tuple[str, ...]:
    """The row of one key, with its admission that counts, or else its last one."""
    if not row["admissions"]:  # the store is empty; the founder's key is in the config
        return short(row["node"]), row["name"], role_text("unknown", founder=row["founder"]), "", ""
    standing = [one for one in row["admissions"] if not one["revoked"]]
    last = (standing or row["admissions"])[-1]
    by = last["by_name"] or short(last["by"])
    role = role_text(row["role"] or last["role"], founder=row["founder"])
    now = f", now {short(successor)}" if successor else ""
    gone = last["revoked"][-1] if last["revoked"] else None
    return (
        short(row["node"]),
        row["name"],
        role if row["belongs"] else f"was {role}{now}",
        f"{by}, {local(last['at'])[:DATE]}",
        f"{gone['by_name'] or short(gone['by'])}, {local(gone['at'])[:DATE]}" if gone else "",
    )


@members.command()
def admit(
    node: Annotated[str, typer.Argument(help="The node's public key, 64 hex digits.")],
    role: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE",
            help="admin, member or observer; default: its last role, or member.",
            callback=parse_role,
            autocompletion=completion.roles,
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="The node's name; default: its last name.")
    ] = "",
) -> None:
    """Admit a node by its key, or take a revoked node back.

    A node that is taken back gets its last role and name, unless others are given, and everything
    it wrote counts again. What it wrote in a higher role does not count in a lower one; the command
    then prints a warning and what to do.

    Example: gangline members admit 1feb11c0… --role observer --name wall-screen
    Exits: 1 3 4 65
    """
    asked = {"node": node, "name": name and parse_node_name(name)}
    answer = ask("POST", "/members", asked | ({} if role is None else {"role": role}))
    row = next(row for row in ask("GET", "/members") if row["node"] == node)
    called = f", called {clean(row['name'])}" if row["name"] else ""
    typer.echo(f"admitted {short(node)} as {row['role']}{called}")
    for warning in answer["warnings"]:
        put_note(warning)


@members.command()
def promote(
    node: NodeArgument,
    role: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE",
            help="admin or member; default: the next role.",
            callback=parse_role,
            autocompletion=completion.roles,
        ),
    ] = None,
) -> None:
    """Give a node a higher role.

    Only the founder can make a node an admin.

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
            help="member or observer; default: the next role.",
            callback=parse_role,
            autocompletion=completion.roles,
        ),
    ] = None,
) -> None:
    """Give a node a lower role.

    What it wrote in the higher role until now still counts. Only the node that admitted it in the
    higher role, or the founder, can do this.

    Example: gangline members demote kennel-2 --role observer
    Exits: 1 3 4 65
    """
    ask("POST", "/members/role", {"node": node, "up": False, "role": role})
    typer.echo(f"demoted {clean(node)}")


@members.command()
def rename(
    node: NodeArgument,
    name: Annotated[str, typer.Argument(help="The new name.")],
) -> None:
    """Rename a node.

    Only the node that admitted it, or the founder, can do this.

    Example: gangline members rename 1feb11c0 kennel-3
    Exits: 1 3 4 65
    """
    ask("POST", "/members/name", {"node": node, "name": parse_node_name(name)})
    typer.echo(f"{clean(node)} is called {clean(name)}")


@members.command()
def revoke(
    node: NodeArgument,
    keep: Annotated[str, typer.Option(metavar="WHAT", help=KEEP_HELP)] = "written",
) -> None:
    """Take a node off the roster.

    Its links end and no new ones are made; it keeps what it has received. Only the node that
    admitted it, or the founder, can do this. Its key can still sign records for empty slots below
    the clocks that are kept; if someone else may have the key, use --keep nothing.

    Example: gangline members revoke kennel-2 --keep nothing
    Exits: 1 3 4 65
    """
    answer = ask("POST", "/members/revoke", {"node": node, "keep": keep})
    typer.echo(f"revoked {clean(node)}")
    for warning in answer["warnings"]:
        put_note(warning)


@members.command("apply")
def apply_file(
    file: Annotated[Path, typer.Argument(help="A TOML file, or JSON if its name ends in .json.")],
    dry_run: DryRun = False,
) -> None:
    """Bring the roster up to a file of members.

    Each entry has node (the key), role (default: member) and name. Missing nodes are admitted,
    lower roles are raised, and names are changed. No node is revoked, demoted or taken back; such
    differences are printed, and the command ends with 5.

    Example: gangline members apply hosts.toml --dry-run
    Exits: 1 3 4 5 65
    """
    from node.cli.commands import roster_file  # noqa: PLC0415 - only here

    with errors_reported():
        plan = roster_file.plan(roster_file.read(file), ask("GET", "/members"))
    left = list(plan.left)
    for step in plan.steps:
        if dry_run:
            typer.echo(f"would {clean(step.text)}")
            continue
        with errors_reported():
            try:
                client().ask("POST", step.path, step.body)
                typer.echo(f"done: {clean(step.text)}")
            except RequestRefused as refusal:
                if refusal.passing:
                    raise
                left.append(f"cannot {step.text}: {refusal.message}")
    for sentence in (*plan.extra, *left):
        put_note(sentence)
    if not plan.steps and not left:
        typer.echo("the roster has everything in the file")
    if left:
        raise typer.Exit(Exit.DIFFER)
