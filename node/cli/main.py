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

from node.cli import act, found, inspect, joining, keep, look, machine, members
from node.cli.console import Chosen, say
from node.cli.help_text import teach
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
    ("init", found.init), ("join", joining.join), ("invite", joining.invite),
    ("leave", joining.leave), ("rotate", joining.rotate),
    ("run", found.run), ("stop", found.stop), ("demo", found.demo),
    ("status", look.status), ("nodes", look.nodes), ("peers", look.peers),
    ("stories", look.stories), ("story", look.story), ("watch", look.watch),
    ("add", act.add), ("edit", act.edit), ("fire", act.fire),
    ("claim", act.claim), ("release", act.release), ("exec", act.execute),
    ("backup", keep.backup), ("restore", keep.restore),
    ("export", keep.export), ("import", keep.import_),
):  # fmt: skip
    app.command(name, context_settings=SETTINGS.get(name))(command)
app.add_typer(members.members, name="members")
app.add_typer(inspect.app, name="inspect")
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
