"""``inspect history``: the timeline of events on this node.

It comes from the running daemon or, with ``--store``, from a file. Each node keeps its own, bounded
by ``history_rows`` and ``history_days`` in its config.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli.console import (
    Json,
    ask,
    errors_reported,
    parse_story_id,
    put_json,
    put_table,
    to_builtins,
)
from node.cli.inspect.store import examine
from node.client.http_client import segment
from node.system.local_time import in_local_time, local

LIMIT = 100


def history(
    story: Annotated[
        str | None,
        typer.Argument(metavar="STORY", help="Only events of this story.", callback=parse_story_id),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            metavar="PATH",
            help="Read a store file, or a node's folder, instead of the daemon.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many events.")] = LIMIT,
    as_json: Json = False,
) -> None:
    """List past events on this node, newest first.

    These are moves, conflicts, rejections, forks and changes of the roster.

    Example: gangline inspect history s-1
    Exits: 1 3 5 65
    """
    if store is None:
        rows = ask("GET", f"/inspect/history?limit={limit}&story={segment(story or '')}")
    else:
        rows = _read(store, story or "", limit)
    if as_json:
        put_json(rows)
        return
    put_table(
        "",
        ("at", "what", "story", "says"),
        [
            (local(r["at"]), r["what"].replace("_", " "), r["story"], in_local_time(r["says"]))
            for r in rows
        ],
        empty="the history is empty",
    )


def _read(store: Path, story: str, limit: int) -> Any:
    from crdt.primitives import limits  # noqa: PLC0415 - heavy, and only here
    from node.reporting import history_report, queries, store_audit  # noqa: PLC0415
    from node.storage.store import Store  # noqa: PLC0415

    held = examine(store)
    with errors_reported(), Store(store_audit.store_path(store), readonly=True) as opened:
        kept = opened.history(story, min(limit, limits.INTEGER_MAX))
    return to_builtins(history_report.rows(kept, queries.names(held.ledger)))
