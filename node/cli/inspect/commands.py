"""The ``inspect`` group, with ``feeds``, ``explain``, ``quarantine``, ``digest`` and ``update``.

The first four ask the running daemon or, with ``--store``, read a file and verify all of it; both
answers come from ``node/reporting/queries.py``. The other commands are in ``store.py``,
``evidence.py`` and ``history.py``.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli.console import (
    Json,
    StoryArgument,
    ask,
    errors_reported,
    put_json,
    put_note,
    put_table,
    short,
    to_builtins,
)
from node.cli.inspect import evidence, history
from node.cli.inspect import store as inspect_store
from node.client.http_client import segment
from node.system.exit_codes import Exit
from node.system.local_time import in_local_time, local
from node.system.sanitize import clean

app = typer.Typer(no_args_is_help=True, help="Inspect stored data.")
for command in (
    inspect_store.doc,
    inspect_store.feed,
    inspect_store.record,
    evidence.evidence,
    evidence.proof,
    inspect_store.verify,
    inspect_store.diff,
    history.history,
):
    app.command()(command)

InsteadOfDaemon = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="PATH",
        help="Read a store file, or a node's folder, instead of the daemon.",
    ),
]
SEALED = {None: "not yet", True: "as sealed", False: "NOT AS SEALED"}


def _query(store: Path | None, path: str, read: Callable[[Any], Any]) -> Any:
    """Ask the daemon, or read the file."""
    if store is None:
        return ask("GET", path)
    with errors_reported():
        held = inspect_store.examine(store)
        return to_builtins(read(held))


@app.command()
def digest(store: InsteadOfDaemon = None, as_json: Json = False) -> None:
    """Print the document digest, which is equal on nodes that agree.

    Example: gangline inspect digest
    Exits: 1 3 5 65
    """
    found = _query(store, "/inspect/digest", lambda held: {"digest": held.digest})
    if as_json:
        put_json(found)
    else:
        typer.echo(found["digest"])


@app.command()
def feeds(store: InsteadOfDaemon = None, as_json: Json = False) -> None:
    """List feeds, with their heads, gaps, cuts and seals.

    Gaps are clocks whose content is gone, such as superseded records. Unknown clocks have not been
    received yet. If a feed is not as its author sealed it, a line below the table lists what is
    missing and which peers might have it. Only the author knows whether a gap was superseded or
    is withheld.

    Example: gangline inspect feeds --store /backup/store.db
    Exits: 1 3 5 65
    """
    rows = _query(store, "/inspect/feeds", lambda held: held.feeds())
    if as_json:
        put_json(rows)
        return
    put_table(
        "",
        ("author", "name", "inc", "head", "live", "gaps", "unknown", "bytes", "cut", "seal"),
        [
            (
                short(r["author"]), r["name"], r["incarnation"], r["head"], r["live"], r["gaps"],
                r["unknown"], r["bytes"], "" if r["fork"] is None else f"#{r['fork']}",
                SEALED[r["sealed"]],
            )
            for r in rows
        ],
        empty="no feed is known here",
    )  # fmt: skip
    for row in rows:
        if row["shortfall"] is not None:
            typer.echo(clean(row["shortfall"]["says"]))


@app.command()
def explain(
    story: StoryArgument,
    store: InsteadOfDaemon = None,
    as_json: Json = False,
) -> None:
    """Show why a story is at its stage.

    Draws the tree of its events: ● is on the spine, + was applied after its end, ✗ lost. The weight
    is the number of nodes that wrote the event or anything built on it.

    Example: gangline inspect explain s-1
    Exits: 1 3 4 5 65
    """
    path = f"/stories/{segment(story)}/explain"
    answer = _query(store, path, lambda held: held.explain(story))
    if as_json:
        put_json(answer)
        return
    from node.cli.commands.story_tree import draw  # noqa: PLC0415 - only here

    for line in draw(answer):
        typer.echo(line)


@app.command()
def quarantine(store: InsteadOfDaemon = None, as_json: Json = False) -> None:
    """List rejected and refused records with the reason, newest first.

    Example: gangline inspect quarantine
    Exits: 1 3 5 65
    """
    rows = _query(store, "/inspect/quarantine", lambda held: held.quarantine())
    if as_json:
        put_json(rows)
        return
    put_table(
        "",
        ("at", "brought by", "claims to be", "reason"),
        [
            (
                local(r["at"]), r["peer_name"] or short(r["peer"]), _claim(r),
                f"{r['reason']}: {in_local_time(r['detail'])}{_id(r)}",
            )
            for r in rows
        ],
        empty="the quarantine is empty",
    )  # fmt: skip


def _id(row: dict[str, Any]) -> str:
    return f" (id {short(row['record'])})" if row["record"] else ""


def _claim(row: dict[str, Any]) -> str:
    if not row["author"]:
        return ""
    author = row["author_name"] or short(row["author"])
    return f"{author}/{row['incarnation']}#{row['clock']}"


@app.command()
def update(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="Raw bytes or hex; - for stdin.")],
    lines: Annotated[
        bool,
        typer.Option("--lines", help="Read one hex update a line; print one JSON answer a line."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Decode a Yjs update from a file, as the daemon would.

    Example: gangline inspect update captured.bin
    Exits: 1 65
    """
    from crdt.primitives.errors import PeerFault  # noqa: PLC0415 - only here

    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as fault:
        put_note(f"cannot read {file}: {fault.strerror}")
        raise typer.Exit(Exit.ENVIRONMENT) from None
    if lines:
        for line in data.decode("ascii", "replace").splitlines():
            typer.echo(json.dumps(_answered(line)))
        return
    try:
        found = _decoded(_raw(data))
    except PeerFault as fault:
        put_note(str(fault))
        raise typer.Exit(Exit.MALFORMED) from None
    if as_json:
        put_json(found)
    else:
        _put_update(found)


def _answered(line: str) -> dict[str, Any]:
    """Decode one line of hex."""
    from crdt.primitives.errors import PeerFault, Reason  # noqa: PLC0415 - only here

    try:
        return _decoded(bytes.fromhex(line))
    except PeerFault as fault:
        return {"error": str(fault.reason)}
    except ValueError:
        return {"error": str(Reason.MALFORMED_UPDATE)}


def _put_update(found: dict[str, Any]) -> None:
    for feed in found["feeds"]:
        root = feed["root"] or "continues a feed named before"
        typer.echo(f"client {feed['client']}  clocks {feed['start']} to {feed['end']}  {root}")
        lines = [
            (clock, f"record of {len(value) // 2} bytes  {value}")
            for clock, value in feed["records"]
        ]
        lines += [(clock, f"gap of {length}") for clock, length in feed["gaps"]]
        for clock, text in sorted(lines):
            typer.echo(f"  #{clock}  {text}")
    if not found["feeds"]:
        put_note("the update is empty")


def _raw(data: bytes) -> bytes:
    """Decode hex; return anything else as it is."""
    try:
        return bytes.fromhex(data.decode("ascii").strip()) if data.strip() else data
    except (UnicodeDecodeError, ValueError):
        return data


def _decoded(data: bytes) -> dict[str, Any]:
    from crdt.primitives import limits  # noqa: PLC0415 - only here
    from crdt.wire.yjs_update import decode_update  # noqa: PLC0415

    return {
        "feeds": [
            {
                "client": piece.client,
                "root": piece.root,
                "start": piece.start,
                "end": piece.end,
                "records": [[clock, value.hex()] for clock, value in piece.records],
                "gaps": [[clock, length] for clock, length in piece.gaps],
            }
            for piece in decode_update(data, bytes_max=limits.CATCHUP_BYTES_MAX)
        ]
    }
