"""``inspect evidence`` and ``inspect proof``: proven forks, and files that prove them.

``evidence`` reads a store, and can write a proof into a file. ``proof`` checks such a file alone,
without a node, a store or a daemon. Nothing in the file is trusted.
"""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from node.cli.console import (
    Json,
    errors_reported,
    put_json,
    put_note,
    put_pairs,
    put_table,
    short,
    to_builtins,
)
from node.cli.inspect.store import StoreOption, examine
from node.system.atomic_file import atomic_file
from node.system.errors import OperatorError
from node.system.exit_codes import Exit
from node.system.sanitize import clean

FEED = re.compile(r"(.+?)(?:/(\d{1,10}))?", re.ASCII)
NOT_SHOWN = (
    "that the key belongs to this cluster (see gangline members on one of its nodes)",
    "which of the two was signed first",
    "why: a host that was restored or cloned while it ran also signs twice, once",
)
"""What two signatures do not prove."""


def evidence(
    feed: Annotated[
        str | None,
        typer.Argument(metavar="[NODE[/INC]]", help="Show both sides of this feed's fork."),
    ] = None,
    store: StoreOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Write the proof to a file that anyone can check."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: Json = False,
) -> None:
    """List proven forks, or show one with both sides.

    The file of --out holds both signatures and the content of the two records, if this node still
    has it. Anyone can check it with: gangline inspect proof FILE

    Example: gangline inspect evidence bad --out bad.evidence
    Exits: 1 4 5 65
    """
    held = examine(store)
    proofs = held.evidence()
    if feed is None and out is None:
        if as_json:
            put_json(proofs)
        else:
            _put_list(proofs)
        return
    with errors_reported():
        file = held.evidence_file(_chosen(proofs, feed))
    if out is not None:
        from crdt.records.evidence_file import encode_evidence  # noqa: PLC0415 - heavy, and only here

        with errors_reported(), atomic_file(out, force=force) as partial:
            partial.write_bytes(encode_evidence(file))
        put_note(
            f"anyone can check {out} by running gangline inspect proof {shlex.quote(str(out))}"
        )
    _put_file(file, as_json=as_json)


def _put_list(proofs: list[dict[str, Any]]) -> None:
    put_table(
        "",
        ("author", "name", "incarnation", "cut at", "counts", "signed both"),
        [
            (
                short(p["author"]), p["name"], p["incarnation"], p["clock"],
                "yes" if p["counts"] else "no",
                " and ".join(short(side["body_hash"]) for side in p["sides"]),
            )
            for p in proofs
        ],
        empty="no forks were proven here",
    )  # fmt: skip


def _chosen(proofs: list[dict[str, Any]], wanted: str | None) -> Any:
    """Find the one feed that ``wanted`` names.

    Raises:
        OperatorError: none matches, or several do.
    """
    from crdt.primitives.identity import FeedId  # noqa: PLC0415 - heavy, and only here
    from machines.values import NodePubkey  # noqa: PLC0415
    from node.reporting import record_report  # noqa: PLC0415

    match = FEED.fullmatch(wanted or "")
    found = [
        p
        for p in proofs
        if match is None
        or (record_report.is_called(p["author"], p["name"], match[1]) and _is_of(p, match[2]))
    ]
    if len(found) == 1:
        return FeedId(NodePubkey.from_hex(found[0]["author"]), found[0]["incarnation"])
    if not found:
        of = f" of {wanted}" if wanted else ""
        raise OperatorError(f"no fork{of} was proven here", Exit.REFUSED)
    named = ", ".join(f"{p['name'] or short(p['author'])}/{p['incarnation']}" for p in found)
    raise OperatorError(f"forks of several feeds are proven here; name one: {named}", Exit.REFUSED)


def _is_of(proof: dict[str, Any], incarnation: str | None) -> bool:
    return incarnation is None or int(incarnation) == proof["incarnation"]


def proof(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="An evidence file; - for stdin.")],
    as_json: Json = False,
) -> None:
    """Check an evidence file for two records in one slot.

    It prints what the two signatures prove, what they do not, and where the records differ. Only
    the file is needed: no node, store or daemon.

    Example: gangline inspect proof bad.evidence
    Exits: 1 5 65
    """
    from crdt.primitives import limits  # noqa: PLC0415 - heavy, and only here
    from crdt.primitives.errors import MalformedEvidence  # noqa: PLC0415
    from crdt.records.evidence_file import parse_evidence  # noqa: PLC0415

    most = limits.EVIDENCE_FILE_BYTES_MAX + 1
    try:
        if file == "-":
            data = sys.stdin.buffer.read(most)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(most)
    except OSError as fault:
        put_note(f"cannot read {file}: {fault.strerror}")
        raise typer.Exit(Exit.ENVIRONMENT) from None
    try:
        read = parse_evidence(data)
    except MalformedEvidence as fault:
        put_note(str(fault))
        raise typer.Exit(Exit.MALFORMED) from None
    if not _put_file(read, as_json=as_json):
        raise typer.Exit(Exit.DIFFER)


def _put_file(file: Any, *, as_json: bool) -> bool:
    """Print both sides and what they prove; returns whether they prove a fork."""
    from crdt.records.evidence_file import check  # noqa: PLC0415 - heavy, and only here
    from crdt.records.signatures import verify_batch  # noqa: PLC0415

    found = check(file, verify_batch)
    bodies = [_body(side) for side in file.sides]
    if as_json:
        put_json(to_builtins({"proven": found.proven, "hold": found.hold, "file": file,
                           "bodies": bodies}))  # fmt: skip
        return found.proven
    put_pairs(
        [
            ("proven" if found.proven else "NOT PROVEN", _verdict(found)),
            ("key", file.author.hex()),
            ("cluster", file.cluster.hex()),
            ("place", f"incarnation {file.incarnation}, clock {file.clock}"),
            *(
                (f"{which} side", _side(side, held=held, holds=holds))
                for which, side, held, holds in zip(
                    ("first", "second"), file.sides, bodies, found.hold, strict=True
                )
            ),
            *(("not shown", sentence) for sentence in NOT_SHOWN if found.proven),
        ]
    )
    for line in _difference(*bodies):
        typer.echo(clean(line))
    return found.proven


def _verdict(found: Any) -> str:
    if found.proven:
        return "this key signed two different records for one place"
    match found.hold:
        case (False, False):
            return "neither signature is this key's for this slot"
        case (False, True):
            return "the first signature is not this key's for this slot"
        case (True, False):
            return "the second signature is not this key's for this slot"
    return "both sides are the same record"


def _side(side: Any, *, held: object, holds: bool) -> str:
    verdict = "signature holds" if holds else "SIGNATURE DOES NOT HOLD"
    missing = "" if held is not None else ", its content was no longer held"
    return f"{verdict}, H(body) {side.hash.hex()}{missing}"


def _body(side: Any) -> Any:
    """A record's body as an object, or as text if it is not valid; ``None`` if it is not held."""
    import msgspec  # noqa: PLC0415 - heavy, and only here

    from crdt.primitives.errors import MalformedRecord  # noqa: PLC0415
    from crdt.records.bodies import parse_body  # noqa: PLC0415

    if side.body is msgspec.UNSET:
        return None
    try:
        parse_body(side.body)  # two bodies that differ in form alone would look alike
    except MalformedRecord:
        return side.body.decode("utf-8", "backslashreplace")
    return msgspec.json.decode(side.body)


def _difference(one: Any, other: Any) -> list[str]:
    """Where two bodies differ, field by field."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return [
            f"{mark} {body if isinstance(body, str) else _flat(body)}"
            for mark, body in (("1", one), ("2", other))
            if body is not None
        ]
    lines = []
    for name in sorted(one.keys() | other.keys()):
        here, there = (_flat(body[name]) if name in body else None for body in (one, other))
        if here == there:
            lines.append(f"  {name} {here}")
            continue
        lines += [f"1 {name} {here}"] if here is not None else []
        lines += [f"2 {name} {there}"] if there is not None else []
    return lines


def _flat(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
