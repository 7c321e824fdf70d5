"""``add``, ``edit``, ``fire``, ``claim``, ``release``: acting on stories."""

from typing import Annotated, Any

import typer

from node.cli.common import (
    Chosen,
    Json,
    StoryArgument,
    ask,
    client,
    put_json,
    ref_text,
    say,
    speaking,
    story_named,
)
from node.cli.found import seconds
from node.client import segment

Title = Annotated[str | None, typer.Option(help="At most 256 characters.")]
Description = Annotated[str | None, typer.Option(help="At most 4 KiB.")]
DependsOn = Annotated[list[str] | None, typer.Option(help="A story it waits for; may be repeated.")]
Labels = Annotated[list[str] | None, typer.Option("--label", help="A label; may be repeated.")]
NUMBERS = {"commits_ahead"}
WAIT_SECONDS_MAX = 60


def _told(answer: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    for warning in answer["warnings"]:
        say(warning)
    if as_json:
        put_json(answer)
        return
    place = (answer["author"], answer["incarnation"], answer["clock"])
    typer.echo(f"{sentence} ({ref_text(place)})")


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
    as_json: Json = False,
) -> None:
    """Name a new story.

    Example: gangline add s-2 --title "Parse the header" --depends-on s-1
    Exits: 1 3 4 65
    """
    body = _fields(title, description, depends_on, labels)
    answer = ask("POST", f"/stories/{segment(story_id)}", body)
    _told(answer, f"added {story_id}", as_json=as_json)


def edit(
    story_id: StoryArgument,
    title: Title = None,
    description: Description = None,
    depends_on: DependsOn = None,
    labels: Labels = None,
    as_json: Json = False,
) -> None:
    """Change some fields of a story; what is not named stays.

    Example: gangline edit s-2 --title "Parse the header, strictly"
    Exits: 1 3 4 65
    """
    body = _fields(title, description, depends_on, labels)
    answer = ask("PATCH", f"/stories/{segment(story_id)}", body)
    _told(answer, f"edited {story_id}", as_json=as_json)


def fire(
    story_id: StoryArgument,
    event: Annotated[str, typer.Argument(help="Such as deps_met; see gangline machine table.")],
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="A field of the event.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Although dependencies are not done.")
    ] = False,
    wait_for: Annotated[
        int, typer.Option(min=0, help="Wait until so many other nodes have it.")
    ] = 0,
    timeout: Annotated[str, typer.Option(help="How long to wait, at most 60s.")] = "10s",
    as_json: Json = False,
) -> None:
    """Fire an event at a story; refused where its stage ignores it.

    A field of the event is a --set of its own. With --wait-for it ends with 1 where too few other
    nodes have it in time; it is on disk here all the same.

    Example: gangline fire s-1 deps_met
      gangline fire s-1 gates_passed --set feature_branch=f/s-1 --set commits_ahead=2
    Exits: 1 3 4 65
    """
    fields: dict[str, Any] = {"event": event}
    for pair in values or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set {pair}: write field=value")
        fields[name] = int(value) if name in NUMBERS and value.isdigit() else value
    wait = seconds(timeout)
    if wait > WAIT_SECONDS_MAX:
        raise typer.BadParameter(f"--timeout {timeout}: at most {WAIT_SECONDS_MAX}s")
    body = {
        "event": fields,
        "force": force,
        "wait_for": wait_for,
        "timeout": float(wait),
    }
    answer = ask("POST", f"/stories/{segment(story_id)}/events", body)
    _told(answer, f"{story_id}: {event}", as_json=as_json)
    if answer["holders"] < wait_for:
        say(f"only {answer['holders']} other nodes have it so far; it is on disk here")
        raise typer.Exit(1)


def execute(
    context: typer.Context,
    story_id: Annotated[
        str, typer.Argument(metavar="STORY", help="The story.", callback=story_named)
    ],
    agent: Annotated[str, typer.Option("--agent", help="What the agent is called.")],
) -> None:
    """Run an agent's process and record what becomes of it; ends with its own exit code.

    Its output is streamed through and signals are passed on. The config's rate_limits say by which
    exit code or line of output it shows that it must wait.

    Example: gangline exec s-1 --agent coder-1 -- ./agent --task s-1
    Exits: 1 3 4 65
    """
    from node import agent as agents  # noqa: PLC0415 - only here
    from node import config  # noqa: PLC0415

    if not context.args:
        raise typer.BadParameter("say what to run behind --")
    with speaking():
        limits = config.load(Chosen.home.config).rate_limits
        running = agents.Execution(client(), story_id, agent, say)
        code = agents.run(running, context.args, limits)
    raise typer.Exit(code)


def claim(
    story_id: StoryArgument,
    duration: Annotated[str, typer.Option("--for", help="At most an hour.")] = "30m",
    as_json: Json = False,
) -> None:
    """Take a story for this node, or renew the claim.

    Example: gangline claim s-1 --for 45m
    Exits: 1 3 4 65
    """
    body = {"seconds": seconds(duration)}
    answer = ask("POST", f"/stories/{segment(story_id)}/claim", body)
    _told(answer, f"claimed {story_id}", as_json=as_json)


def release(story_id: StoryArgument, as_json: Json = False) -> None:
    """Give this node's claim back.

    Example: gangline release s-1
    Exits: 1 3 4 65
    """
    answer = ask("DELETE", f"/stories/{segment(story_id)}/claim")
    _told(answer, f"released {story_id}", as_json=as_json)
