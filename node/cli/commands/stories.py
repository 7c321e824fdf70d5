"""The commands ``add``, ``edit``, ``fire``, ``claim``, ``release`` and ``exec``."""

from typing import Annotated, Any

import typer

from node.cli import completion
from node.cli.console import (
    Chosen,
    Json,
    StoryArgument,
    ask,
    client,
    errors_reported,
    parse_agent,
    parse_story_id,
    put_json,
    put_note,
    seconds,
)
from node.client.http_client import segment
from node.reporting.describe import format_ref
from node.system.exit_codes import Exit
from node.system.sanitize import clean

Title = Annotated[
    str | None, typer.Option(metavar="TEXT", help="The title, at most 256 characters.")
]
Description = Annotated[
    str | None, typer.Option(metavar="TEXT", help="The description, at most 4 KiB.")
]
DependsOn = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ID",
        help="A story that must be done first; may be repeated.",
        autocompletion=completion.stories,
    ),
]
Labels = Annotated[
    list[str] | None, typer.Option("--label", metavar="LABEL", help="A label; may be repeated.")
]
WaitFor = Annotated[
    int, typer.Option(min=0, metavar="N", help="Wait until N other nodes have the record.")
]
Timeout = Annotated[
    str, typer.Option(metavar="TIME", help="Time limit of --wait-for, at most 60s.")
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
    """Ask for a write, wait for other nodes if ``wait_for`` says so, and print the result."""
    patience = seconds("--timeout", timeout, "0s", WAIT_MAX)
    if wait_for:
        path = f"{path}?wait_for={wait_for}&timeout={patience}"
    answer = ask(method, path, body)
    for warning in answer["warnings"]:
        put_note(warning)
    if as_json:
        put_json(answer)
    else:
        ref = (answer["author"], answer["incarnation"], answer["clock"])
        typer.echo(f"{sentence} ({clean(format_ref({answer['author']: answer['name']}, ref))})")
    if answer["holders"] < wait_for:
        put_note(f"{answer['holders']} of {wait_for} other nodes have it; it is on disk here")
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
    """Add a story.

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
        bool, typer.Option("--no-depends-on", help="Remove all dependencies.")
    ] = False,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="Remove all labels.")] = False,
    wait_for: WaitFor = 0,
    timeout: Timeout = WAIT_DEFAULT,
    as_json: Json = False,
) -> None:
    """Change fields of a story.

    --depends-on and --label replace the whole list; fields without an option stay as they are.

    Example: gangline edit s-2 --title "Parse the header, strictly" --label parser
      gangline edit s-2 --no-depends-on
    Exits: 1 3 4 65
    """
    if (depends_on and no_depends_on) or (labels and no_labels):
        raise typer.BadParameter("give the option or its --no-… form, not both")
    body = _fields(title, description, depends_on, labels)
    body |= {"depends_on": []} if no_depends_on else {}
    body |= {"labels": []} if no_labels else {}
    if all(value is None for value in body.values()):
        raise typer.BadParameter("nothing to change: give at least one option")
    _write(
        f"edited {story_id}", "PATCH", f"/stories/{segment(story_id)}", body,
        wait_for=wait_for, timeout=timeout, as_json=as_json,
    )  # fmt: skip


def fire(
    story_id: StoryArgument,
    event: Annotated[
        str,
        typer.Argument(
            help="For example deps_met; see gangline machine table pipeline.",
            autocompletion=completion.events,
        ),
    ],
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="K=V", help="Set a field of the event; may be repeated."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Fire even if dependencies are not done.")
    ] = False,
    wait_for: WaitFor = 0,
    timeout: Timeout = WAIT_DEFAULT,
    as_json: Json = False,
) -> None:
    """Fire an event at a story.

    The event is refused if the story's stage does not take it. With --wait-for the command ends
    with 1 if too few other nodes have the record in time; it is on disk here even so.

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
            help="A story's id.",
            callback=parse_story_id,
            autocompletion=completion.stories,
        ),
    ],
    agent: Annotated[
        str,
        typer.Option("--agent", metavar="NAME", help="The agent's name.", callback=parse_agent),
    ],
) -> None:
    """Run an agent on a story and record its execution.

    Output is passed through and signals are passed on. The exit code is the agent's; as in a
    shell, it is 127 if the command is not found and 126 if it cannot be run. rate_limits in the
    config lists the exit codes and lines of output by which an agent shows that it must wait.

    If exec itself is killed with kill -9, its agent goes on running unseen. The daemon resets the
    execution after about a minute; stop the agent by hand before the story is worked on again.

    Example: gangline exec s-1 --agent coder-1 -- ./agent --task s-1
    Exits: 1 3 4 65
    """
    from node.client import exec_runner  # noqa: PLC0415 - only here
    from node.config import settings  # noqa: PLC0415

    if not context.args:
        raise typer.BadParameter("give the command to run after --")
    with errors_reported():
        limits = settings.load(Chosen.home.config).rate_limits
        execution = exec_runner.AgentRun(client(), story_id, agent, put_note)
        code = exec_runner.run(execution, context.args, limits)
    raise typer.Exit(code)


def claim(
    story_id: StoryArgument,
    duration: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long, at most 1h.")
    ] = CLAIM_DEFAULT,
    wait_for: WaitFor = 0,
    timeout: Timeout = WAIT_DEFAULT,
    as_json: Json = False,
) -> None:
    """Claim a story for this node, or renew the claim.

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
    """Release this node's claim on a story.

    Example: gangline release s-1
    Exits: 1 3 4 65
    """
    _write(
        f"released {story_id}", "DELETE", f"/stories/{segment(story_id)}/claim", None,
        wait_for=wait_for, timeout=timeout, as_json=as_json,
    )  # fmt: skip
