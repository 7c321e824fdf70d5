"""``inspect doc``, ``feed``, ``record``, ``evidence``, ``verify``, ``diff``: from the store's file.

They need no daemon, and mind none: a running daemon's store is read as of its last commit. Every
signature is checked and every verdict given anew before anything is shown.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli.common import Chosen, Json, put_json, put_table, say, short, speaking
from node.cli.exits import Exit
from node.cli.text import clean
from node.errors import Trouble

StoreOption = Annotated[
    Path | None, typer.Option("--store", help="A store file or a home; else the own node's.")
]
PREFIX_MIN = 4
COLUMNS = ("record", "id", "at", "verdict", "kind", "says")


def _examine(store: Path | None) -> Any:
    from node import inspector  # noqa: PLC0415 - heavy, and only here

    with speaking():
        return inspector.examine(store or Chosen.home.path)


def _row(row: Any) -> tuple[object, ...]:
    return (
        f"{short(row.author)}/{row.incarnation}#{row.clock}",
        short(row.record),
        row.at[:19],
        row.verdict,
        row.kind,
        row.body,
    )


def doc(store: StoreOption = None, as_json: Json = False) -> None:
    """The whole document as people mean it: every record that counts, feed by feed.

    Example: gangline inspect doc --store /backup/store.db
    """
    rows = [row for row in _examine(store).rows() if row.verdict == "live"]
    if as_json:
        put_json([row.as_json() for row in rows])
    else:
        put_table("", COLUMNS, [_row(row) for row in rows])


def feed(
    node: Annotated[str, typer.Argument(metavar="NODE", help="A key, or the start of one.")],
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Everything held of one node's feeds, live or not.

    Example: gangline inspect feed 1feb11c0
    """
    rows = [row for row in _examine(store).rows() if row.author.startswith(node)]
    if not rows or len(node) < PREFIX_MIN or len({row.author for row in rows}) > 1:
        found = len({row.author for row in rows})
        say(f"{found} nodes with records here have a key that starts with {node}")
        raise typer.Exit(Exit.REFUSED)
    if as_json:
        put_json([row.as_json() for row in rows])
    else:
        put_table("", COLUMNS, [_row(row) for row in rows])


def record(
    record_id: Annotated[str, typer.Argument(metavar="ID", help="A record's id, or its start.")],
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """One record: its body, its signature, where it stands, and why it has its verdict.

    Example: gangline inspect record 37c91e46
    """
    held = _examine(store)
    rows = [row for row in held.rows() if row.record.startswith(record_id)]
    if len(rows) != 1 or len(record_id) < PREFIX_MIN:
        say(f"{len(rows)} records here have an id that starts with {record_id}")
        raise typer.Exit(Exit.REFUSED)
    [row] = rows
    if as_json:
        put_json(row.as_json() | {"why": row.why})
        return
    for name, value in (
        ("id", row.record),
        ("author", row.author),
        ("position", f"incarnation {row.incarnation}, clock {row.clock}"),
        ("stamp", f"{row.at} {row.n}"),
        ("signature", "holds for this position and cluster"),
        ("verdict", f"{row.verdict}: {row.why}"),
        ("body", row.body),
    ):
        typer.echo(f"{name.ljust(9)}  {clean(value)}")


def evidence(store: StoreOption = None, as_json: Json = False) -> None:
    """Every proven fork: who, where, and the two signatures that prove it.

    Example: gangline inspect evidence --json
    """
    proofs = _examine(store).proof_rows()
    if as_json:
        put_json(proofs)
        return
    put_table(
        "",
        ("author", "incarnation", "cut at", "counts", "signed both"),
        [
            (
                short(p["author"]), p["incarnation"], p["clock"], "yes" if p["counts"] else "no",
                " and ".join(short(side["body_hash"]) for side in p["sides"]),
            )
            for p in proofs
        ],
    )  # fmt: skip


def verify(store: StoreOption = None, as_json: Json = False) -> None:
    """Check every signature, seal and verdict from the file alone.

    Ends with 5 where anything is not as it must be.

    Example: gangline inspect verify --store /backup/store.db
    """
    held = _examine(store)
    if as_json:
        put_json({"records": len(held.records), "digest": held.digest, "faults": held.faults})
    else:
        for fault in held.faults:
            typer.echo(clean(fault))
        typer.echo(f"{len(held.records)} records checked, {len(held.faults)} faults")
        typer.echo(f"digest {held.digest}")
    if held.faults:
        raise typer.Exit(Exit.DIFFER)


def diff(
    one: Annotated[Path, typer.Argument(metavar="A", help="A home or a store file.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    as_json: Json = False,
) -> None:
    """What each of two stores counts that the other lacks; ends with 5 if there is anything.

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
