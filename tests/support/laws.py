"""The laws that can be read off one ledger or one log, for every harness: simulated or real nodes.

Each check raises ``Broken`` with the law's number and what was seen. ``who`` is whatever names the
node in a sentence. Numbers as in docs/testing.md.
"""

import json
from collections import Counter
from functools import lru_cache

from crdt import limits
from crdt.bodies import Member, Revocation, Role, Seal
from crdt.feeds import Verdict
from crdt.fold import said, stage_made_by
from crdt.identity import FeedId, H
from crdt.roster import Roster
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
        if entry.verdict in (Verdict.VOID_FORK, Verdict.VOID_REVOKED)
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
            stands = record.clock < feed.fork or entry.verdict is Verdict.BUILT_UPON
            if not stands and not isinstance(record.body, Member | Revocation):
                raise Broken("L6", f"{who} counts {record!r}, behind the cut")


def standing(who, ledger):
    """L6: the roster is what all statements make of it, wherever they stand; and it holds."""
    held = [entry.record for feed in ledger.feeds.values() for entry in feed.entries()]
    waiting = [waiting.record for waiting in ledger.pending.rows()]
    fresh = Roster(ledger.roster.founder, [*held, *waiting])
    for node in {*fresh.nodes(), *ledger.roster.nodes()}:
        if fresh.admissions(node) != ledger.roster.admissions(node):
            raise Broken("L6", f"{who} has forgotten what was said of {node.short}")
    for feed in ledger.feeds.values():
        if feed.author == ledger.roster.founder:
            continue
        takes = [admission.takes for admission in fresh.admissions(feed.author)]
        for record in feed.live():
            slot = feed.id.incarnation, record.clock
            if not any(all(_keeps(take, *slot) for take in several) for several in takes):
                raise Broken("L6", f"{who} counts {record!r}, whose slot every revocation takes")


def _keeps(take, incarnation, clock):
    return incarnation in take.keep and clock < take.keep[incarnation]


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
        if not live or not isinstance(live[-1].body, Seal) or live[-1].clock != feed.head - 1:
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
            body = said(record)
            if isinstance(PIPELINE.step(stage, body.event, body.at), Ignored):
                raise Broken("L4", f"{who}: {view.id} went from {stage} by {body.event}")
            stage = stage_made_by(record)
        if stage != fold.stage:
            raise Broken("L4", f"{who}: {view.id} is shown in {fold.stage}, not {stage}")


def accounts_for(ledger, receipt, key):
    """L2: whether a node holds a record, or what superseded it, or shows that its feed is cut.

    ``key`` is the record's kind and key, ``None`` where its kind has none, ``ANY`` where nobody
    knows.
    """
    feed_id = FeedId(receipt.author, receipt.incarnation)
    if ledger.fork_of(feed_id) is not None or ledger.roster.keeps(feed_id):
        return True
    if ledger.roster.role_of_slot(feed_id, receipt.clock) in (None, Role.OBSERVER):
        return True
    feed = ledger.feeds.get(feed_id)
    if feed is None:
        return False
    if feed.find(receipt.clock, receipt.record_id) is not None:
        return True
    if key is ANY:  # superseded within the turn that wrote it: no disk ever had it
        return any(clock > receipt.clock for clock in feed.keys.values())
    return key is not None and feed.keys.get(key, -1) > receipt.clock
