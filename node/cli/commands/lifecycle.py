"""``init``, ``run``, ``stop``, ``demo``: found a cluster, be a node."""

import socket
import time
from typing import Annotated, Literal

import typer

from node.cli.console import Chosen, client, say, speaking
from node.system.exit_codes import Exit
from node.system.sanitize import clean

DEFAULT_LISTEN = "127.0.0.1:7467"
STOP_SECONDS_MAX = 60
STOP_POLL_SECONDS = 0.05

Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="What the node is called; else the host's name."),
]
Listen = Annotated[
    str,
    typer.Option(
        "--listen", metavar="HOST:PORT", help="Where it listens; port 0: a free one at each start."
    ),
]
Advertise = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HOST:PORT", help="What others dial, where that is another; may be repeated."
    ),
]


def init(
    context: typer.Context,
    name: Name = None,
    listen: Listen = DEFAULT_LISTEN,
    advertise: Advertise = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Write the config of the node that is here anew, no more."),
    ] = False,
) -> None:
    """Found a cluster: make this node's key, and the record that everything else rests on.

    By default it listens on this host alone. For others to join, listen on an address that they
    reach, or on every address and say with --advertise which one that is.

    With --repair nothing is founded: a config that is gone or broken, or names another cluster than
    the store, is written anew from the key and the store. The old one is kept beside it, and what
    is good in it goes on.

    Example: gangline init --name den --listen 0.0.0.0:7467 --advertise den.example:7467
      gangline init --repair --listen 0.0.0.0:7467
    Exits: 1 5
    """
    from node.provisioning import init_join  # noqa: PLC0415 - heavy, and only here

    called = name or socket.gethostname()[:64]
    if repair:
        if name is not None:
            raise typer.BadParameter("--name is for a new node; this one has the roster's name")
        source = context.get_parameter_source("listen")
        given = source is not None and source.name == "COMMANDLINE"
        _repair(called, listen if given else None, advertise)
        return
    with speaking():
        node, cluster = init_join.found(Chosen.home, called, listen, advertise or ())
    typer.echo(f"founded cluster {cluster.hex()}")
    typer.echo(f"this node is {clean(called)} {node.hex()}")
    warn_of(listen, advertise)
    say("next: gangline run; then, for each further host: gangline invite")


def warn_of(listen: str, advertise: list[str] | None) -> None:
    """Say what is known now to keep the daemon from listening, or others from dialling it."""
    from node.config import addresses  # noqa: PLC0415 - heavy, and only here

    if addresses.is_foreign(listen):
        say(
            f"this host has no address such as in {listen}, so that the daemon will not start: set "
            f"listen in {Chosen.home.config} to one that it has, or to 0.0.0.0:PORT"
        )
    elif listen and not addresses.advertised(advertise or (), listen):
        say(f"{listen} names no host that others could dial; set advertise in {Chosen.home.config}")


def _repair(called: str, listen: str | None, advertise: list[str] | None) -> None:
    """Write the config anew, and say what in it nobody but a person knows."""
    from node.provisioning import config_repair  # noqa: PLC0415 - heavy, and only here

    with speaking():
        made = config_repair.repair(Chosen.home, called, listen, advertise)
    typer.echo(f"wrote {Chosen.home.config}: {clean(made.config.name)} of {made.config.cluster}")
    if made.aside is not None:
        say(f"what was there is kept as {made.aside}")
    if made.lonely:
        say("no other node's address is known here; name one under [[peers]] in the config")
    warn_of(made.config.listen, made.config.advertise)
    where = made.config.listen or "no address"
    say(f"it listens on {where}: if that was another, change it there; next: gangline run")


def run(
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Write on without what a damaged store lost.")
    ] = False,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option(
            "--log-format",
            metavar="FORMAT",
            help="How the log is written, text or json; else as the config says.",
        ),
    ] = None,
) -> None:
    """Be the node: keep links, serve the local API; until Ctrl-C or gangline stop.

    The log goes to standard error: text for people, or json, an object a line.

    Example: gangline --home ~/den run
    Exits: 1
    """
    from node import daemon  # noqa: PLC0415 - heavy, and only here

    with speaking():
        daemon.main(Chosen.home, accept_loss=accept_loss, log_format=log_format)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the cluster running.")] = False,
) -> None:
    """Three nodes on this host, five stories through a real repository, a kill and two lies.

    Example: gangline demo --keep
    Exits: 1 5 130
    """
    from node.cli.demo import demo as play  # noqa: PLC0415 - only here

    with speaking():
        play.show(keep)


def stop() -> None:
    """Ask the daemon to seal its feed and end, and wait until it has.

    Example: gangline stop
    Exits: 1 3
    """
    from node.system import clock  # noqa: PLC0415 - only here

    with speaking():
        client().ask("POST", "/stop", of_any_version=True)
    end = clock.monotonic() + STOP_SECONDS_MAX
    while Chosen.home.socket.exists():
        if clock.monotonic() > end:
            say(f"the daemon was told to stop, but has not ended after {STOP_SECONDS_MAX} s")
            raise typer.Exit(Exit.ENVIRONMENT)
        time.sleep(STOP_POLL_SECONDS)
    typer.echo("stopped")
