"""The laws that can be read off one ledger or one log, for every harness: simulated or real nodes.

Each check raises ``Broken`` with the law's number and what was seen. ``who`` is whatever names the
node in a sentence. Numbers as in docs/testing.md.
"""

import json
from collections import Counter
from functools import lru_cache

from crdt.ledger.feed import EntryStatus
from crdt.primitives import limits
from crdt.primitives.identity import FeedId, H
from crdt.records.bodies import Member, Revocation, Role, Seal, Statement
from crdt.views.event_tree import stage_made_by, transition_of
from machines.kernel import Ignored
from machines.pipeline import INITIAL_STAGE, PIPELINE

ANY = object()
"""Stands for a key that nobody knows."""


class Broken(AssertionError):
    """A law did not hold."""

    def __init__(self, law, what):
        super().__init__(f"{law}: {what}")
        self.law = law


def bounds(who, ledger):
    """L7: what waits, and what counts nowhere, is bounded."""
    void = Counter(
        feed.author
        for feed in ledger.feeds.values()
        for entry in feed.entries()
        if entry.verdict in (EntryStatus.VOID_FORK, EntryStatus.VOID_REVOKED)
    )
    waiting = Counter(waiting.record.feed.author for waiting in ledger.pending.rows())
    for name, many, most in (
        ("pending", sum(waiting.values()), limits.PENDING_MAX),
        ("pending of one author", max(waiting.values(), default=0), limits.PENDING_PER_AUTHOR_MAX),
        ("void", sum(void.values()), limits.VOID_MAX),
        ("rejected", len(ledger.rejected), limits.REJECTED_MAX),
    ):
        if many > most:
            raise Broken("L7", f"{who} keeps {many} {name}, at most {most} are allowed")


def no_honest_cut(who, ledger, honest):
    """L6: no feed of an honest author is cut."""
    for feed, proof in ledger.proofs.items():
        if feed.author in honest:
            raise Broken("L6", f"{who} cut an honest feed at {proof.clock}")


def cuts(who, ledger):
    """L6: behind a cut nothing counts but authority and what others built upon."""
    for feed in ledger.feeds.values():
        for record in feed.live() if feed.fork is not None else ():
            if record.body.key is not None:
                raise Broken("L6", f"{who} counts {record!r}, keyed, in a feed that was cut")
            entry = feed.find(record.clock, record.record_id)
            stands = record.clock < feed.fork or entry.verdict is EntryStatus.BUILT_UPON
            if not stands and not isinstance(record.body, Member | Revocation):
                raise Broken("L6", f"{who} counts {record!r}, behind the cut")


def ripe_statements(ledger, wall):
    """What is held on who belongs, whatever its verdict, and not stamped ahead of a clock.

    What waits is not held: who is on no roster cannot speak for it.
    """
    bound = wall.ms + limits.STAMP_AHEAD_MS_MAX
    return [
        entry.record
        for feed in ledger.feeds.values()
        for entry in feed.entries()
        if isinstance(entry.record.body, Statement) and entry.record.body.at.ms <= bound
    ]


def standing(who, ledger, naive):
    """L6: the roster is what the ripe statements make of it, wherever they stand; and it holds.

    ``naive`` is the roster made of these statements from the words of the protocol alone.
    """
    roster = ledger.roster
    for node in {*naive.nodes(), *roster.nodes()}:
        counting = {admission.ref.record_id for admission in roster.admissions(node)}
        if counting != {record.record_id for record in naive.of(node)}:
            raise Broken("L6", f"{who} counts other admissions of {node.short} than there are")
        if roster.role(node) is not naive.role(node):
            raise Broken("L6", f"{who} takes {node.short} for {roster.role(node)}")
    for feed in ledger.feeds.values():
        for record in feed.live():
            role = naive.role_of_slot(feed.author, feed.id.incarnation, record.clock)
            if role in (None, Role.OBSERVER):
                raise Broken("L6", f"{who} counts {record!r}, in whose slot nobody may write")


def one_for_each_key(who, ledger):
    """L7: of what has a key in a feed the last alone is live, whether the kind is known or not."""
    for feed in ledger.feeds.values():
        for key, many in Counter(_kind_and_key(record.value) for record in feed.live()).items():
            if key[1] is not None and many > 1:
                raise Broken("L7", f"{who} counts {many} records of {feed.id} with the key {key}")


@lru_cache(100_000)
def _kind_and_key(value):
    body = json.loads(value[limits.SIGNATURE_BYTES :])
    return body["kind"], body.get("key")


def seals(who, ledger):
    """L11: whether a feed is held as sealed is what its last seal says, counted anew."""
    for feed in ledger.feeds.values():
        live = feed.live()
        if not live or not isinstance(live[-1].body, Seal) or live[-1].clock != feed.next_clock - 1:
            continue
        ids = [record.record_id for record in live if not isinstance(record.body, Seal)]
        seal = live[-1].body
        stands = (seal.count, seal.digest) == (len(ids), H(b"gangline/seal/1" + b"".join(ids)))
        if feed.as_sealed() is not stands:
            raise Broken("L11", f"{who} says of {feed.id} that it is held as sealed: {not stands}")


def legal_paths(who, ledger):
    """L4: every story stands at the end of a legal path."""
    for view in ledger.board.stories():
        fold = ledger.board.state(view.id).fold
        stage = INITIAL_STAGE
        for record in [*fold.spine, *fold.applied]:
            body = transition_of(record)
            if isinstance(PIPELINE.step(stage, body.event, body.at), Ignored):
                raise Broken("L4", f"{who}: {view.id} went from {stage} by {body.event}")
            stage = stage_made_by(record)
        if stage != fold.stage:
            raise Broken("L4", f"{who}: {view.id} is shown in {fold.stage}, not {stage}")


def accounts_for(ledger, receipt, key, *, took):
    """L2: whether a node holds a record, or what superseded it, or need not have it.

    Args:
        key: the record's kind and key, ``None`` where its kind has none, ``ANY`` where nobody
            knows.
        took: whether its disk ever took the record. What did must hold it, whatever becomes of the
            roster; nobody else need hold what counts nowhere.
    """
    feed_id = FeedId(receipt.author, receipt.incarnation)
    feed = ledger.feeds.get(feed_id)
    if feed is not None:
        if feed.find(receipt.clock, receipt.record_id) is not None:
            return True
        if is_superseded(feed, receipt.clock, key):
            return True
    return not took and counts_nowhere(ledger, feed_id, receipt.clock, key)


def is_superseded(feed, clock, key):
    """Whether a later record with the same kind and key is held.

    With ``ANY``: superseded within the turn that wrote it, so that no disk ever had it.
    """
    if key is None:
        return False
    later = (_kind_and_key(one.record.value) for one in feed.entries() if one.record.clock > clock)
    return any(found == key if key is not ANY else found[1] is not None for found in later)


def counts_nowhere(ledger, feed_id, clock, key):
    """Whether a cut takes a slot, or whatever has a key in its feed."""
    fork = ledger.fork_of(feed_id)
    cut = fork is not None or ledger.roster.keeps(feed_id)
    behind = fork is not None and clock >= fork
    silent = ledger.roster.role_of_slot(feed_id, clock) in (None, Role.OBSERVER)
    return behind or silent or (cut and key is not None)
