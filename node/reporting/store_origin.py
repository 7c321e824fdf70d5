"""Holds a config against a store: are both of one cluster, and was it signed for that one?

Stands before ``daemon.py`` and ``recovery.py``, which ask before anything is written, and under
``store_audit.py``. A node with a wrong digit in its config would sign for a cluster that does not
exist, and every peer would ban it for that. Source: protocol §4, §5.
"""

from collections.abc import Iterable
from pathlib import Path

from msgspec import UNSET

from crdt.ledger.ingest import verify_records
from crdt.primitives import limits
from crdt.primitives.errors import MalformedRecord
from crdt.primitives.identity import ClusterId, cluster_id_of
from crdt.records.bodies import Member, parse_body
from crdt.records.record import SignedRecord
from crdt.records.signatures import verify_batch
from machines.values import NodePubkey
from node.config.settings import Config
from node.storage.store import Store
from node.system.errors import OperatorError, StoreDamaged
from node.system.home import REPAIR

OWN_ROWS = 256
"""How many of the last own records are verified at a start; ``inspect verify`` verifies all."""

Origin = tuple[ClusterId, NodePubkey]
"""A cluster and its founder."""


def origin(records: Iterable[SignedRecord]) -> Origin | None:
    """The cluster and its founder, from the one record that carries a nonce, if it is there."""
    return next((found for one in records if (found := _founded(one)) is not None), None)


def _founded(record: SignedRecord) -> Origin | None:
    """What a record says to have founded, if it says so."""
    author = record.feed.author
    if record.feed.incarnation or record.clock:
        return None
    body_bytes = record.value[limits.SIGNATURE_BYTES :]
    try:
        body = parse_body(body_bytes)
    except MalformedRecord:
        return None
    if isinstance(body, Member) and body.nonce is not UNSET and body.node == author:
        return cluster_id_of(author, body_bytes), author
    return None


def _proven(record: SignedRecord) -> Origin | None:
    """The same, if its signature holds: in a damaged store the record may be another."""
    found = _founded(record)
    if found is None:
        return None
    return None if verify_records([record], *found, verify_batch).forged else found


def named(settings: Config) -> Origin:
    """The cluster and its founder, as a config that was read names them."""
    return ClusterId(bytes.fromhex(settings.cluster)), NodePubkey.from_hex(settings.founder)


def difference(settings: Config, records: Iterable[SignedRecord]) -> str:
    """What a config has otherwise than the founding record; empty if it has not, or none is here.

    Args:
        records: of a store: at least the first of each author.
    """
    found = [one for one in map(_proven, records) if one is not None]
    if not found or named(settings) in found:
        return ""
    cluster, founder = found[0]
    pairs = (
        ("cluster", settings.cluster, cluster.hex()),
        ("founder", settings.founder, founder.hex()),
    )
    return "; ".join(
        f"{name} is {given}, but the store is of {holds}"
        for name, given, holds in pairs
        if given != holds
    )


def check_config(path: Path, settings: Config, records: Iterable[SignedRecord]) -> None:
    """See that a config names the cluster that the records of its store are of.

    Args:
        path: the config's, for the sentence.

    Raises:
        Trouble: it names another.
    """
    wrong = difference(settings, records)
    if wrong:
        raise OperatorError(f"{path}: {wrong}; fix it, or {REPAIR}")


def check_own(store: Store, own: NodePubkey, settings: Config) -> None:
    """See that the last records of this node are signed for its cluster, as peers will ask.

    Raises:
        StoreDamaged: one is not; a daemon whose config was wrong wrote it.
    """
    last = store.last_records(own, OWN_ROWS)
    forged = verify_records(last, *named(settings), verify_batch).forged
    if forged:
        first = min(forged, key=lambda one: (one.feed, one.clock))
        raise StoreDamaged(
            f"{store.path} holds own records whose signature does not hold, from "
            f"{first.feed.author.short}/{first.feed.incarnation}#{first.clock} on"
        )
