"""What the local API asks and answers, as types that both of its sides import.

Stands between ``app.py`` and ``node/client/http_client.py``. Imports nothing but msgspec, so that
the command line stays quick; views of the board come as the plain JSON of
``crdt/views/view_types.py``. Which version of all this a daemon speaks stands in ``version.py``.
"""

from typing import Any

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A refusal, as problem details (RFC 9457), with what the rules say."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    stage: str = ""
    event: str = ""
    legal: tuple[str, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """The node and its cluster at a glance."""

    node: str
    name: str
    cluster: str
    role: str
    founder: bool
    incarnation: int
    listen: str
    digest: str
    stories: dict[str, int]
    live: int
    pending: int
    unshared: int
    peers: int
    forks: int
    writable: str
    notices: tuple[str, ...]


class Digest(msgspec.Struct, frozen=True):
    """The document digest, in hex."""

    digest: str


class SeenBy(msgspec.Struct, frozen=True):
    """A peer that brought news of a node, and how many seconds ago."""

    peer: str
    name: str
    seconds: float


class NodeRow(msgspec.Struct, frozen=True):
    """One node of the cluster as seen from here.

    ``seen_by`` tells a slow observer from a dead node: where some still bring news, it lives.
    """

    node: str
    name: str
    role: str
    founder: bool
    liveness: str
    linked: bool
    addresses: tuple[str, ...]
    seen_by: tuple[SeenBy, ...]
    executions: dict[str, str]


class PeerRow(msgspec.Struct, frozen=True):
    """One link, one that does not come about, or somebody who must stay away for a while.

    Attributes:
        node: empty where a place alone is known.
        name: what the node is called; empty where that is not known, or not it alone.
        state: ``linked``, ``down`` or ``banned``.
    """

    node: str
    name: str
    state: str
    address: str
    agrees: bool | None
    frames_in: int
    frames_out: int
    error: str


class SourceRow(msgspec.Struct, frozen=True):
    """Another node that might have what is missing of a feed.

    Attributes:
        road: ``asked`` (it holds something else of the feed), ``same`` (it holds what this node
            does), ``not_compared`` (it is linked, and was not compared yet), ``not_linked``, or
            ``unknown`` (from a store's file nobody can tell).
        seconds: since it was last asked.
        addresses: the last known.
    """

    node: str
    name: str
    road: str
    seconds: float | None
    addresses: tuple[str, ...]


class Shortfall(msgspec.Struct, frozen=True):
    """How a feed that is held differs from what its author sealed.

    Attributes:
        seal: the seal's clock.
        stated: how many live records the seal counts below it, and ``held`` how many there are.
        unknown: clocks of which nothing is known, ``gone`` those whose content is gone (superseded,
            or withheld), ``idle`` those of what is here and does not count; the first runs of each,
            as first clock and the one behind the last.
        false: no records that could still come would make the seal true.
        sources: who might have it, the feed's author first.
        says: all of it, for people.
    """

    seal: int
    stated: int
    held: int
    unknown: tuple[tuple[int, int], ...]
    gone: tuple[tuple[int, int], ...]
    idle: tuple[tuple[int, int], ...]
    false: bool
    sources: tuple[SourceRow, ...]
    says: str


class FeedRow(msgspec.Struct, frozen=True):
    """One feed as held here.

    Attributes:
        gaps: clocks below the head whose content is gone.
        unknown: clocks below the head of which nothing is known.
        sealed: held as its author sealed it; null where its last record is no seal.
        fork: the clock from which it is cut.
        bytes: of the records held.
        shortfall: what is missing, where it is not held as sealed.
    """

    author: str
    name: str
    incarnation: int
    head: int
    live: int
    gaps: int
    unknown: int
    sealed: bool | None
    fork: int | None
    rendered: int
    bytes: int
    shortfall: Shortfall | None


class QuarantineRow(msgspec.Struct, frozen=True):
    """Something that was turned away. The slot is what it claims."""

    at: str
    peer: str
    peer_name: str
    author: str
    author_name: str
    incarnation: int | None
    clock: int | None
    record: str
    reason: str
    detail: str
    bytes: int


class HistoryRow(msgspec.Struct, frozen=True):
    """Something that happened on this node. ``event`` is as the change stream told it."""

    at: str
    what: str
    story: str
    says: str
    event: dict[str, Any]


class Add(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new story, or changes to one."""

    title: str | None = None
    description: str | None = None
    depends_on: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None


class Fire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event, in the field names of the machine's table."""

    event: dict[str, Any]
    force: bool = False


class Patience(msgspec.Struct, frozen=True):
    """How many other nodes must have what was written before the answer, and for how long at most.

    It is on disk here whatever comes of that.
    """

    nodes: int = 0
    seconds: float = 10.0


class ExecutionEventRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event of this node's own execution of a story."""

    event: dict[str, Any]


class ClaimFor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Take or renew a claim."""

    seconds: int


class NewKey(msgspec.Struct, frozen=True):
    """The key that this node goes on under, in hex."""

    node: str


class Written(msgspec.Struct, frozen=True):
    """What a write wrote; ``holders`` other nodes have it on disk.

    ``name`` is what the author, this node, is called; empty where another is called so too.
    """

    author: str
    name: str
    incarnation: int
    clock: int
    record: str
    warnings: tuple[str, ...]
    holders: int
