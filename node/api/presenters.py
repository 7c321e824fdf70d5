"""Stories and nodes as the local API returns them: the board, combined with presence.

Presence changes no verdict and no digest, so it is added to the board's view here, on this node
alone. Source: protocol §7, presence and heartbeats.
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
    """A node's execution of a story; ``last_heartbeat`` is the newer of the recorded one and the
    one in the node's presence.

    Attributes:
        name: the node's name; empty if it is unknown or another node has it too.
        liveness: here, alive, suspect or offline.
        shown: the state in a word; *unreachable* if the agent runs on a node that is offline.
    """

    name: str
    liveness: str
    shown: str


class OwnExecution(msgspec.Struct, frozen=True):
    """This node's own execution of a story."""

    state: ExecutionState


class StoryOut(StoryView, frozen=True):
    """A story of the board, with its present holder and the names of nodes."""

    executions: tuple[ExecutionOut, ...]
    holder: NodePubkey | None
    names: queries.Names


def story(replica: Replica, view: StoryView, at: Instant, mono: float) -> StoryOut:
    """One story, combined with presence."""
    names = queries.names(replica.ledger)
    return _story(replica, view, names, at, mono)


def stories(replica: Replica, at: Instant, mono: float) -> list[StoryOut]:
    """The board, combined with presence."""
    names = queries.names(replica.ledger)
    return [_story(replica, view, names, at, mono) for view in replica.ledger.board.stories()]


def _story(
    replica: Replica, view: StoryView, names: queries.Names, at: Instant, mono: float
) -> StoryOut:
    executions = tuple(_execution(replica, view.id, one, names, mono) for one in view.executions)
    holder = replica.ledger.board.holder(view.id, at)
    fields = msgspec.structs.asdict(view) | {"executions": executions}
    return StoryOut(**fields, holder=holder.node if holder is not None else None, names=names)


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
    """The liveness of a node as seen from here."""
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
    """Every node on the roster, with its executions and the peers that brought news of it."""
    roster, names = replica.ledger.roster, queries.names(replica.ledger)
    executions: dict[NodePubkey, dict[str, str]] = {}
    for one in stories(replica, at, mono):
        for execution in one.executions:
            executions.setdefault(execution.node, {})[one.id] = execution.shown
    rows = []
    for node in roster.nodes():
        heard = replica.beacon.liveness.last(node)
        seen = sorted(replica.beacon.liveness.seen_by(node).items(), key=lambda path: -path[1])
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
                executions=executions.get(node, {}),
            )
        )
    return rows
