"""Checks that a config and a store belong to one cluster, before anything is written.

A node with a wrong digit in its config would sign for a cluster that does not exist, and every peer
would ban it. Source: protocol §4, §5.
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
"""Own records verified at a start, the last ones; ``inspect verify`` verifies all."""

Origin = tuple[ClusterId, NodePubkey]
"""A cluster and its founder."""


def origin(records: Iterable[SignedRecord]) -> Origin | None:
    """The cluster and its founder, from the record with a nonce; ``None`` if it is missing."""
    return next((found for one in records if (found := _founded(one)) is not None), None)


def _founded(record: SignedRecord) -> Origin | None:
    """The cluster that a record claims to found, if any."""
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
    """The same, if its signature is valid: in a damaged store it may not be."""
    found = _founded(record)
    if found is None:
        return None
    return None if verify_records([record], *found, verify_batch).forged else found


def named(settings: Config) -> Origin:
    """The cluster and its founder, as the config names them."""
    return ClusterId(bytes.fromhex(settings.cluster)), NodePubkey.from_hex(settings.founder)


def difference(settings: Config, records: Iterable[SignedRecord]) -> str:
    """How a config differs from the founding record; empty if it does not, or there is none.

    Args:
        records: of a store; at least the first of each author.
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
        f"{name} is {given}, but the store's is {actual}"
        for name, given, actual in pairs
        if given != actual
    )


def check_config(path: Path, settings: Config, records: Iterable[SignedRecord]) -> None:
    """Check that a config names the cluster of its store's records.

    Args:
        path: of the config, for the message.

    Raises:
        OperatorError: it names another.
    """
    wrong = difference(settings, records)
    if wrong:
        raise OperatorError(f"{path}: {wrong}; fix it, or {REPAIR}")


def check_own(store: Store, own: NodePubkey, settings: Config) -> None:
    """Check that the last records of this node are signed for its cluster, as peers will.

    Raises:
        StoreDamaged: one is not; a daemon with a wrong config wrote it.
    """
    last = store.last_records(own, OWN_ROWS)
    forged = verify_records(last, *named(settings), verify_batch).forged
    if forged:
        first = min(forged, key=lambda one: (one.feed, one.clock))
        raise StoreDamaged(
            f"{store.path} holds records of this node with an invalid signature, from "
            f"{first.feed.author.short}/{first.feed.incarnation}#{first.clock} on"
        )
