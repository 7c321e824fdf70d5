"""What an operator should know: logged as it happens, and shown by ``status``.

Fed by ``event_bus.py``. Conditions that last are read from the replica each time; of single events
the last few since the start are kept. Source: protocol §9.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import UNSET

from crdt.contract.ready import (
    ForkProven,
    IncarnationOpened,
    Noticed,
    NoticeKind,
    Now,
    Observation,
    PeerFaulted,
    RecordRejected,
    RosterChange,
    RosterMoved,
)
from crdt.ledger.feed import EntryStatus
from crdt.presence.duplicate_key import own_sentence, peer_sentence
from crdt.replica import Replica
from machines.values import NodePubkey
from node.reporting.describe import roster_change
from node.reporting.queries import Called
from node.system import clock
from node.system.log_format import LogRateLimit, fields

log = logging.getLogger("gangline")

KEPT: Final = 20
ROSTER_AT_ONCE: Final = 64
ROSTER_SECONDS: Final = 10.0
STANDING: Final = frozenset({NoticeKind.TWIN, NoticeKind.CLOCK, NoticeKind.SEAL})
"""Kinds that ``status`` shows from the replica, only while they last."""


class Notices:
    """Logs what the bus publishes, and keeps the last notices.

    Attributes:
        called: returns what a node is called.
        own: this node's key.
        has_left: whether this node left the cluster by its own wish.
    """

    def __init__(self) -> None:
        self.called: Called | None = None
        self.own = ""
        self.has_left: Callable[[], bool] = lambda: False
        self._last: deque[str] = deque(maxlen=KEPT)
        self._pace = LogRateLimit(ROSTER_AT_ONCE, ROSTER_SECONDS, clock.monotonic())

    def on_event(self, event: Observation) -> None:
        """Log one event, and keep it if it is a notice."""
        match event:
            case RecordRejected():
                author, incarnation, at, _ = event.record
                known = fields(
                    author=author.hex(),
                    incarnation=incarnation,
                    clock=at,
                    reason=event.reason,
                    detail=event.detail,
                )
                told = f"{self._name(author)}, {incarnation}#{at}: {event.reason}: {event.detail}"
                log.warning("rejected a record of %s", told, extra=known)
            case PeerFaulted():
                known = fields(peer=event.peer.hex(), reason=event.reason, detail=event.detail)
                told = f"{event.reason}: {event.detail}"
                log.warning("dropped %s: %s", self._name(event.peer), told, extra=known)
            case ForkProven():
                self._say(
                    f"{self._name(event.author)} signed two records for clock {event.clock} of its "
                    f"feed {event.incarnation}: nothing of it counts from there on",
                    what="fork",
                    node=event.author.hex(),
                    incarnation=event.incarnation,
                    clock=event.clock,
                )
            case RosterMoved():
                for change in event.changes:
                    self._tell_of_roster(change)
            case IncarnationOpened():
                told = f"this node goes on in a new feed, {event.incarnation}: {event.why}"
                self._say(told, what="new_feed", incarnation=event.incarnation)
            case Noticed() if event.what in STANDING:
                log.warning("%s", event.detail, extra=fields(**_known(event)))
            case Noticed():
                self._say(event.detail, **_known(event))
            case _:
                log.debug("%s", type(event).__name__)

    def _name(self, node: NodePubkey) -> str:
        return node.short if self.called is None else self.called(node)

    def _tell_of_roster(self, change: RosterChange) -> None:
        if change.node.hex() == self.own and self.has_left():
            return  # logged by ``leave_rotate``
        if not self._pace.allow(clock.monotonic()):
            if self._pace.suppressed == 1:
                log.info("the roster moves faster than is told of here; see: gangline members")
            return
        self._pace.reset()
        names = {} if self.called is None else self.called.names
        told = msgspec.to_builtins(change, enc_hook=bytes.hex)
        known = {"what": "roster"} | {name: said for name, said in told.items() if said}
        log.info("%s", roster_change(told, names, own=self.own), extra=fields(**known))

    def add(self, sentence: str) -> None:
        """Keep a notice that was logged already, so that ``status`` shows it."""
        self._last.append(sentence)

    def _say(self, sentence: str, **known: object) -> None:
        log.warning("%s", sentence, extra=fields(**known))
        self._last.append(sentence)

    def current(self, replica: Replica, now: Now) -> tuple[str, ...]:
        """The conditions that hold now, then the events since the start, the oldest first."""
        return (*standing(replica, now), *self._last)


def _known(event: Noticed) -> dict[str, str]:
    node = {} if event.node is None else {"node": event.node.hex()}
    return {"what": event.what} | node


def standing(replica: Replica, now: Now) -> list[str]:
    """The conditions that hold now and need the operator's attention."""
    found = []
    if replica.doubt:
        found.append(f"{replica.doubt}; the next write opens a new feed")
    clock = replica.clock_watch.why_not(now)
    if clock:
        found.append(clock)
    early = _early(replica)
    if early:
        found.append(
            f"records stamped more than five minutes ahead of this host's clock: {early}; they do "
            "not count until it has caught up. Was it set back?"
        )
    unsealed = [f for f in replica.ledger.feeds.values() if f.as_sealed() is False]
    if unsealed:
        first, more = unsealed[0].id, len(unsealed) - 1
        named = f"{first.author.short}/{first.incarnation}" + (f" and {more} more" if more else "")
        found.append(f"not as its author sealed it: {named}; see: gangline inspect feeds")
    twin = replica.beacon.twins.current(now.mono)
    if twin is not None:
        found.append(own_sentence(twin))
    for node in replica.ledger.roster.nodes():
        heard = replica.beacon.liveness.last(node)
        there = replica.beacon.liveness.status(node, now.mono) != "offline"
        if heard is not None and there and heard.state.twin is not UNSET:
            found.append(peer_sentence(node, heard.state))
    return found


def _early(replica: Replica) -> int:
    """How many records are stored that must not count yet."""
    if not replica.ledger.ahead:
        return 0
    feeds = replica.ledger.feeds.values()
    return sum(entry.verdict is EntryStatus.AHEAD for feed in feeds for entry in feed.idle())
