"""Requests and responses of the local API, imported by the daemon and its clients.

Imports only msgspec, so that the command line starts fast. Views of the board are the JSON of
``crdt/views/view_types.py``; ``node/api/version.py`` has the API's version.
"""

from typing import Any

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A refusal as problem details (RFC 9457); ``legal`` lists the events the rules allow."""

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
    """A peer that sent news of a node, and how many seconds ago."""

    peer: str
    name: str
    seconds: float


class NodeRow(msgspec.Struct, frozen=True):
    """One node of the cluster as seen from here.

    If ``seen_by`` lists a peer with recent news, the node is alive and only the path is broken.
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
    """A link, a link that cannot be established, or a ban.

    Attributes:
        node: empty if only the address is known.
        name: of the node; empty if unknown or ambiguous.
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
    """Another node that may have the missing records of a feed.

    Attributes:
        road: ``asked`` (it holds something else of the feed), ``same`` (it holds the same as this
            node), ``not_compared`` (linked, but not compared yet), ``not_linked``, or ``unknown``
            (a store file does not record it).
        seconds: since it was last asked.
        addresses: last known.
    """

    node: str
    name: str
    road: str
    seconds: float | None
    addresses: tuple[str, ...]


class Shortfall(msgspec.Struct, frozen=True):
    """How a feed differs from its author's seal.

    Attributes:
        seal: the seal's clock.
        stated: live records below the seal, as the seal states.
        held: live records below the seal, as found here.
        unknown: clocks of which nothing is known, as half-open ranges; only the first ones.
        gone: likewise, clocks without content (superseded or withheld).
        idle: likewise, clocks of records that are here but do not count.
        false: no further records could make the seal true.
        sources: nodes that may have the missing records, the author first.
        says: all of this in a sentence.
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
        gaps: number of clocks below the head without content.
        unknown: number of clocks below the head of which nothing is known.
        sealed: whether it matches its author's seal; null if its last record is not a seal.
        fork: the clock from which it is cut.
        bytes: size of the records held.
        shortfall: what is missing, if it does not match its seal.
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
    """A rejected record or frame. Author, incarnation and clock are as it claims."""

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
    """An event of this node's history. ``event`` is as in the change stream."""

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
    """An event, with the field names of the pipeline's table."""

    event: dict[str, Any]
    force: bool = False


class Patience(msgspec.Struct, frozen=True):
    """How many other nodes must have the record before the answer, and how long to wait.

    In any case the record is on disk here.
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
    """The new key of this node, in hex."""

    node: str


class Written(msgspec.Struct, frozen=True):
    """The record of a write; ``holders`` other nodes have it on disk.

    ``name`` is the name of the author, this node; empty if ambiguous.
    """

    author: str
    name: str
    incarnation: int
    clock: int
    record: str
    warnings: tuple[str, ...]
    holders: int
