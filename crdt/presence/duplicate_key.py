"""Detection of another daemon with our key, without trusted clocks and without false alarms.

Each start of a daemon draws a random run id, which its presence carries. Presence with our key and
another run id may be our own, from before a restart. So presence also lists the run ids that a
daemon has received. If presence of another run lists ours, a daemon with our key has run since our
start, because nobody knew our run id before. Source: protocol §9.
"""

from dataclasses import dataclass, field

from machines.values import NodePubkey
from msgspec import UNSET

from crdt.presence.signed_presence import HEARD_MAX, PresenceState
from crdt.primitives import limits


@dataclass(slots=True)
class DuplicateKeyDetector:
    """What a node knows of other daemons with its key.

    Attributes:
        run: the run id of this start: 16 hex digits.
    """

    run: str
    _heard: dict[str, float] = field(default_factory=dict)
    _proven: dict[str, tuple[PresenceState, float]] = field(default_factory=dict)

    def receive(self, state: PresenceState, mono: float) -> bool:
        """Take presence signed with our key; return whether it proves a new duplicate."""
        run = state.run
        if run is UNSET or run == self.run:
            return False
        self._heard.pop(run, None)
        self._heard[run] = mono
        if len(self._heard) > HEARD_MAX:
            del self._heard[next(iter(self._heard))]
        if state.heard is UNSET or self.run not in state.heard:
            return False
        known = self.current(mono)
        self._proven = {run: (state, mono)}
        return known is None or known.run != run

    def heard(self, mono: float) -> tuple[str, ...]:
        """Return the run ids received lately, for our own presence."""
        return tuple(r for r, at in self._heard.items() if mono - at < limits.SUSPECT_SECONDS)

    def current(self, mono: float) -> PresenceState | None:
        """Return the last presence of the duplicate, if it is recent."""
        for state, at in self._proven.values():
            if mono - at < limits.SUSPECT_SECONDS:
                return state
        return None


def location(state: PresenceState) -> str:
    """Format the location of a daemon: its host, and its addresses."""
    host = state.host or "an unnamed host" if state.host is not UNSET else "an unnamed host"
    return f"{host} ({', '.join(state.addresses)})" if state.addresses else host


def own_sentence(twin: PresenceState) -> str:
    """Return the message for the operator of a node with a duplicate key."""
    return (
        f"another daemon runs with this node's key, on {location(twin)}: stop one of the two. To "
        "make that one a node of its own, take a backup of it (gangline backup FILE), and restore "
        "that in another --home with: gangline restore FILE --as-new"
    )


def peer_sentence(node: NodePubkey, state: PresenceState) -> str:
    """Return the message for other nodes; empty if ``state`` reports no duplicate."""
    if state.twin is UNSET:
        return ""
    here = location(state)
    return f"two daemons run with the key of {node.short}: {here} says it has met {state.twin}"
