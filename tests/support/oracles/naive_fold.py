"""The board's fold a second time, written from the words of protocol §7 and from nothing else.

Slow and plain on purpose: every question is answered by looking at all events again. Shares no code
with ``crdt/views/fold.py`` and knows stages only through the flat machine of ``flat_machines.py``.

    Every event names one parent, so a story is a tree from backlog. A live event hangs below its
    parent where that is live and the event is legal and later there; else it is an orphan, in no
    tree. The stage is where the spine ends: from backlog, take again and again the child with the
    most distinct authors of live events and acks at or below it, then the lowest (stamp, pubkey,
    incarnation, clock). Then all events off the spine, orphans too, are applied in the order of
    those four if stamped after the spine's end and legal at the stage reached; the others lost.
"""

from machines import pipeline as p
from machines.values import BranchName, FreeText, GitSha, Instant
from tests.support.oracles import flat_machines

AT = Instant("2026-01-01T00:00:00.000Z")
STARTS = (
    p.Backlog(),
    p.Coding(),
    p.Qa(),
    p.Merge(BranchName("any"), 1),
    p.Done(AT, GitSha("abc")),
    p.Archived(AT, p.Blocked(FreeText("any"))),
)
"""A stage of each kind; an event leads to one stage whatever it started from."""


class NaiveFold:
    """One story.

    Attributes:
        stage: where it stands.
        last: the last event that counts.
        spine, applied, lost: its events, each list in order.
    """

    def __init__(self, events, acks):
        self.events = events
        self.acks = acks
        self.spine = self._find_spine()
        self.stage = made_by(self.spine[-1]) if self.spine else p.Backlog()
        self.applied, self.lost = [], []
        for event in sorted((e for e in events if e not in self.spine), key=order):
            after = self._applies(event)
            if after is None:
                self.lost.append(event)
            else:
                self.applied.append(event)
                self.stage = after
        self.last = next(reversed([*self.spine, *self.applied]), None)

    def _applies(self, event):
        if self.spine and order(event)[0] <= order(self.spine[-1])[0]:
            return None
        return led_to(self.stage, event)

    def _find_spine(self):
        spine = []
        while children := self.children(spine[-1] if spine else None):
            most = max(len(self.authors(child)) for child in children)
            spine.append(min((c for c in children if len(self.authors(c)) == most), key=order))
        return spine

    def children(self, parent):
        """The events that hang below one, or below backlog."""
        return [event for event in self.events if self.hangs_below(event, parent)]

    def hangs_below(self, event, parent):
        named = event.body.parent
        if parent is None:
            return named is None and led_to(p.Backlog(), event) is not None
        if named is None or named != (*parent.feed, parent.clock, parent.record_id):
            return False
        later = order(event)[0] > order(parent)[0]
        return later and led_to(made_by(parent), event) is not None

    def authors(self, event):
        """The distinct authors of live events and acks at or below an event of the tree."""
        found = {event.feed.author}
        for ack in self.acks:
            if ack.body.end.record_id == event.record_id:
                found.add(ack.feed.author)
        for child in self.children(event):
            found |= self.authors(child)
        return found


def order(event):
    """(stamp, pubkey, incarnation, clock)."""
    return (event.body.at, event.body.n), event.feed.author, event.feed.incarnation, event.clock


def led_to(stage, event):
    """The stage that an event leads to from another, ``None`` where that ignores it."""
    outcome, after = flat_machines.pipeline(stage, event.body.event, event.body.at)
    return None if outcome == "ignored" else after


def made_by(event):
    """The stage that an event made, whatever it started from."""
    [made] = {led_to(stage, event) for stage in STARTS} - {None}
    return made
