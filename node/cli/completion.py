"""What Tab completes besides commands and options: stories, events, stages, roles, nodes, machines.

Asks the daemon for what only it knows, and completes nothing if it does not answer. Completes plain
words only, because a shell's completion script may evaluate what it receives.
"""

import re
from pathlib import Path
from typing import Any

import typer

from node.client.http_client import Client, segment
from node.system.errors import OperatorError
from node.system.home import Home

SECONDS_MAX = 2.0
KEY_OFFERED = 8
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def stories(ctx: typer.Context) -> list[str]:
    """Every story's id."""
    return _words(row["id"] for row in _ask(ctx, "/stories") or ())


def nodes(ctx: typer.Context) -> list[str]:
    """Every node, by the start of its key, and by its name if that is a plain word."""
    rows = _ask(ctx, "/members") or ()
    return _words(one for row in rows for one in (row["name"], row["node"][:KEY_OFFERED]))


def events(ctx: typer.Context) -> list[str]:
    """The events that the story's stage takes; all events if the stage is unknown."""
    from machines.kernel import tag_of  # noqa: PLC0415 - slow to import, and only for Tab
    from machines.pipeline import PIPELINE  # noqa: PLC0415
    from node.cli.commands import replay  # noqa: PLC0415

    story = ctx.params.get("story_id")
    found = _ask(ctx, f"/stories/{segment(story)}") if story else None
    if found is None:
        return [tag_of(kind) for kind in PIPELINE.events]
    return list(PIPELINE.legal_events(replay.read_state(PIPELINE, found["stage"])))


def stages() -> list[str]:
    """The stages of the pipeline."""
    from machines.kernel import tag_of  # noqa: PLC0415 - slow to import, and only for Tab
    from machines.pipeline import PIPELINE  # noqa: PLC0415

    return [tag_of(kind) for kind in PIPELINE.states]


def machines() -> list[str]:
    """The state machines."""
    from machines.diagram import MACHINES  # noqa: PLC0415 - slow to import, and only for Tab

    return list(MACHINES)


def roles() -> list[str]:
    """The roles."""
    return ["admin", "member", "observer"]


def _ask(ctx: typer.Context, path: str) -> Any:
    """Ask the chosen node's daemon; ``None`` if it does not answer."""
    named = ctx.find_root().params.get("home")  # a str: completion does not convert values
    home = Home.chosen(Path(named) if named else None)
    try:
        home.check_socket()
        return Client(home.socket, SECONDS_MAX).ask("GET", path)
    except OperatorError:
        return None


def _words(found: Any) -> list[str]:
    return [one for one in found if WORD.fullmatch(one)]
