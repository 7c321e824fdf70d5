"""Which node bears a name: those that belong alone, so that a name comes free with its node.

Stands under ``queries.py``, ``join_authorizer.py`` and the local API. A key that was revoked, or
rotated away, keeps the name it had; it is called by it only while nobody who belongs is.
"""

from collections import Counter
from itertools import count

from crdt.records.bodies import NODE_NAME_CHARACTERS_MAX
from crdt.views.roster import Roster
from machines.values import NodePubkey

PREFIX_MIN = 4
"""So many digits of a key name it."""


def bearers(roster: Roster) -> dict[NodePubkey, str]:
    """The nodes that a name means: each that alone has its own among those that belong.

    Of those that belong no longer, each that alone has a name which nobody has who belongs.
    """
    named = {node: roster.name(node) for node in roster.nodes()}
    here = Counter(name for node, name in named.items() if roster.belongs(node))
    gone = Counter(name for node, name in named.items() if not roster.belongs(node))

    def bears(node: NodePubkey, name: str) -> bool:
        if roster.belongs(node):
            return here[name] == 1
        return (here[name], gone[name]) == (0, 1)

    return {node: name for node, name in named.items() if name and bears(node, name)}


def taken_by(roster: Roster, node: NodePubkey, name: str) -> NodePubkey | None:
    """Who else would be meant by the name that a node is to have."""
    for other in roster.nodes():
        like_key = len(name) >= PREFIX_MIN and other.hex().startswith(name)
        has_it = roster.belongs(other) and roster.name(other) == name
        if other != node and (like_key or has_it):
            return other
    return None


def free_name(roster: Roster, node: NodePubkey, name: str) -> str:
    """A name like this one by which nobody else would be meant: den-2."""
    ends = (f"-{number}" for number in count(2))
    tried = (name[: NODE_NAME_CHARACTERS_MAX - len(end)] + end for end in ends)
    return next(one for one in tried if taken_by(roster, node, one) is None)
