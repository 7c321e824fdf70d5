"""``gangline inspect``: what is really there, when one does not trust what one sees."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli import inspect_store
from node.cli.common import Json, ask, put_json, put_table, ref_text, say, short
from node.cli.exits import Exit
from node.client import segment

app = typer.Typer(no_args_is_help=True, help="What is really there.")
for command in (
    inspect_store.doc,
    inspect_store.feed,
    inspect_store.record,
    inspect_store.evidence,
    inspect_store.verify,
    inspect_store.diff,
):
    app.command()(command)


@app.command()
def digest(as_json: Json = False) -> None:
    """The document digest: equal on two nodes that agree.

    Example: gangline inspect digest
    """
    found = ask("GET", "/status")["digest"]
    if as_json:
        put_json({"digest": found})
    else:
        typer.echo(found)


@app.command()
def feeds(as_json: Json = False) -> None:
    """Every feed: author, incarnation, head, live records, seal, cut.

    Example: gangline inspect feeds
    """
    rows = ask("GET", "/inspect/feeds")
    if as_json:
        put_json(rows)
        return
    sealed = {None: "no", True: "as sealed", False: "NOT AS SEALED"}
    put_table(
        "",
        ("author", "incarnation", "head", "live", "sealed", "cut at"),
        [
            (short(r["author"]), r["incarnation"], r["head"], r["live"], sealed[r["sealed"]],
             r["fork"])
            for r in rows
        ],
    )  # fmt: skip


@app.command()
def explain(story: Annotated[str, typer.Argument(metavar="STORY")], as_json: Json = False) -> None:
    """A story's tree: its spine and the weights that made it, what won and what lost.

    Example: gangline inspect explain s-1
    """
    answer = ask("GET", f"/stories/{segment(story)}/explain")
    if as_json:
        put_json(answer)
        return
    put_table(
        f"{answer['id']} stands at {answer['stage']['stage']}",
        ("record", "event", "at", "on", "weight", "place", "beaten by", "why"),
        [
            (
                ref_text(e["record"]), e["event"]["event"], e["stamp"][0][11:23],
                ref_text(e["parent"]),
                e["weight"], e["place"], ref_text(e["beaten_by"]), e["why"],
            )
            for e in answer["events"]
        ],
    )  # fmt: skip


@app.command()
def quarantine(as_json: Json = False) -> None:
    """What was rejected or refused, with its reason, the newest first.

    Example: gangline inspect quarantine
    """
    rows = ask("GET", "/inspect/quarantine")
    if as_json:
        put_json(rows)
        return
    put_table(
        "",
        ("at", "reason", "from", "claims", "clock", "detail"),
        [
            (
                r["at"][11:19],
                r["reason"],
                short(r["peer"]),
                short(r["author"]),
                r["clock"],
                r["detail"],
            )
            for r in rows
        ],
    )


@app.command()
def update(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="Raw bytes or hex; - for stdin.")],
    lines: Annotated[
        bool, typer.Option("--lines", help="One hex update a line, one JSON answer a line.")
    ] = False,
) -> None:
    """Decode update bytes, with the decoder that stands at the gate. Needs no daemon.

    Example: gangline inspect update captured.bin
    """
    from crdt.errors import PeerFault  # noqa: PLC0415 - only here

    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as fault:
        say(f"cannot read {file}: {fault.strerror}")
        raise typer.Exit(Exit.ENVIRONMENT) from None
    if lines:
        for line in data.decode("ascii", "replace").splitlines():
            try:
                typer.echo(json.dumps(_decoded(bytes.fromhex(line))))
            except PeerFault as fault:
                typer.echo(json.dumps({"error": str(fault.reason)}))
            except ValueError:
                typer.echo(json.dumps({"error": "malformed_update"}))
        return
    try:
        typer.echo(json.dumps(_decoded(_raw(data)), indent=2))
    except PeerFault as fault:
        say(str(fault))
        raise typer.Exit(Exit.MALFORMED) from None


def _raw(data: bytes) -> bytes:
    """Hex as the bytes it stands for; anything else as it is."""
    try:
        return bytes.fromhex(data.decode("ascii").strip()) if data.strip() else data
    except (UnicodeDecodeError, ValueError):
        return data


def _decoded(data: bytes) -> dict[str, Any]:
    from crdt import limits  # noqa: PLC0415 - only here
    from crdt.yupdate import decode_update  # noqa: PLC0415

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
