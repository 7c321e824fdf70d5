"""``inspect history``: the timeline of what happened on one node.

From the running daemon, or with ``--store`` from a file. Every node keeps its own, bounded by
``history_rows`` and ``history_days`` in its config.
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
        typer.Argument(metavar="STORY", help="Of this story alone.", callback=parse_story_id),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            "--store", metavar="PATH", help="A store file or a home, instead of the daemon."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="So many events at most.")] = LIMIT,
    as_json: Json = False,
) -> None:
    """What happened here, the newest first: moves, conflicts, rejections, forks, members.

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
        empty="nothing is kept of what happened",
    )


def _read(store: Path, story: str, limit: int) -> Any:
    from crdt.primitives import limits  # noqa: PLC0415 - heavy, and only here
    from node.reporting import history_report, queries, store_audit  # noqa: PLC0415
    from node.storage.store import Store  # noqa: PLC0415

    held = examine(store)
    with errors_reported(), Store(store_audit.store_path(store), readonly=True) as opened:
        kept = opened.history(story, min(limit, limits.INTEGER_MAX))
    return to_builtins(history_report.rows(kept, queries.names(held.ledger)))
