"""What changed in the ledger: the value that a merge returns.

Made by ``ledger.py``, handed by ``replica.py`` to the document and to the observer; what must be
stored, quarantined and reported goes into a ``Ready``. Source: protocol §5.
"""

from dataclasses import dataclass, field

from crdt.contract.ready import Observation, ProofRow, Quarantined, Ready, Row, RowKey
from crdt.ledger.feed import Feed
from crdt.primitives.identity import FeedId
from crdt.records.record import VerifiedRecord


@dataclass(slots=True)
class Changes:
    """What changed between two calls.

    Attributes:
        live: records that became live, in order, even if they ceased to be live since.
        ceased: records that ceased to be live, in order.
        opened: feeds of which something is known for the first time.
        feeds: the feeds in which a slot changed.
        forgotten: slots that were known, and are unknown again.
        redraw: what a document shows of many feeds may be wrong: a fork or the roster changed it.
        rows: what each row must be: written, or gone.
        proofs: forks that were proven.
        quarantined: rejected records, with the reason.
        observed: what the operator should know.
    """

    live: list[VerifiedRecord] = field(default_factory=list)
    ceased: list[VerifiedRecord] = field(default_factory=list)
    opened: list[Feed] = field(default_factory=list)
    feeds: set[FeedId] = field(default_factory=set)
    forgotten: list[tuple[FeedId, int]] = field(default_factory=list)
    redraw: bool = False
    rows: dict[RowKey, Row | None] = field(default_factory=dict)
    proofs: list[ProofRow] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    observed: list[Observation] = field(default_factory=list)

    def instruct(self, ready: Ready) -> None:
        """Add what the shell must store, quarantine and report."""
        ready.persist.rows |= self.rows
        ready.persist.proofs += self.proofs
        ready.quarantine += self.quarantined
        ready.observe += self.observed
