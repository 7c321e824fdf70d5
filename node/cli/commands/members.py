"""``members`` and its commands: who belongs, in which role."""

from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli import completion
from node.cli.console import (
    Json,
    ask,
    client,
    node_named,
    put_json,
    put_table,
    role_named,
    role_text,
    say,
    short,
    speaking,
)
from node.client.http_client import RequestRefused
from node.system.exit_codes import Exit
from node.system.local_time import local
from node.system.sanitize import clean

NodeArgument = Annotated[
    str,
    typer.Argument(
        metavar="NODE",
        help="Its key, the start of it, or its name.",
        autocompletion=completion.nodes,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be written, no more.")]
DATE = len("2026-11-30")
KEEP_HELP = (
    "What of its work still counts. written: all that this host holds of it now; right for a host "
    "that is retired or lost. nothing: none of it; right for a key that somebody stole, but its "
    "stories and moves go too. Or pairs incarnation:clock, as inspect feeds shows them: in each "
    "feed what stands below that clock; a feed that is not listed counts for nothing."
)

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
        [_line(row, _next_key(row, rows)) for row in rows],
    )


def _next_key(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The key under which a node goes on; empty where there is none.

    Who revoked it had given its name to another key first: only a node's next key may have that.
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
    """One key: the admission it stands by, or the last one it had; to the day."""
    if not row["admissions"]:  # nothing of the cluster is here; the founder's key is in the config
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
            help="admin, member or observer; else the role that it had, or member.",
            callback=role_named,
            autocompletion=completion.roles,
        ),
    ] = None,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="What the node is called; else as it was.")
    ] = "",
) -> None:
    """Admit a node by its key, or take one back in: all it ever wrote counts again.

    Who is taken back has the role and the name that it had last, unless others are given. What it
    wrote in a higher role does not count in a lower one: the command says so, and what to do.

    Example: gangline members admit 1feb11c0… --role observer --name wall-screen
    Exits: 1 3 4 65
    """
    asked = {"node": node, "name": name and node_named(name)}
    answer = ask("POST", "/members", asked | ({} if role is None else {"role": role}))
    row = next(row for row in ask("GET", "/members") if row["node"] == node)
    called = f", called {clean(row['name'])}" if row["name"] else ""
    typer.echo(f"admitted {short(node)} as {row['role']}{called}")
    for warning in answer["warnings"]:
        say(warning)


@members.command()
def promote(
    node: NodeArgument,
    role: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE",
            help="admin or member; else the next.",
            callback=role_named,
            autocompletion=completion.roles,
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
            autocompletion=completion.roles,
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
    ask("POST", "/members/name", {"node": node, "name": node_named(name)})
    typer.echo(f"{clean(node)} is called {clean(name)}")


@members.command()
def revoke(
    node: NodeArgument,
    keep: Annotated[str, typer.Option(metavar="WHAT", help=KEEP_HELP)] = "written",
) -> None:
    """Take a node off the roster: its links end, and no link with it comes about any more.

    By whoever admitted it, or the founder. What it knows already it keeps. Its key can still sign
    for the places in its feed that were kept and are empty now: if somebody else may have it, say
    --keep nothing.

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
    from node.cli.commands import roster_file  # noqa: PLC0415 - only here

    with speaking():
        plan = roster_file.plan(roster_file.read(file), ask("GET", "/members"))
    left = list(plan.left)
    for step in plan.steps:
        if dry_run:
            typer.echo(f"would {clean(step.said)}")
            continue
        with speaking():
            try:
                client().ask("POST", step.path, step.body)
                typer.echo(f"done: {clean(step.said)}")
            except RequestRefused as refusal:
                if refusal.passing:
                    raise
                left.append(f"cannot {step.said}: {refusal.message}")
    for sentence in (*plan.extra, *left):
        say(sentence)
    if not plan.steps and not left:
        typer.echo("the roster has all that the file has")
    if left:
        raise typer.Exit(Exit.DIFFER)
