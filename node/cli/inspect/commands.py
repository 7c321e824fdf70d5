"""``inspect feeds``, ``explain``, ``quarantine``, ``digest``, ``update``.

The first four ask the running daemon what it holds, or with ``--store`` find the same out from a
file, where everything is checked anew; either way the answer is made by
``node/reporting/queries.py`` and shown by the same lines here. The other commands of the group
stand in ``store.py``.
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

app = typer.Typer(no_args_is_help=True, help="What is really there.")
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
    typer.Option("--store", metavar="PATH", help="A store file or a home, instead of the daemon."),
]
SEALED = {None: "not yet", True: "as sealed", False: "NOT AS SEALED"}


def _find_out(store: Path | None, path: str, look: Callable[[Any], Any]) -> Any:
    """Ask the daemon at a path of its API; or look at what a file holds."""
    if store is None:
        return ask("GET", path)
    with errors_reported():
        held = inspect_store.examine(store)
        return to_builtins(look(held))


@app.command()
def digest(store: InsteadOfDaemon = None, as_json: Json = False) -> None:
    """The document digest: equal on two nodes that agree.

    Example: gangline inspect digest
    Exits: 1 3 5 65
    """
    found = _find_out(store, "/inspect/digest", lambda held: {"digest": held.digest})
    if as_json:
        put_json(found)
    else:
        typer.echo(found["digest"])


@app.command()
def feeds(store: InsteadOfDaemon = None, as_json: Json = False) -> None:
    """Every feed: how far it is known, what of it is live, its seal, its cut.

    Gaps are clocks whose content is gone, as superseded records are; unknown are clocks of which
    nothing is known yet. Of a feed that is not as its author sealed it, a line below the table says
    what is missing and who might have it: whom the daemon asked, who holds the very same, and who
    is not linked. Whether a gap was superseded or is withheld only its author knows.

    Example: gangline inspect feeds --store /backup/store.db
    Exits: 1 3 5 65
    """
    rows = _find_out(store, "/inspect/feeds", lambda held: held.feeds())
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
    """A story's tree: its spine, who stands behind each event, what won and what lost.

    ● is an event on the spine, + one applied after its end, ✗ one that lost. The weight is the
    number of distinct nodes that wrote the event or anything built on it.

    Example: gangline inspect explain s-1
    Exits: 1 3 4 5 65
    """
    path = f"/stories/{segment(story)}/explain"
    answer = _find_out(store, path, lambda held: held.explain(story))
    if as_json:
        put_json(answer)
        return
    from node.cli.commands.story_tree import draw  # noqa: PLC0415 - only here

    for line in draw(answer):
        typer.echo(line)


@app.command()
def quarantine(store: InsteadOfDaemon = None, as_json: Json = False) -> None:
    """What was rejected or refused, with its reason, the newest first.

    Example: gangline inspect quarantine
    Exits: 1 3 5 65
    """
    rows = _find_out(store, "/inspect/quarantine", lambda held: held.quarantine())
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
        empty="nothing was turned away",
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
        bool, typer.Option("--lines", help="One hex update a line, one JSON answer a line.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Decode update bytes, with the decoder that stands at the gate. Needs no daemon.

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
    """The answer to one line of hex."""
    from crdt.primitives.errors import PeerFault, Reason  # noqa: PLC0415 - only here

    try:
        return _decoded(bytes.fromhex(line))
    except PeerFault as fault:
        return {"error": str(fault.reason)}
    except ValueError:
        return {"error": str(Reason.MALFORMED_UPDATE)}


def _put_update(found: dict[str, Any]) -> None:
    for feed in found["feeds"]:
        root = feed["root"] or "goes on in a feed named before"
        typer.echo(f"client {feed['client']}  clocks {feed['start']} to {feed['end']}  {root}")
        told = [
            (clock, f"record of {len(value) // 2} bytes  {value}")
            for clock, value in feed["records"]
        ]
        told += [(clock, f"gap of {length}") for clock, length in feed["gaps"]]
        for clock, text in sorted(told):
            typer.echo(f"  #{clock}  {text}")
    if not found["feeds"]:
        put_note("an update that holds nothing")


def _raw(data: bytes) -> bytes:
    """Hex as the bytes it stands for; anything else as it is."""
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
