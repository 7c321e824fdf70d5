"""Why two nodes have no session: a sentence for each side, for each ``DisconnectReason``.

Used by the handshake, the links and the command line. The reason is the same word on the wire, in
a log and in a table; the sentence is worded for the node that reads it. Source: protocol §9, §10.
"""

import contextlib
import re
import shlex
from typing import Final, NamedTuple

from crdt.wire import handshake_transcript
from machines.errors import InvalidValue
from node.config.node_name import node_name
from node.runtime.peer_link import DisconnectReason

VERSION_MAX: Final = 2**16 - 1
_REASON = re.compile(r"[a-z_]{1,40}")


class Sentences(NamedTuple):
    """What a reason means for the node that was refused, and for the node that refused."""

    message_for_peer: str
    message_for_us: str


SENTENCES: Final[dict[str, Sentences]] = {
    DisconnectReason.BAD_TICKET: Sentences(
        "the inviter does not know this ticket; ask it for a new one",
        "it showed a ticket that this node never issued",
    ),
    DisconnectReason.EXPIRED_TICKET: Sentences(
        "this ticket has expired; ask the inviter for a new one",
        "it showed an expired ticket",
    ),
    DisconnectReason.USED_TICKET: Sentences(
        "this ticket is used up; ask the inviter for a new one",
        "it showed a ticket that is used up",
    ),
    DisconnectReason.WITHDRAWN_TICKET: Sentences(
        "this ticket was withdrawn; ask the inviter for a new one",
        "it showed a withdrawn ticket",
    ),
    DisconnectReason.NAME_TAKEN: Sentences(
        "another node has this name; choose another with --name{free}",
        "it asked for a name that another node has",
    ),
    DisconnectReason.NOT_AN_ADMIN: Sentences(
        "the inviter may not admit nodes now; ask an admin for a ticket",
        "it showed a ticket, but this node may not admit nodes now",
    ),
    DisconnectReason.REVOKED: Sentences(
        "this node's admission was revoked; an admin can take it back with gangline members admit "
        "KEY, where KEY is the key that this node's status shows",
        "its admission was revoked",
    ),
    DisconnectReason.NOT_A_MEMBER: Sentences(
        "that node's roster does not list this node; admit it there, or wait until its admission "
        "arrives there",
        "its key is not on the roster",
    ),
    DisconnectReason.WRONG_CLUSTER: Sentences(
        "the node at this address belongs to another cluster",
        "it belongs to another cluster",
    ),
    DisconnectReason.WRONG_KEY: Sentences(
        "the node at this address does not have the expected key",
        "it expected another key at this address; its address for that node is out of date",
    ),
    DisconnectReason.WRONG_VERSION: Sentences(
        "that node speaks {theirs} of the protocol, this one version {ours}; install the same "
        "release of gangline on both",
        "it speaks {theirs} of the protocol, this node version {ours}; install the same release of "
        "gangline on both",
    ),
    DisconnectReason.BAD_SIGNATURE: Sentences(
        "that node rejected this node's signature",
        "it sent something that the key it names did not sign",
    ),
    DisconnectReason.MALFORMED_FRAME: Sentences(
        "that node could not read what this node sent",
        "it sent something that is not a message of this protocol",
    ),
    DisconnectReason.BANNED: Sentences(
        "that node has banned this node for a while for something it sent; the log there says what",
        "it is banned for a while, since it sent what no honest node sends; see: gangline peers",
    ),
    DisconnectReason.FULL: Sentences(
        "that node has no room for another link", "there was no room for its link"
    ),
    DisconnectReason.READ_ONLY: Sentences(
        "that node cannot write now, see its status; it serves what it has",
        "this node cannot write now, see its status; it serves what is on its disk",
    ),
    DisconnectReason.WRITES_AGAIN: Sentences(
        "that node writes again; it asks for what it missed",
        "this node writes again; it opens its links again, to ask for what it missed",
    ),
    DisconnectReason.CLOSED: Sentences(
        "that node closed the link, as it does when it stops", "this node closed the link"
    ),
    DisconnectReason.STOPPING: Sentences("that node is stopping", "this node is stopping"),
    DisconnectReason.LOST: Sentences(
        "the connection broke, and that node gave no reason",
        "the connection broke",
    ),
    DisconnectReason.SILENT: Sentences(
        "that node's ping was not answered in time: one side was frozen, or the network was slow",
        "a ping was not answered in time: one side was frozen, or the network was slow",
    ),
    DisconnectReason.LEFT: Sentences("that node left the cluster", "this node left the cluster"),
    DisconnectReason.ROTATED: Sentences(
        "that node changed its key, and links again under the new one",
        "this node changed its key, and links again under the new one",
    ),
    DisconnectReason.OUTSIDE: Sentences(
        "that node no longer belongs to the cluster",
        "this node no longer belongs to the cluster",
    ),
    DisconnectReason.ELSEWHERE: Sentences(
        "that node dials another node instead",
        "it was dialled when few nodes were known; another is dialled instead",
    ),
    DisconnectReason.TOO_LARGE: Sentences(
        "this node sent a message over the size limit", "it sent a message over the size limit"
    ),
    DisconnectReason.MALFORMED_UPDATE: Sentences(
        "that node could not read an update that this node sent",
        "it sent an update that no honest node makes",
    ),
    DisconnectReason.OWN_KEY: Sentences(
        "this node has that node's own key: two daemons run with one key",
        "it has this node's own key: two daemons run with one key",
    ),
    DisconnectReason.DUPLICATE: Sentences(
        "that node keeps another link with this node's key",
        "another link with that node's key is kept",
    ),
    DisconnectReason.LAGGING: Sentences("this node read too slowly", "it read too slowly"),
}


def reason_from_peer(text: str) -> str:
    """The reason that a peer sent; empty if it has not the form of one.

    A later version may send a reason that is not in ``DisconnectReason``.
    """
    return text if _REASON.fullmatch(text) else ""


def message_for_peer(reason: str, version: int = 0, free: str = "") -> str:
    """The reason and its sentence, for the node that was refused.

    Args:
        version: the other side's version of the protocol, if it sent it.
        free: a free name that the other side suggests, unchecked.
    """
    known = SENTENCES.get(reason)
    return reason if known is None else f"{reason}: {_fill(known.message_for_peer, version, free)}"


def message_for_us(reason: str, version: int = 0) -> str:
    """The reason and its sentence, for the node that refused."""
    known = SENTENCES.get(reason)
    return reason if known is None else f"{reason}: {_fill(known.message_for_us, version)}"


def _fill(sentence: str, version: int, free: str = "") -> str:
    theirs = f"version {version}" if 0 < version <= VERSION_MAX else "another version"
    offer = ""
    with contextlib.suppress(InvalidValue):
        offer = f", such as {shlex.quote(node_name(free))}"
    return sentence.format(theirs=theirs, ours=handshake_transcript.PROTOCOL_VERSION, free=offer)
