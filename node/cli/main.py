"""The command ``gangline``: joins the groups of commands.

A command imports what it needs when it runs, so that quick commands start quickly.
"""

import errno
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from node.cli.commands import backup_transfer, join, lifecycle, machine, members, show, stories
from node.cli.console import Chosen, put_note
from node.cli.help_text import GroupedCommands, fill_help
from node.cli.inspect import commands
from node.system.exit_codes import Exit
from node.system.home import Home

OUTPUT_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of writing the answer to a file that standard output is redirected to."""

app = typer.Typer(
    name="gangline",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    cls=GroupedCommands,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from node.api.version import release  # noqa: PLC0415 - only here

        typer.echo(f"gangline {release()}")
        raise typer.Exit


@app.callback()
def gangline(
    home: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The node's folder; else GANGLINE_HOME, or the default folder."
        ),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version."),
    ] = False,
) -> None:
    """Share one board of stories between the coding agents of many hosts.

    \b
    Found a cluster on this host:      gangline init
    Run the daemon, and leave it on:   gangline run
    In another terminal, add a story:  gangline add s-1 --title "First story"
    """  # noqa: D301 - Click looks for the character itself
    Chosen.home = Home.chosen(home)
    Chosen.command = f"gangline --home {shlex.quote(str(home))}" if home else "gangline"


SETTINGS = {
    "exec": {"allow_extra_args": True, "ignore_unknown_options": True},
    "join": {"allow_extra_args": True},  # or a ticket given as one would be shown in the refusal
}
COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Start": {
        "init": lifecycle.init, "join": join.join, "invite": join.invite,
        "run": lifecycle.run, "stop": lifecycle.stop, "demo": lifecycle.demo,
    },
    "Work": {
        "add": stories.add, "edit": stories.edit, "fire": stories.fire,
        "claim": stories.claim, "release": stories.release, "exec": stories.execute,
    },
    "Look": {
        "status": show.status, "stories": show.stories, "story": show.story,
        "nodes": show.nodes, "peers": show.peers, "watch": show.watch,
    },
    "Fleet": {"leave": join.leave, "rotate": join.rotate},
    "Keep": {
        "backup": backup_transfer.backup, "restore": backup_transfer.restore,
        "export": backup_transfer.export, "import": backup_transfer.import_,
    },
}  # fmt: skip
GROUPS = {
    "Fleet": {"members": members.members},
    "Deep": {"inspect": commands.app, "machine": machine.app},
}
"""Commands and groups of commands, by the panel of the help that lists them."""

for panel, registered in COMMANDS.items():
    for name, command in registered.items():
        settings = SETTINGS.get(name)
        app.command(name, context_settings=settings, rich_help_panel=panel)(command)
for panel, groups in GROUPS.items():
    for name, group in groups.items():
        app.add_typer(group, name=name, rich_help_panel=panel)
fill_help(app)


def run() -> None:
    """The console script."""
    try:
        try:
            app()
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except KeyboardInterrupt:
        raise SystemExit(Exit.INTERRUPTED) from None
    except BrokenPipeError:
        _give_up_output()
        raise SystemExit(Exit.UNREAD) from None
    except SystemExit as ending:
        # Typer ends with 1 if the reader closed the pipe; other tools of a shell end by SIGPIPE.
        if isinstance(ending.__context__, BrokenPipeError):
            _give_up_output()
            raise SystemExit(Exit.UNREAD) from None
        raise
    except OSError as fault:
        if fault.errno not in OUTPUT_FAULTS:
            raise
        _give_up_output()
        put_note(f"cannot write the answer: {fault.strerror}; redirect it to another file")
        raise SystemExit(Exit.ENVIRONMENT) from None


def _give_up_output() -> None:
    """Discard the output buffer; the interpreter would try to flush it again when it exits."""
    with Path(os.devnull).open("wb") as devnull:
        os.dup2(devnull.fileno(), sys.stdout.fileno())
