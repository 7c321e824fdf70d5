"""Reports a feed that does not match its author's seal, as fields and as a sentence.

Adds names and addresses to the result of ``crdt/sync/seal_audit.py``. A daemon's sessions know
which peers were asked; a store file does not. Source: protocol §8.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from crdt.contract.checkpoint import in_steps
from crdt.ledger.feed import Feed
from crdt.ledger.ledger import Ledger
from crdt.primitives.range_set import RangeSet
from crdt.replica import Replica
from crdt.sync.seal_audit import SealMismatch, SourceState, shortfall, sources
from machines.values import NodePubkey
from node.reporting.describe import Names, display_name
from node.reporting.rows import Shortfall, SourceRow

Addresses = Mapping[NodePubkey, Sequence[str]]
Look = Callable[[Feed], Shortfall | None]
RUNS_SHOWN = 32
RUNS_NAMED = 4
NODES_NAMED = 3
UNKNOWN = "unknown"


def of_daemon(replica: Replica, names: Names, addresses: Addresses, mono: float) -> Look:
    """Returns a function that reports on a feed of a running daemon."""

    def look(feed: Feed) -> Shortfall | None:
        found = shortfall(replica.ledger, feed)
        if found is None:
            return None
        found_at = sources(replica.ledger, replica.sessions, replica.own, feed)
        rows = [
            SourceRow(
                node=one.node.hex(),
                name=names.get(one.node.hex(), ""),
                road=str(one.state),
                seconds=None if one.asked is None else round(mono - one.asked, 1),
                addresses=tuple(addresses.get(one.node, ())),
            )
            for one in in_steps(found_at, replica.ledger.checkpoint)
        ]
        return _row(found, names, rows)

    return look


def of_file(ledger: Ledger, names: Names, addresses: Addresses) -> Look:
    """Returns a function that reports on a feed of a store file."""

    def look(feed: Feed) -> Shortfall | None:
        found = shortfall(ledger, feed)
        if found is None:
            return None
        nodes = [node for node in ledger.roster.nodes() if ledger.roster.belongs(node)]
        rows = [
            SourceRow(
                node.hex(), names.get(node.hex(), ""), UNKNOWN, None, tuple(addresses.get(node, ()))
            )
            for node in sorted(nodes, key=lambda node: (node != feed.author, node))
        ]
        return _row(found, names, rows)

    return look


def _row(found: SealMismatch, names: Names, rows: Sequence[SourceRow]) -> Shortfall:
    return Shortfall(
        seal=found.seal,
        stated=found.sealed_count,
        held=found.held,
        unknown=_first(found.unknown),
        gone=_first(found.gone),
        idle=_first(found.not_counted),
        false=found.unsatisfiable,
        sources=tuple(rows),
        says=_sentence(found, names, rows),
    )


def _first(runs: RangeSet) -> tuple[tuple[int, int], ...]:
    return tuple(islice(runs, RUNS_SHOWN))


def _sentence(found: SealMismatch, names: Names, rows: Sequence[SourceRow]) -> str:
    author = found.feed.author.hex()
    feed = f"{display_name(names, author)}/{found.feed.incarnation}"
    seal = f"the seal at #{found.seal} counts {found.sealed_count} live below it"
    parts = [f"{feed} does not match its author's seal: {seal}, {found.held} here"]
    if found.unsatisfiable:
        parts.append("no further records could make that seal match")
    else:
        parts += [
            f"{what} {_clocks(runs)}"
            for what, runs in (
                ("unknown:", found.unknown),
                ("without content (superseded or withheld):", found.gone),
                ("here, but not counted:", found.not_counted),
            )
            if runs
        ]
    parts += _source_parts(rows, author)
    return "; ".join(parts)


def _clocks(runs: RangeSet) -> str:
    shown = [
        f"#{start}" if end == start + 1 else f"#{start} to #{end - 1}"
        for start, end in islice(runs, RUNS_NAMED)
    ]
    more = len(runs) - len(shown)
    return ", ".join([*shown, f"{more} more"] if more else shown)


def _source_parts(rows: Sequence[SourceRow], author: str) -> Iterable[str]:
    for road, what in (
        (SourceState.ASKED, "asked, holding something else:"),
        (SourceState.SAME, "holding the same:"),
        (SourceState.NOT_COMPARED, "linked, not compared yet:"),
        (SourceState.NOT_LINKED, "not linked, may have it:"),
        (UNKNOWN, "may have it:"),
    ):
        chosen = [row for row in rows if row.road == road]
        shown = [_one(row, author) for row in chosen[:NODES_NAMED]]
        more = len(chosen) - len(shown)
        if shown:
            yield f"{what} {', '.join([*shown, f'{more} more'] if more else shown)}"


def _one(row: SourceRow, author: str) -> str:
    facts = ["its author"] if row.node == author else []
    facts += [f"{row.seconds:.0f} s ago"] if row.seconds is not None else []
    facts += row.addresses[:1] if row.road in (SourceState.NOT_LINKED, UNKNOWN) else []
    name = row.name or row.node[:8]
    return f"{name} ({', '.join(facts)})" if facts else name
