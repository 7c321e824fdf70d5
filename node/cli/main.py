"""The command ``gangline``: puts the groups of commands together.

Stands outside the line. Imports as little as each command needs, so that the quick ones are quick.
"""

import errno
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from node.cli.commands import backup_transfer, join, lifecycle, machine, members, show, stories
from node.cli.console import Chosen, say
from node.cli.help_text import teach
from node.cli.inspect import commands
from node.system.exit_codes import Exit
from node.system.home import Home

OUTPUT_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What writing to a file that standard output stands for may end with."""

app = typer.Typer(
    name="gangline",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Keeps the state of a fleet of coding agents.",
)


def _show_version(asked: bool) -> None:
    if asked:
        from node.api.version import release  # noqa: PLC0415 - only here

        typer.echo(f"gangline {release()}")
        raise typer.Exit


@app.callback()
def gangline(
    home: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Which node: its folder. Also GANGLINE_HOME."),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
) -> None:
    """Keep the state of a fleet of coding agents: one board, a daemon on every host, no server."""
    Chosen.home = Home.chosen(home)
    Chosen.command = f"gangline --home {shlex.quote(str(home))}" if home else "gangline"


SETTINGS = {
    "exec": {"allow_extra_args": True, "ignore_unknown_options": True},
    "join": {"allow_extra_args": True},  # or a ticket given as one would be shown in the refusal
}
for name, command in (
    ("init", lifecycle.init), ("join", join.join), ("invite", join.invite),
    ("leave", join.leave), ("rotate", join.rotate),
    ("run", lifecycle.run), ("stop", lifecycle.stop), ("demo", lifecycle.demo),
    ("status", show.status), ("nodes", show.nodes), ("peers", show.peers),
    ("stories", show.stories), ("story", show.story), ("watch", show.watch),
    ("add", stories.add), ("edit", stories.edit), ("fire", stories.fire),
    ("claim", stories.claim), ("release", stories.release), ("exec", stories.execute),
    ("backup", backup_transfer.backup), ("restore", backup_transfer.restore),
    ("export", backup_transfer.export), ("import", backup_transfer.import_),
):  # fmt: skip
    app.command(name, context_settings=SETTINGS.get(name))(command)
app.add_typer(members.members, name="members")
app.add_typer(commands.app, name="inspect")
app.add_typer(machine.app, name="machine")
teach(app)


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
    except SystemExit as end:
        # The library ends with 1 where the reader has gone; a shell's other tools end by SIGPIPE.
        if isinstance(end.__context__, BrokenPipeError):
            _give_up_output()
            raise SystemExit(Exit.UNREAD) from None
        raise
    except OSError as fault:
        if fault.errno not in OUTPUT_FAULTS:
            raise
        _give_up_output()
        say(f"cannot write the answer: {fault.strerror}; send it elsewhere")
        raise SystemExit(Exit.ENVIRONMENT) from None


def _give_up_output() -> None:
    """Let what is left in the buffer go nowhere: the interpreter's end would try it again."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
