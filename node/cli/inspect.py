"""``gangline inspect``: what is really there, when one does not trust what one sees."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli.common import (
    Chosen,
    Json,
    ask,
    put_json,
    put_table,
    ref_text,
    say,
    short,
    speaking,
)
from node.cli.exits import Exit
from node.cli.text import clean
from node.client import segment
from node.errors import Trouble

app = typer.Typer(no_args_is_help=True, help="What is really there.")


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
def verify(
    store: Annotated[
        Path | None, typer.Option("--store", help="A store file or a home; else the own node's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every signature, seal and verdict from the file alone. Needs no daemon.

    Ends with 5 where anything is not as it must be.

    Example: gangline inspect verify --store /backup/store.db
    """
    from node import inspector  # noqa: PLC0415 - heavy, and only here

    with speaking():
        held = inspector.examine(store or Chosen.home.path)
    if as_json:
        put_json({"records": len(held.records), "digest": held.digest, "faults": held.faults})
    else:
        for fault in held.faults:
            typer.echo(clean(fault))
        typer.echo(f"{len(held.records)} records checked, {len(held.faults)} faults")
        typer.echo(f"digest {held.digest}")
    if held.faults:
        raise typer.Exit(Exit.DIFFER)


@app.command()
def diff(
    one: Annotated[Path, typer.Argument(metavar="A", help="A home or a store file.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    as_json: Json = False,
) -> None:
    """What each of two stores counts that the other lacks. Needs no daemon; ends with 5 if any.

    Example: gangline inspect diff ~/den /mnt/other/store.db
    """
    from node import inspector  # noqa: PLC0415 - heavy, and only here

    with speaking():
        first, second = inspector.examine(one), inspector.examine(other)
        if first.cluster != second.cluster:
            raise Trouble("these two belong to different clusters", Exit.DIFFER)
        rows = inspector.compare(first, second)
    if as_json:
        put_json(
            [
                {
                    "author": row.feed.author.hex(),
                    "incarnation": row.feed.incarnation,
                    "clock": row.clock,
                    "what": row.what,
                    "only_in": row.only_in,
                }
                for row in rows
            ]
        )
    elif rows:
        put_table(
            "",
            ("author", "incarnation", "clock", "what", "only in"),
            [(r.feed.author.short, r.feed.incarnation, r.clock, r.what, r.only_in) for r in rows],
        )
    else:
        typer.echo(f"they agree: {first.digest}")
    if rows:
        raise typer.Exit(Exit.DIFFER)


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
