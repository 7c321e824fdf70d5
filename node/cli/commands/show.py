"""The commands ``status``, ``nodes``, ``peers``, ``stories``, ``story`` and ``watch``."""

import json
from typing import Annotated, Any

import typer

from node.cli import completion
from node.cli.console import (
    Json,
    StoryArgument,
    ask,
    client,
    errors_reported,
    localized,
    natural_key,
    paragraphs,
    parse_story_id,
    put_json,
    put_note,
    put_pairs,
    put_table,
    role_text,
    short,
    stage_text,
)
from node.client.http_client import segment
from node.reporting.describe import Names, display_name, format_ref, roster_change
from node.system.exit_codes import Exit
from node.system.local_time import in_local_time, local
from node.system.plurals import counted
from node.system.sanitize import clean

AT_REST = ("idle", "completed")
STAGE_SHOWN = ("feature_branch", "commits_ahead", "merge_commit", "merged_at", "archived_at")
TIMES = {
    "since": "since",
    "started_at": "since",
    "last_heartbeat": "last heartbeat",
    "resume_at": "may go on",
    "completed_at": "at",
}
"""The times of an execution's state, and the word before each."""
PATHS_SHOWN = 2
NONE_YET = "no stories yet; add one with: gangline add ID"


def status(as_json: Json = False) -> None:
    """Show this node and its cluster at a glance.

    Example: gangline status --json | jq .digest
    Exits: 1 3
    """
    answer = ask("GET", "/status")
    if as_json:
        put_json(answer)
        return
    stages = ", ".join(f"{count} {stage}" for stage, count in answer["stories"].items()) or "none"
    put_pairs(
        (
            ("node", f"{answer['name']} {answer['node']}"),
            ("cluster", answer["cluster"]),
            ("role", role_text(answer["role"], founder=answer["founder"])),
            (
                "writes",
                localized(answer["writable"]) or f"yes, in incarnation {answer['incarnation']}",
            ),
            ("listens", answer["listen"] or "no"),
            ("peers", f"{answer['peers']} linked"),
            ("stories", stages),
            ("records", f"{answer['live']} live, {answer['pending']} pending"),
            ("unshared", f"{counted(answer['unshared'], 'record')} that no other node has yet"),
            ("forks", f"{answer['forks']} proven"),
            ("digest", answer["digest"]),
            *(("notice", localized(sentence)) for sentence in answer["notices"]),
        )
    )


def nodes(as_json: Json = False) -> None:
    """List the nodes of the cluster.

    A node is alive if it was heard of in the last 45 seconds, suspect up to 150, then offline.
    "Heard through" lists the peers that brought news of it, and how long ago; if some still do,
    the node is alive and the other peers are slow.

    Example: gangline nodes
    Exits: 1 3
    """
    rows = ask("GET", "/nodes")
    if as_json:
        put_json(rows)
        return
    put_table(
        "",
        ("node", "name", "role", "seen", "linked", "heard through", "working on"),
        [
            (
                short(row["node"]), row["name"], role_text(row["role"], founder=row["founder"]),
                row["liveness"], "yes" if row["linked"] else "",
                _heard_through(row), _working_on(row),
            )
            for row in rows
        ],
    )  # fmt: skip


def _working_on(row: dict[str, Any]) -> str:
    """The stories that a node works on, with its state in each."""
    executions = sorted(row["executions"].items(), key=lambda one: natural_key(one[0]))
    return ", ".join(f"{story} ({state})" for story, state in executions if state not in AT_REST)


def _heard_through(row: dict[str, Any]) -> str:
    """The peers that brought news of a node, the latest first."""
    paths = [
        f"{'itself' if path['peer'] == row['node'] else path['name'] or short(path['peer'])} "
        f"{path['seconds']:.0f}s"
        for path in row["seen_by"][:PATHS_SHOWN]
    ]
    left = len(row["seen_by"]) - len(paths)
    return ", ".join([*paths, f"{left} more"] if left else paths)


def peers(as_json: Json = False) -> None:
    """List links to other nodes, failed attempts, and bans.

    "Agrees" is whether both nodes had the same board when they last compared. "In" and "out" count
    the messages over the current link.

    A peer that sends what no honest node sends is banned for a while, longer each time. The ban is
    on its key or, before it has shown a key, on its address.

    Example: gangline peers
    Exits: 1 3
    """
    rows = ask("GET", "/peers")
    if as_json:
        put_json(rows)
        return
    agrees = {None: "not asked yet", True: "yes", False: "not yet"}
    put_table(
        "",
        ("node", "name", "state", "address", "agrees", "in", "out", "last error"),
        [
            (
                short(row["node"]), row["name"], row["state"], row["address"],
                agrees[row["agrees"]], row["frames_in"], row["frames_out"],
                in_local_time(row["error"]),
            )
            for row in rows
        ],
    )  # fmt: skip


def stories(
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE", help="Only stories at this stage.", autocompletion=completion.stages
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the stories on the board.

    The table is in natural order (s-2 before s-10), JSON in the order of the ids as text.

    Example: gangline stories --stage coding
    Exits: 1 3
    """
    if stage is not None and stage not in (known := completion.stages()):
        raise typer.BadParameter(f"no stage is called {stage}; there are: {', '.join(known)}")
    rows = [r for r in ask("GET", "/stories") if stage in (None, r["stage"]["stage"])]
    if as_json:
        put_json(rows)
        return
    put_table(
        "",
        ("story", "stage", "working on it", "waits for", "lost", "title"),
        [
            (
                row["id"], stage_text(row["stage"]),
                ", ".join(f"{_node(e)} {e['shown']}" for e in row["executions"]
                          if e["shown"] not in AT_REST),
                ", ".join(row["depends_on"]) if row["stage"]["stage"] == "backlog" else "",
                len(row["conflicts"]) or "", row["title"],
            )
            for row in sorted(rows, key=lambda row: natural_key(row["id"]))
        ],
        empty=f"no story is at {stage}" if stage else NONE_YET,
    )  # fmt: skip


def _node(execution: dict[str, Any]) -> str:
    return execution["name"] or short(execution["node"])


def story(story_id: StoryArgument, as_json: Json = False) -> None:
    """Show one story: stage, executions, claims and lost events.

    A running agent on an offline node is shown as unreachable. Its last heartbeat is the newer of
    the recorded one and the one in the node's presence.

    Example: gangline story s-1
    Exits: 1 3 4 65
    """
    answer = ask("GET", f"/stories/{segment(story_id)}")
    if as_json:
        put_json(answer)
        return
    names = answer["names"]
    stage = answer["stage"]
    reason = stage.get("reason", {})
    rows: list[tuple[str, object]] = [
        ("story", answer["id"]),
        ("title", answer["title"]),
        ("stage", stage_text(stage)),
        ("moved by", format_ref(names, answer["last"])),
        *(
            (name.replace("_", " "), local(value) if name.endswith("_at") else value)
            for name, value in stage.items()
            if name in STAGE_SHOWN
        ),
        *((name, paragraphs(value)) for name, value in reason.items() if name != "kind"),
        ("description", paragraphs(answer["description"] or "")),
        ("depends on", ", ".join(answer["depends_on"])),
        ("labels", ", ".join(answer["labels"])),
    ]
    rows += [(_node(one), _doing(one)) for one in answer["executions"]]
    rows += [("claim", _claim(one, answer)) for one in answer["claims"] if not one["released"]]
    for one in answer["conflicts"]:
        beaten = format_ref(names, one["beaten_by"])
        lost = f"{one['event']['event']} at {format_ref(names, one['record'])}"
        rows.append(("lost", f"{lost}{f', beaten by {beaten}' if beaten else ''}: {one['why']}"))
    put_pairs(rows)


def _doing(one: dict[str, Any]) -> str:
    """An execution: ``running coder-1 since …, last heartbeat …``."""
    state = one["state"]
    parts = [f"{one['shown']} {state.get('agent', '')}".rstrip()]
    for field, word in TIMES.items():
        if field in state:
            parts.append(f"{word} {local(state[field])}")
    if "exit_code" in state:
        parts.append(f"exit code {state['exit_code']}")
    if one["shown"] != state["state"]:
        parts.append(f"it was {state['state']} when the node was last heard of")
    return ", ".join(parts)


def _claim(one: dict[str, Any], answer: dict[str, Any]) -> str:
    """A claim: by which node, until when, and whether it holds the story."""
    from node.system import clock  # noqa: PLC0415 - only if there are claims

    who, end = display_name(answer["names"], one["node"]), local(one["until"])
    if one["node"] == answer["holder"]:
        return f"held by {who} until {end}"
    if one["until"] <= str(clock.wall()):
        return f"claimed by {who}, expired at {end}"
    return f"claimed by {who} until {end}, but does not hold it"


def watch(
    story_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help="Only events of this story.",
            callback=parse_story_id,
            autocompletion=completion.stories,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print events as they happen, until Ctrl-C.

    Each line begins with the local time at which this node learned of the event. Seals are printed
    with --json only. If the reader is too slow, a line gives the number of events that were
    missed. The command ends with 3 when the daemon ends.

    Example: gangline watch s-1
    Exits: 1 3 65 130
    """
    path = "/events" if story_id is None else f"/events?story={segment(story_id)}"
    names = {} if as_json else {row["node"]: row["name"] for row in ask("GET", "/nodes")}
    from node.system import clock  # noqa: PLC0415 - only here

    with errors_reported():
        for event in client().stream(path):
            if as_json:
                typer.echo(clean(json_line(event)))
            elif event.get("kind") != "seal":
                typer.echo(
                    f"{local(clock.wall())}  {clean(in_local_time(event_line(event, names)))}"
                )
        put_note("the daemon has ended")
    raise typer.Exit(Exit.NO_DAEMON)


def json_line(event: dict[str, Any]) -> str:
    """Format an event as one line of JSON."""
    return json.dumps(event)


def event_line(event: dict[str, Any], names: Names) -> str:
    """Format an event for people, on one line."""
    where = format_ref(names, event["record"]) if event.get("record") else ""
    match event["type"]:
        case "stage_moved":
            late = ", late" if event["late"] else ""
            moved = f"{stage_text(event['before'])} → {stage_text(event['after'])}"
            return f"{event['story']}: {moved} by {event['event']} ({where}{late})"
        case "event_lost":
            beaten = format_ref(names, event["beaten_by"]) or "nothing"
            return f"{event['story']}: {event['event']} ({where}) lost to {beaten}: {event['why']}"
        case "execution_moved":
            node = display_name(names, event["node"])
            return f"{event['story']}: {node} is {event['state']} by {event['event']} ({where})"
        case "claim_moved":
            holder = "nobody" if event["holder"] is None else display_name(names, event["holder"])
            lost = "; this node lost it" if event["lost_by_us"] else ""
            return f"{event['story']}: claimed by {holder}{lost}"
        case "record_admitted":
            return f"{event['kind']} admitted ({where})"
        case "record_rejected":
            return f"rejected {where}: {event['reason']}, {event['detail']}"
        case "fork_proven":
            author = display_name(names, event["author"])
            return f"fork: {author} signed two records at {event['incarnation']}#{event['clock']}"
        case "roster_moved":
            return f"roster: {'; '.join(roster_change(one, names) for one in event['changes'])}"
        case "peer_faulted":
            peer = display_name(names, event["peer"])
            return f"dropped {peer}: {event['reason']}, {event['detail']}"
        case "incarnation_opened":
            return f"this node goes on in incarnation {event['incarnation']}: {event['why']}"
        case "missed":
            return f"(missed {counted(event['count'], 'event')}: too slow)"
        case "noticed":
            node = f"{display_name(names, event['node'])}: " if event.get("node") else ""
            return f"{node}{event['what']}: {event['detail']}"
        case other:
            return f"{other} {where}".rstrip()
