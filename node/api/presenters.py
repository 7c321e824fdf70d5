"""Stories and nodes as people are shown them: the board, with what presence adds to it.

Stands under ``service.py``. Presence moves no verdict and stands in no digest: it is laid over the
board's own view here, for this node's eyes alone. Source: protocol §7, presence and heartbeats.
"""

from collections.abc import Sequence

import msgspec

from crdt.replica import Replica
from crdt.views.view_types import ExecutionView, StoryView
from machines.execution import ExecutionState, Running
from machines.values import Instant, NodePubkey
from node.reporting import queries
from node.reporting.rows import NodeRow, SeenBy

HERE = "here"
OFFLINE = "offline"
UNREACHABLE = "unreachable"


class ExecutionOut(ExecutionView, frozen=True):
    """What a node is doing about a story, ``last_heartbeat`` being the newer of the durable one
    and the one from presence.

    Attributes:
        name: what the node is called; empty where that is not known, or not it alone.
        liveness: here, alive, suspect or offline.
        shown: the state in a word; *unreachable* where it runs on a node that is offline.
    """

    name: str
    liveness: str
    shown: str


class OwnExecution(msgspec.Struct, frozen=True):
    """What this node is doing about a story."""

    state: ExecutionState


class StoryOut(StoryView, frozen=True):
    """A story as the board has it, who holds it now, and what the nodes are called."""

    executions: tuple[ExecutionOut, ...]
    holder: NodePubkey | None
    names: queries.Names


def story(replica: Replica, view: StoryView, at: Instant, mono: float) -> StoryOut:
    """One story with what presence adds."""
    names = queries.names(replica.ledger)
    return _story(replica, view, names, at, mono)


def stories(replica: Replica, at: Instant, mono: float) -> list[StoryOut]:
    """The board with what presence adds."""
    names = queries.names(replica.ledger)
    return [_story(replica, view, names, at, mono) for view in replica.ledger.board.stories()]


def _story(
    replica: Replica, view: StoryView, names: queries.Names, at: Instant, mono: float
) -> StoryOut:
    executions = tuple(_execution(replica, view.id, one, names, mono) for one in view.executions)
    holder = replica.ledger.board.holder(view.id, at)
    held = msgspec.structs.asdict(view) | {"executions": executions}
    return StoryOut(**held, holder=holder.node if holder is not None else None, names=names)


def _execution(
    replica: Replica, story_id: str, view: ExecutionView, names: queries.Names, mono: float
) -> ExecutionOut:
    alive = liveness(replica, view.node, mono)
    running = isinstance(view.state, Running)
    return ExecutionOut(
        node=view.node,
        state=with_beat(view.state, _beat(replica, view.node, story_id)),
        stamp=view.stamp,
        record=view.record,
        name=names.get(view.node.hex(), ""),
        liveness=alive,
        shown=UNREACHABLE if running and alive == OFFLINE else _word(view.state),
    )


def with_beat(state: ExecutionState, beat: Instant | None) -> ExecutionState:
    """A running state with the newer of its own heartbeat and one from presence."""
    if isinstance(state, Running) and beat is not None and beat.ms > state.last_heartbeat.ms:
        return msgspec.structs.replace(state, last_heartbeat=beat)
    return state


def liveness(replica: Replica, node: NodePubkey, mono: float) -> str:
    """How alive a node looks from here."""
    return HERE if node == replica.own else replica.beacon.liveness.status(node, mono)


def _beat(replica: Replica, node: NodePubkey, story_id: str) -> Instant | None:
    if node == replica.own:
        return replica.beacon.beats.get(story_id)
    heard = replica.beacon.liveness.last(node)
    return heard.state.beats.get(story_id) if heard is not None else None


def _word(state: ExecutionState) -> str:
    return str(type(state).__struct_config__.tag)


def nodes(
    replica: Replica, linked: Sequence[NodePubkey], at: Instant, mono: float
) -> list[NodeRow]:
    """Every node on the roster: what it does, and who brings news of it."""
    roster, names = replica.ledger.roster, queries.names(replica.ledger)
    doing: dict[NodePubkey, dict[str, str]] = {}
    for one in stories(replica, at, mono):
        for execution in one.executions:
            doing.setdefault(execution.node, {})[one.id] = execution.shown
    rows = []
    for node in roster.nodes():
        heard = replica.beacon.liveness.last(node)
        seen = sorted(replica.beacon.liveness.seen_by(node).items(), key=lambda road: -road[1])
        rows.append(
            NodeRow(
                node=node.hex(),
                name=roster.name(node),
                role=str(roster.role(node) or "revoked"),
                founder=node == roster.founder,
                liveness=liveness(replica, node, mono),
                linked=node in linked,
                addresses=heard.state.addresses if heard is not None else (),
                seen_by=tuple(
                    SeenBy(by.hex(), names.get(by.hex(), ""), round(mono - when, 1))
                    for by, when in seen
                ),
                executions=doing.get(node, {}),
            )
        )
    return rows
