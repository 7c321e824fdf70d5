"""``status``, ``nodes``, ``peers``, ``stories``, ``story``, ``watch``: looking."""

from typing import Annotated, Any

import typer

from node.cli.common import (
    Json,
    ask,
    client,
    put_json,
    put_table,
    ref_text,
    short,
    speaking,
)
from node.cli.exits import Exit
from node.cli.text import clean
from node.client import segment

Story = Annotated[str, typer.Argument(metavar="ID", help="The story.")]


def status(as_json: Json = False) -> None:
    """The node and its cluster at a glance.

    Example: gangline status --json | jq .digest
    """
    answer = ask("GET", "/status")
    if as_json:
        put_json(answer)
        return
    stages = ", ".join(f"{count} {stage}" for stage, count in answer["stories"].items()) or "none"
    rows = (
        ("node", f"{answer['name']} {answer['node']}"),
        ("cluster", answer["cluster"]),
        ("role", answer["role"]),
        ("writes", answer["writable"] or f"yes, in incarnation {answer['incarnation']}"),
        ("listens", answer["listen"] or "no"),
        ("peers", answer["peers"]),
        ("stories", stages),
        ("records", f"{answer['live']} live, {answer['pending']} pending"),
        ("unshared", f"{answer['unshared']} records that no other node has yet"),
        ("forks", f"{answer['forks']} proven"),
        ("digest", answer["digest"]),
    )
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        typer.echo(f"{name.ljust(width)}  {clean(str(value))}")


def nodes(as_json: Json = False) -> None:
    """Every node of the cluster as seen from here.

    Example: gangline nodes
    """
    rows = ask("GET", "/nodes")
    if as_json:
        put_json(rows)
        return
    put_table(
        "",
        ("node", "name", "role", "seen", "linked", "working on"),
        [
            (
                short(row["node"]),
                row["name"],
                row["role"],
                row["liveness"],
                "yes" if row["linked"] else "",
                ", ".join(f"{k} ({v})" for k, v in row["executions"].items() if v != "idle"),
            )
            for row in rows
        ],
    )


def peers(as_json: Json = False) -> None:
    """Every link, and those that do not come about.

    Example: gangline peers
    """
    rows = ask("GET", "/peers")
    if as_json:
        put_json(rows)
        return
    agrees = {None: "not asked yet", True: "yes", False: "not yet"}
    put_table(
        "",
        ("node", "state", "address", "agrees", "in", "out", "last error"),
        [
            (
                short(row["node"]), row["state"], row["address"], agrees[row["agrees"]],
                row["frames_in"], row["frames_out"], row["error"],
            )
            for row in rows
        ],
    )  # fmt: skip


def stage_text(stage: dict[str, Any]) -> str:
    """A stage in a word or two."""
    name = str(stage["stage"])
    reason = stage.get("reason")
    return f"{name} ({reason['kind']})" if reason else name


def stories(
    stage: Annotated[str | None, typer.Option(help="Only those at this stage.")] = None,
    as_json: Json = False,
) -> None:
    """The board.

    Example: gangline stories --stage coding
    """
    rows = [r for r in ask("GET", "/stories") if stage in (None, r["stage"]["stage"])]
    if as_json:
        put_json(rows)
        return
    put_table(
        "",
        ("story", "title", "stage", "depends on", "lost events"),
        [
            (
                row["id"], row["title"], stage_text(row["stage"]),
                ", ".join(row["depends_on"]), len(row["conflicts"]) or "",
            )
            for row in rows
        ],
    )  # fmt: skip


def story(story_id: Story, as_json: Json = False) -> None:
    """One story: where it stands, who works on it, what lost.

    Example: gangline story s-1
    """
    answer = ask("GET", f"/stories/{segment(story_id)}")
    if as_json:
        put_json(answer)
        return
    typer.echo(clean(f"{answer['id']}  {answer['title'] or ''}"))
    typer.echo(f"stage  {clean(stage_text(answer['stage']))}")
    for name in ("description", "depends_on", "labels"):
        if answer[name]:
            value = answer[name]
            text = value if isinstance(value, str) else ", ".join(value)
            typer.echo(f"{name.replace('_', ' ')}  {clean(text)}")
    for one in answer["executions"]:
        typer.echo(f"{short(one['node'])} is {clean(str(one['state']['state']))}")
    for one in answer["claims"]:
        if not one["released"]:
            typer.echo(f"claimed by {short(one['node'])} until {one['until']}")
    for one in answer["conflicts"]:
        event = clean(str(one["event"]["event"]))
        beaten = ref_text(one["beaten_by"]) or "nothing"
        typer.echo(f"lost: {event} at {ref_text(one['record'])}, beaten by {beaten}: {one['why']}")


def watch(
    story_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only this story.")] = None,
    as_json: Json = False,
) -> None:
    """Print what happens, as it happens; until Ctrl-C.

    Example: gangline watch s-1
    """
    path = "/events" if story_id is None else f"/events?story={segment(story_id)}"
    with speaking():
        for event in client().stream(path):
            typer.echo(clean(_json_line(event)) if as_json else _event_line(event))
    raise typer.Exit(Exit.NO_DAEMON)


def _json_line(event: dict[str, Any]) -> str:
    import json  # noqa: PLC0415 - the module is named like the option elsewhere

    return json.dumps(event)


def _event_line(event: dict[str, Any]) -> str:
    kind = event["type"]
    if kind == "stage_moved":
        text = (
            f"{event['story']}: {stage_text(event['before'])} → {stage_text(event['after'])} "
            f"by {event['event']}"
        )
    elif kind == "missed":
        text = f"(missed {event['count']} events: too slow)"
    else:
        where = ref_text(event["record"]) if event.get("record") else ""
        story_id = event.get("story", "")
        text = f"{kind.replace('_', ' ')} {story_id} {where}".rstrip()
    return clean(text)
