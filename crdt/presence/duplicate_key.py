"""Another daemon with the own key: how a node finds out, with no clock to trust and no false alarm.

Stands beside ``tracker.py``. Every start draws a run, a name for the time between start and end,
and presence tells it. Own presence under another run may be this node's own, from before its
start, still under way. So each says whose runs it has heard: who is named by another run has met
a daemon that was started and lives, since nobody knew the name before. Source: protocol §9.
"""

from dataclasses import dataclass, field

from machines.values import NodePubkey
from msgspec import UNSET

from crdt.presence.signed_presence import HEARD_MAX, PresenceState
from crdt.primitives import limits


@dataclass(slots=True)
class DuplicateKeyDetector:
    """What one node knows of others with its key.

    Attributes:
        run: this start's name.
    """

    run: str
    _heard: dict[str, float] = field(default_factory=dict)
    _proven: dict[str, tuple[PresenceState, float]] = field(default_factory=dict)

    def receive(self, state: PresenceState, mono: float) -> bool:
        """Take a presence that the own key signed; says whether it proves a twin not known yet."""
        run = state.run
        if run is UNSET or run == self.run:
            return False
        self._heard.pop(run, None)
        self._heard[run] = mono
        if len(self._heard) > HEARD_MAX:
            del self._heard[next(iter(self._heard))]
        if state.heard is UNSET or self.run not in state.heard:
            return False
        known = self.standing(mono)
        self._proven = {run: (state, mono)}
        return known is None or known.run != run

    def heard(self, mono: float) -> tuple[str, ...]:
        """The runs heard of lately, to be named in the own presence."""
        return tuple(r for r, at in self._heard.items() if mono - at < limits.SUSPECT_SECONDS)

    def standing(self, mono: float) -> PresenceState | None:
        """What the twin said last, while it is there."""
        for state, at in self._proven.values():
            if mono - at < limits.SUSPECT_SECONDS:
                return state
        return None


def where(state: PresenceState) -> str:
    """A daemon's place, for a person: its host, and where it listens."""
    host = state.host or "an unnamed host" if state.host is not UNSET else "an unnamed host"
    return f"{host} ({', '.join(state.addresses)})" if state.addresses else host


def own_sentence(twin: PresenceState) -> str:
    """What to tell the operator of a node that has a twin."""
    return (
        f"another daemon runs with this node's key, on {where(twin)}: stop one of the two. To "
        "make that one a node of its own, take a backup of it (gangline backup FILE), and restore "
        "that in another --home with: gangline restore FILE --as-new"
    )


def peer_sentence(node: NodePubkey, state: PresenceState) -> str:
    """What to tell the others of a node that says that it has a twin; empty where it says none."""
    if state.twin is UNSET:
        return ""
    return (
        f"two daemons run with the key of {node.short}: {where(state)} says it has met {state.twin}"
    )
