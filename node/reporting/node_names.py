"""Which node a name means.

A name belongs to a current node, and is free again once that node has left. A revoked or rotated
key keeps its name, but the name means it only while no current node has it.
"""

from collections import Counter
from itertools import count

from crdt.records.bodies import NODE_NAME_CHARACTERS_MAX
from crdt.views.roster import Roster
from machines.values import NodePubkey

PREFIX_MIN = 4
"""Digits of a key that are enough to name a node."""


def named_nodes(roster: Roster) -> dict[NodePubkey, str]:
    """Nodes with an unambiguous name.

    A current node has one if no other current node has the same name; a former node, if no other
    node at all has it.
    """
    named = {node: roster.name(node) for node in roster.nodes()}
    current = Counter(name for node, name in named.items() if roster.belongs(node))
    former = Counter(name for node, name in named.items() if not roster.belongs(node))

    def is_unambiguous(node: NodePubkey, name: str) -> bool:
        if roster.belongs(node):
            return current[name] == 1
        return (current[name], former[name]) == (0, 1)

    return {node: name for node, name in named.items() if name and is_unambiguous(node, name)}


def taken_by(roster: Roster, node: NodePubkey, name: str) -> NodePubkey | None:
    """Another node that already has this name, or a key that starts with it; ``None`` if free."""
    for other in roster.nodes():
        starts_key = len(name) >= PREFIX_MIN and other.hex().startswith(name)
        has_name = roster.belongs(other) and roster.name(other) == name
        if other != node and (starts_key or has_name):
            return other
    return None


def free_name(roster: Roster, node: NodePubkey, name: str) -> str:
    """A similar name that is free: ``den-2``."""
    suffixes = (f"-{number}" for number in count(2))
    candidates = (name[: NODE_NAME_CHARACTERS_MAX - len(end)] + end for end in suffixes)
    return next(one for one in candidates if taken_by(roster, node, one) is None)
