"""The command ``gangline``: puts the groups of commands together.

Stands outside the line. Imports as little as each command needs, so that the quick ones are quick.
"""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from node.cli import act, found, inspect, keep, look, machine, members
from node.cli.common import Chosen, say
from node.cli.exits import Exit
from node.cli.usage import teach
from node.home import Home

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


@app.callback()
def gangline(
    home: Annotated[
        Path | None, typer.Option(help="Which node: its folder. Also GANGLINE_HOME.")
    ] = None,
) -> None:
    """Keep the state of a fleet of coding agents: one board, a daemon on every host, no server."""
    Chosen.home = Home.chosen(home)


for command in (
    found.init, members.join, members.invite, members.leave, members.rotate,
    found.run, found.stop, found.demo,
    look.status, look.nodes, look.peers, look.stories, look.story, look.watch,
    act.add, act.edit, act.fire, act.claim, act.release,
    keep.backup, keep.restore, keep.export,
):  # fmt: skip
    app.command()(command)
app.command("exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    act.execute
)
app.command("import")(keep.import_)
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
