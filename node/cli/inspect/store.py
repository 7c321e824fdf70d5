"""``inspect doc``, ``feed``, ``record``, ``verify`` and ``diff``, which read the store's file.

They need no daemon; the store of a running daemon is read as of its last commit. Every signature is
checked and every verdict computed again before anything is printed.
"""

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli.console import (
    Chosen,
    Json,
    errors_reported,
    put_json,
    put_note,
    put_pairs,
    put_table,
    short,
    to_builtins,
)
from node.reporting.describe import format_ref
from node.system.errors import OperatorError
from node.system.exit_codes import Exit
from node.system.local_time import in_local_time, local
from node.system.plurals import counted
from node.system.sanitize import clean

TIMED = ("claim", "execution")
StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store", metavar="PATH", help="A store file or a node's folder; default: this node's."
    ),
]


def examine(store: Path | None) -> Any:
    """Read and verify a store; prints a note if it has faults."""
    from node.reporting import store_audit  # noqa: PLC0415 - heavy, and only here

    with errors_reported():
        held = store_audit.audit(store or Chosen.home.path)
    if held.faults:
        path = shlex.quote(str(store or Chosen.home.path))
        many = counted(len(held.faults), "fault")
        put_note(f"{many} in this store; see: gangline inspect verify --store {path}")
    return held


def _place(row: Any) -> str:
    return f"{row.name or short(row.author)}/{row.incarnation}#{row.clock}"


def _says(row: Any) -> str:
    """A record's content, with local times if it has no free text."""
    return in_local_time(row.says) if row.kind in TIMED else str(row.says)


def doc(store: StoreOption = None, as_json: Json = False) -> None:
    """List the records that count, feed by feed.

    Example: gangline inspect doc --store /backup/store.db
    Exits: 1 5 65
    """
    from node.reporting import record_report  # noqa: PLC0415 - heavy, and only here

    rows = [row for row in record_report.held_rows(examine(store)) if row.verdict == "live"]
    if as_json:
        put_json(to_builtins(rows))
    else:
        put_table(
            "",
            ("record", "at", "kind", "says"),
            [(_place(row), local(row.at), row.kind, _says(row)) for row in rows],
        )


def feed(
    node: Annotated[
        str,
        typer.Argument(metavar="NODE", help="The node's name, its key, or the start of its key."),
    ],
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """List all records of one node's feeds.

    Records that are not live are included. If a seal counts more records, a line below the table
    lists what is missing.

    Example: gangline inspect feed 1feb11c0
    Exits: 1 4 5 65
    """
    from node.reporting import record_report  # noqa: PLC0415 - heavy, and only here

    held = examine(store)
    rows = [
        row
        for row in record_report.held_rows(held)
        if record_report.is_called(row.author, row.name, node)
    ]
    found = {row.author for row in rows}
    if len(found) != 1:
        many = (
            "more than one node with records here is" if found else "no node with records here is"
        )
        put_note(f"{many} called {node}; give a name, or at least four digits of a key")
        raise typer.Exit(Exit.REFUSED)
    if as_json:
        put_json(to_builtins(rows))
    else:
        put_table(
            "",
            ("record", "id", "verdict", "kind", "says"),
            [(_place(row), short(row.record), row.verdict, row.kind, _says(row)) for row in rows],
        )
        for one in held.feeds():
            if one.author in found and one.shortfall is not None:
                typer.echo(clean(one.shortfall.says))


def record(
    wanted: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A record's id, the start of its id, or its slot: den/0#7."
        ),
    ],
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Show one record with its signature and verdict.

    The record may count, be pending or rejected, or be in quarantine. A superseded record is gone
    from the store; its slot still shows what is known of it.

    Example: gangline inspect record den/0#7
    Exits: 1 4 5 65
    """
    from node.reporting import record_report  # noqa: PLC0415 - heavy, and only here

    held = examine(store)
    rows = record_report.find(held, wanted)
    if not rows or len({row.record for row in rows}) > 1:
        put_note(_none_or_many(wanted, len(rows), record_report.empty_slot(held, wanted)))
        raise typer.Exit(Exit.REFUSED)
    row = rows[0]
    if as_json:
        put_json(to_builtins(row))
        return
    put_pairs(
        (
            ("id", row.record),
            ("author", f"{row.name} {row.author}".strip()),
            ("position", f"incarnation {row.incarnation}, clock {row.clock}"),
            ("stamp", f"{local(row.at)}, n {row.n}" if row.at else ""),
            (
                "signature",
                "holds for this position and cluster" if row.signature else "DOES NOT HOLD",
            ),
            ("verdict", row.verdict),
            ("why", row.why),
            ("supersedes", row.supersedes),
            ("superseded", row.superseded),
            ("says", _says(row)),
        )
    )
    typer.echo("body")
    for line in json.dumps(row.body, indent=2, ensure_ascii=False).splitlines():
        typer.echo(f"  {clean(line)}")


def _none_or_many(wanted: str, found: int, why: str) -> str:
    if found:
        return f"{found} records here match {wanted}; give more of the id"
    if why:
        return f"nothing is held at {wanted}: {why}"
    return f"no record here has an id that starts with {wanted}; give at least four digits"


def verify(store: StoreOption = None, as_json: Json = False) -> None:
    """Verify every signature, seal, verdict and view of a store.

    Every record is judged again, and the board is folded again in another order. The command ends
    with 5 if anything is wrong, or a feed may lack records that its author sealed. A seal that no
    feed with these records could match is its author's fault; it is printed, and does not count.

    Example: gangline inspect verify --store /backup/store.db
    Exits: 1 5 65
    """
    from node.reporting import store_audit  # noqa: PLC0415 - heavy, and only here

    with errors_reported():
        held = store_audit.audit(store or Chosen.home.path)
    faults = held.faults + held.check_views()
    stories = len(held.ledger.board)
    if as_json:
        put_json(
            {
                "records": len(held.records),
                "stories": stories,
                "digest": held.digest,
                "faults": faults,
                "observed": held.observed,
            }
        )
    else:
        for fault in faults:
            typer.echo(clean(fault))
        for sentence in held.observed:
            typer.echo(clean(f"not a fault of this store: {sentence}"))
        checked = f"{counted(len(held.records), 'record')} and {counted(stories, 'story')} checked"
        typer.echo(f"{checked}, {counted(len(faults), 'fault')}")
        typer.echo(f"digest {held.digest}")
    if faults:
        raise typer.Exit(Exit.DIFFER)


def diff(
    one: Annotated[Path, typer.Argument(metavar="A", help="A node's folder or a store file.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    as_json: Json = False,
) -> None:
    """List the records in which two stores differ.

    The command ends with 5 if they differ. It also prints rows that are not as their author signed
    them and ends with 5, since a daemon on that store would count them and show another digest.

    Example: gangline inspect diff ~/den /mnt/other/store.db
    Exits: 1 5 65
    """
    from node.reporting import queries, store_audit  # noqa: PLC0415 - heavy, and only here

    with errors_reported():
        first, second = store_audit.audit(one), store_audit.audit(other)
        if first.cluster != second.cluster:
            raise OperatorError("the two stores belong to different clusters", Exit.DIFFER)
        rows = store_audit.compare(first, second)
    unsound = [
        f"{name}: {fault}"
        for name, held in (("A", first), ("B", second))
        for fault in held.faults[: held.unsound]
    ]
    names = queries.names(second.ledger) | queries.names(first.ledger)
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
            ("only in", "record", "what"),
            [
                (
                    row.only_in,
                    format_ref(names, (row.feed.author.hex(), *row.feed[1:], row.clock)),
                    row.what,
                )
                for row in rows
            ],
        )
    elif not unsound:
        typer.echo(f"they agree: {first.digest}")
    for sentence in unsound:
        put_note(sentence)
    if rows or unsound:
        raise typer.Exit(Exit.DIFFER)
