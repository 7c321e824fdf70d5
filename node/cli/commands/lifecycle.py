"""The commands ``init``, ``run``, ``stop`` and ``demo``."""

import socket
import time
from typing import Annotated, Literal

import typer

from node.cli.console import Chosen, client, errors_reported, put_note
from node.system.exit_codes import Exit
from node.system.sanitize import clean

DEFAULT_LISTEN = "127.0.0.1:7467"
STOP_SECONDS_MAX = 60
STOP_POLL_SECONDS = 0.05

Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="The node's name; default: the host's name."),
]
Listen = Annotated[
    str,
    typer.Option(
        "--listen", metavar="HOST:PORT", help="Address to listen on; port 0 takes a free port."
    ),
]
Advertise = Annotated[
    list[str] | None,
    typer.Option(
        metavar="HOST:PORT", help="Address that others dial, if it differs; may be repeated."
    ),
]


def init(
    context: typer.Context,
    name: Name = None,
    listen: Listen = DEFAULT_LISTEN,
    advertise: Advertise = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Only write the existing node's config again."),
    ] = False,
) -> None:
    """Found a cluster and make this host its first node.

    By default the node listens on this host alone. To let others join, listen on an address that
    they can reach, or listen on every address and name that one with --advertise.

    --repair founds nothing. It writes the config again, from the key and the store, if the config
    is lost or broken or names another cluster than the store. The old config is kept beside it,
    and its valid settings are taken over.

    Example: gangline init --name den --listen 0.0.0.0:7467 --advertise den.example:7467
      gangline init --repair --listen 0.0.0.0:7467
    Exits: 1 5
    """
    from node.provisioning import init_join  # noqa: PLC0415 - heavy, and only here

    called = name or socket.gethostname()[:64]
    if repair:
        if name is not None:
            raise typer.BadParameter(
                "--name is for a new node; this node keeps its name on the roster"
            )
        source = context.get_parameter_source("listen")
        given = source is not None and source.name == "COMMANDLINE"
        _repair(called, listen if given else None, advertise)
        return
    with errors_reported():
        node, cluster = init_join.found(Chosen.home, called, listen, advertise or ())
    typer.echo(f"founded cluster {cluster.hex()}")
    typer.echo(f"this node is {clean(called)} {node.hex()}")
    warn_of(listen, advertise)
    put_note("next: gangline run; then, for each further host: gangline invite")


def warn_of(listen: str, advertise: list[str] | None) -> None:
    """Warn if the daemon cannot listen on the address, or others cannot dial it."""
    from node.config import addresses  # noqa: PLC0415 - heavy, and only here

    if addresses.is_foreign(listen):
        put_note(
            f"this host does not have the address in {listen}, so the daemon will not start; set "
            f"listen in {Chosen.home.config} to an address that it has, or to 0.0.0.0:PORT"
        )
    elif listen and not addresses.advertised(advertise or (), listen):
        put_note(f"others cannot dial {listen}; set advertise in {Chosen.home.config}")


def _repair(called: str, listen: str | None, advertise: list[str] | None) -> None:
    """Write the config again, and name the settings that only a person can know."""
    from node.provisioning import config_repair  # noqa: PLC0415 - heavy, and only here

    with errors_reported():
        made = config_repair.repair(Chosen.home, called, listen, advertise)
    typer.echo(f"wrote {Chosen.home.config}: {clean(made.config.name)} of {made.config.cluster}")
    if made.aside is not None:
        put_note(f"the old config is kept as {made.aside}")
    if made.lonely:
        put_note("no address of another node is known here; add one under [[peers]] in the config")
    warn_of(made.config.listen, made.config.advertise)
    where = made.config.listen or "no address"
    put_note(f"listen is {where}; change it in the config if it was another; next: gangline run")


def run(
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Start although a damaged store lost records.")
    ] = False,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option(
            "--log-format",
            metavar="FORMAT",
            help="text or json; default: as in the config.",
        ),
    ] = None,
) -> None:
    """Run the daemon.

    It keeps links to other nodes and serves the local API until Ctrl-C or gangline stop. The log
    goes to standard error: text for people, or json, an object a line.

    Example: gangline --home ~/den run
    Exits: 1
    """
    from node import daemon  # noqa: PLC0415 - heavy, and only here

    with errors_reported():
        daemon.main(Chosen.home, accept_loss=accept_loss, log_format=log_format)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the three daemons running.")] = False,
) -> None:
    """Run a demo of three nodes on this host.

    Five stories go through a real git repository. On the way a daemon is killed, two nodes move
    one story at the same moment, and a member sends two false records.

    Example: gangline demo --keep
    Exits: 1 5 130
    """
    from node.cli.demo.demo import show  # noqa: PLC0415 - only here

    with errors_reported():
        show(keep)


def stop() -> None:
    """Stop the daemon.

    Waits until it has sealed its feed and ended.

    Example: gangline stop
    Exits: 1 3
    """
    from node.system import clock  # noqa: PLC0415 - only here

    with errors_reported():
        client().ask("POST", "/stop", of_any_version=True)
    end = clock.monotonic() + STOP_SECONDS_MAX
    while Chosen.home.socket.exists():
        if clock.monotonic() > end:
            put_note(f"the daemon is stopping, but has not ended after {STOP_SECONDS_MAX} s")
            raise typer.Exit(Exit.ENVIRONMENT)
        time.sleep(STOP_POLL_SECONDS)
    typer.echo("stopped")
