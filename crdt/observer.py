"""What happened, as observations: from what became live to what a person would say.

Stands at the end of the line, beside ``replica.py``. Takes what the ledger admitted and what the
board says changed; changes no verdict. Source: protocol §6, §7.
"""

from collections.abc import Iterable

from machines.execution import EXECUTION
from machines.kernel import Action
from machines.kernel import StateChange as Moved
from machines.pipeline import PIPELINE
from machines.values import Instant, NodePubkey

from crdt.contract.checkpoint import Checkpoint, pass_on
from crdt.contract.ready import (
    ClaimMoved,
    EventLost,
    ExecutionMoved,
    Observation,
    RecordAdmitted,
    StageMoved,
)
from crdt.records.bodies import Claim, Execution, Transition
from crdt.records.record import VerifiedRecord
from crdt.views.board import Board, BoardChange
from crdt.views.event_tree import transition_of


class Observer:
    """Turns changes into observations; remembers who last held each story, and what was done.

    Args:
        own: the own key.
        board: what changes.
        checkpoint: called after each step, however many there are.
    """

    def __init__(self, own: NodePubkey, board: Board, checkpoint: Checkpoint = pass_on) -> None:
        self._checkpoint = checkpoint
        self._own = own
        self._board = board
        self._holders: dict[str, NodePubkey | None] = {}
        self._done: dict[str, dict[NodePubkey, Execution]] = {}

    def observe(self, live: Iterable[VerifiedRecord], wall: Instant) -> list[Observation]:
        """What happened since the last call.

        Args:
            live: the records that became live.
            wall: the own clock: it decides which claims stand.
        """
        found: list[Observation] = []
        for change in self._board.take_changes():
            self._checkpoint()
            found += self._stage_moves(change)
        for record in live:
            self._checkpoint()
            body = record.body
            own = record.feed.author == self._own
            if isinstance(body, Execution):
                if self._is_again(record.feed.author, body):
                    continue
                event, state = EXECUTION.event_name(body.event), EXECUTION.state_name(body.state)
                found.append(
                    ExecutionMoved(body.key, record.feed.author, event, state, record.ref, own=own)
                )
            elif isinstance(body, Claim):
                found += self._claim_moves(body.key, wall)
            elif not isinstance(body, Transition):
                found.append(RecordAdmitted(record.ref, body.kind, own=own))
        return found

    def skip(self, stored: Iterable[VerifiedRecord], wall: Instant) -> None:
        """What was read from the own store is no news: who holds what is kept in mind, and what
        was done, also by a key or in a feed that counts no longer: it may be written again.
        """
        self._board.forget_changes()
        for record in stored:
            if isinstance(record.body, Claim):
                self._claim_moves(record.body.key, wall)
            elif isinstance(record.body, Execution):
                self._is_again(record.feed.author, record.body)

    def _is_again(self, author: NodePubkey, body: Execution) -> bool:
        """Whether the very same was done before: in another feed, or under a key that is gone."""
        done = self._done.setdefault(body.key, {})
        same = {node for node, known in done.items() if known == body} - {author}
        again = done.get(author) == body
        if same and not again:
            state = self._board.state(body.key)
            views = state.execution_views() if state is not None else ()
            again = bool(same - {view.node for view in views})
        done[author] = body
        return again

    def _stage_moves(self, change: BoardChange) -> list[Observation]:
        found: list[Observation] = []
        if change.before != change.after:
            last = change.last
            actions: tuple[Action, ...] = ()
            event = ""
            if last is not None and isinstance(last.body, Transition):
                event = PIPELINE.event_name(last.body.event)
                outcome = PIPELINE.step(change.before, last.body.event, last.body.at)
                actions = outcome.actions if isinstance(outcome, Moved) else ()
            found.append(
                StageMoved(
                    change.story,
                    change.before,
                    change.after,
                    last.ref if last is not None else None,
                    event,
                    actions,
                    late=change.late,
                    own=last is not None and last.feed.author == self._own,
                )
            )
        for lost in change.lost:
            event = PIPELINE.event_name(transition_of(lost.record).event)
            found.append(EventLost(change.story, lost.record.ref, event, lost.beaten_by, lost.why))
        return found

    def _claim_moves(self, story: str, wall: Instant) -> list[Observation]:
        holder = self._board.holder(story, wall)
        before, after = self._holders.get(story), holder.node if holder is not None else None
        if before == after:
            return []
        self._holders[story] = after
        lost = before == self._own and after is not None
        return [ClaimMoved(story, before, after, lost_by_us=lost)]
