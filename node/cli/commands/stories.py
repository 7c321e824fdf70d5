"""``add``, ``edit``, ``fire``, ``claim``, ``release``, ``exec``: acting on stories."""

from typing import Annotated, Any

import typer

from node.cli import completion
from node.cli.console import (
    Chosen,
    Json,
    StoryArgument,
    agent_named,
    ask,
    client,
    put_json,
    say,
    seconds,
    speaking,
    story_named,
)
from node.client.http_client import segment
from node.reporting.describe import format_ref
from node.system.exit_codes import Exit
from node.system.sanitize import clean

Title = Annotated[str | None, typer.Option(metavar="TEXT", help="At most 256 characters.")]
Description = Annotated[str | None, typer.Option(metavar="TEXT", help="At most 4 KiB.")]
DependsOn = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ID",
        help="A story it waits for; may be repeated.",
        autocompletion=completion.stories,
    ),
]
Labels = Annotated[
    list[str] | None, typer.Option("--label", metavar="LABEL", help="A label; may be repeated.")
]
WaitFor = Annotated[
    int, typer.Option(min=0, metavar="N", help="Wait until N other nodes have it; else end with 1.")
]
Timeout = Annotated[
    str, typer.Option(metavar="TIME", help="How long --wait-for waits, at most 60s.")
]
WAIT_DEFAULT = "10s"
WAIT_MAX = "60s"
CLAIM_DEFAULT = "30m"
CLAIM_MAX = "1h"
NUMBERS = {"commits_ahead"}


def _write(
    sentence: str,
    method: str,
    path: str,
    body: object,
    *,
    wait_for: int,
    timeout: str,
    as_json: bool,
) -> None:
    """Write something, wait for other nodes to have it where that is asked for, and say so."""
    waits = seconds("--timeout", timeout, "0s", WAIT_MAX)
    if wait_for:
        path = f"{path}?wait_for={wait_for}&timeout={waits}"
    answer = ask(method, path, body)
    for warning in answer["warnings"]:
        say(warning)
    if as_json:
        put_json(answer)
    else:
        ref = (answer["author"], answer["incarnation"], answer["clock"])
        typer.echo(f"{sentence} ({clean(format_ref({answer['author']: answer['name']}, ref))})")
    if answer["holders"] < wait_for:
        say(f"{answer['holders']} of {wait_for} other nodes have it so far; it is on disk here")
        raise typer.Exit(Exit.ENVIRONMENT)


def _fields(
    title: str | None,
    description: str | None,
    depends_on: list[str] | None,
    labels: list[str] | None,
) -> dict[str, Any]:
    return {
        "title": title,
        "description": description,
        "depends_on": depends_on or None,
        "labels": labels or None,
    }


def add(
    story_id: StoryArgument,
    title: Title = None,
    description: Description = None,
    depends_on: DependsOn = None,
    labels: Labels = None,
    wait_for: WaitFor = 0,
    timeout: Timeout = WAIT_DEFAULT,
    as_json: Json = False,
) -> None:
    """Name a new story.

    Example: gangline add s-2 --title "Parse the header" --depends-on s-1
    Exits: 1 3 4 65
    """
    body = _fields(title, description, depends_on, labels)
    _write(
        f"added {story_id}", "POST", f"/stories/{segment(story_id)}", body,
        wait_for=wait_for, timeout=timeout, as_json=as_json,
    )  # fmt: skip


def edit(
    story_id: StoryArgument,
    title: Title = None,
    description: Description = None,
    depends_on: DependsOn = None,
    labels: Labels = None,
    no_depends_on: Annotated[
        bool, typer.Option("--no-depends-on", help="It waits for none any longer.")
    ] = False,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="It has none any longer.")] = False,
    wait_for: WaitFor = 0,
    timeout: Timeout = WAIT_DEFAULT,
    as_json: Json = False,
) -> None:
    """Change some fields of a story; what is not named stays.

    --depends-on and --label name all that there are from then on, not one more.

    Example: gangline edit s-2 --title "Parse the header, strictly" --label parser
      gangline edit s-2 --no-depends-on
    Exits: 1 3 4 65
    """
    if (depends_on and no_depends_on) or (labels and no_labels):
        raise typer.BadParameter("name some, or none with --no-…, but not both")
    body = _fields(title, description, depends_on, labels)
    body |= {"depends_on": []} if no_depends_on else {}
    body |= {"labels": []} if no_labels else {}
    if all(value is None for value in body.values()):
        raise typer.BadParameter("nothing to change: name a field")
    _write(
        f"edited {story_id}", "PATCH", f"/stories/{segment(story_id)}", body,
        wait_for=wait_for, timeout=timeout, as_json=as_json,
    )  # fmt: skip


def fire(
    story_id: StoryArgument,
    event: Annotated[
        str,
        typer.Argument(
            help="Such as deps_met; see gangline machine table.", autocompletion=completion.events
        ),
    ],
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="K=V", help="A field of the event; may be repeated."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Although dependencies are not done.")
    ] = False,
    wait_for: WaitFor = 0,
    timeout: Timeout = WAIT_DEFAULT,
    as_json: Json = False,
) -> None:
    """Fire an event at a story; refused where its stage ignores it.

    With --wait-for it ends with 1 where too few other nodes have it in time; it is on disk here all
    the same.

    Example: gangline fire s-1 deps_met --wait-for 2
      gangline fire s-1 gates_passed --set feature_branch=f/s-1 --set commits_ahead=2
    Exits: 1 3 4 65
    """
    fields: dict[str, Any] = {"event": event}
    for pair in values or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set {pair}: write field=value")
        fields[name] = int(value) if name in NUMBERS and value.isdigit() else value
    _write(
        f"{story_id}: {event}", "POST", f"/stories/{segment(story_id)}/events",
        {"event": fields, "force": force},
        wait_for=wait_for, timeout=timeout, as_json=as_json,
    )  # fmt: skip


def execute(
    context: typer.Context,
    story_id: Annotated[
        str,
        typer.Argument(
            metavar="STORY",
            help="The story.",
            callback=story_named,
            autocompletion=completion.stories,
        ),
    ],
    agent: Annotated[
        str,
        typer.Option(
            "--agent", metavar="NAME", help="What the agent is called.", callback=agent_named
        ),
    ],
) -> None:
    """Run an agent's process and record what becomes of it; ends with its own exit code.

    Its output is streamed through and signals are passed on. A command that is not found ends with
    127, one that cannot be run with 126, as in a shell. The config's rate_limits say by which exit
    code or line of output an agent shows that it must wait.

    If exec itself is killed with kill -9, its agent goes on running, unseen. The daemon resets the
    execution after about a minute, so end the agent by hand before the story is worked on again.

    Example: gangline exec s-1 --agent coder-1 -- ./agent --task s-1
    Exits: 1 3 4 65
    """
    from node.client import exec_runner as agents  # noqa: PLC0415 - only here
    from node.config import settings  # noqa: PLC0415

    if not context.args:
        raise typer.BadParameter("say what to run behind --")
    with speaking():
        limits = settings.load(Chosen.home.config).rate_limits
        running = agents.AgentRun(client(), story_id, agent, say)
        code = agents.run(running, context.args, limits)
    raise typer.Exit(code)


def claim(
    story_id: StoryArgument,
    duration: Annotated[
        str, typer.Option("--for", metavar="TIME", help="At most an hour.")
    ] = CLAIM_DEFAULT,
    wait_for: WaitFor = 0,
    timeout: Timeout = WAIT_DEFAULT,
    as_json: Json = False,
) -> None:
    """Take a story for this node, or renew the claim.

    Example: gangline claim s-1 --for 45m
    Exits: 1 3 4 65
    """
    _write(
        f"claimed {story_id}", "POST", f"/stories/{segment(story_id)}/claim",
        {"seconds": seconds("--for", duration, "1s", CLAIM_MAX)},
        wait_for=wait_for, timeout=timeout, as_json=as_json,
    )  # fmt: skip


def release(
    story_id: StoryArgument,
    wait_for: WaitFor = 0,
    timeout: Timeout = WAIT_DEFAULT,
    as_json: Json = False,
) -> None:
    """Give this node's claim back.

    Example: gangline release s-1
    Exits: 1 3 4 65
    """
    _write(
        f"released {story_id}", "DELETE", f"/stories/{segment(story_id)}/claim", None,
        wait_for=wait_for, timeout=timeout, as_json=as_json,
    )  # fmt: skip
