"""Why two nodes have no session: one word on the wire, one sentence on each side.

Stands beside ``handshake.py``. The word is the same in a frame, a log and a table; the sentence
says it from where its reader stands. Source: protocol §9, §10.
"""

import contextlib
import re
import shlex
from typing import Final, NamedTuple

from crdt.wire import handshake_transcript
from machines.errors import InvalidValue
from node.config.node_name import node_name

VERSION_MAX: Final = 2**16 - 1
_WORD = re.compile(r"[a-z_]{1,40}")


class Sentences(NamedTuple):
    """What one word means: to the node that was refused, and to the one that refused."""

    message_for_peer: str
    message_for_us: str


SENTENCES = {
    "bad_ticket": Sentences(
        "the inviter does not know this ticket; let it make a new one by gangline invite",
        "it showed a ticket that this node never gave out",
    ),
    "expired_ticket": Sentences(
        "this ticket has expired; let the inviter make a new one by gangline invite",
        "it showed a ticket that has expired",
    ),
    "used_ticket": Sentences(
        "this ticket was used already; let the inviter make a new one by gangline invite",
        "it showed a ticket that was used already",
    ),
    "withdrawn_ticket": Sentences(
        "this ticket was withdrawn; let the inviter make a new one by gangline invite",
        "it showed a ticket that was withdrawn",
    ),
    "name_taken": Sentences(
        "another node is called that; choose another name with --name{free}",
        "it asked for a name that another node has",
    ),
    "not_an_admin": Sentences(
        "the inviter may not admit nodes now; ask an admin for a ticket",
        "it showed a ticket, but this node may not admit it now",
    ),
    "revoked": Sentences(
        "this node's admission was revoked; an admin may take it back by running gangline members "
        "admit KEY, with the key that this node's status shows",
        "its admission was revoked",
    ),
    "not_a_member": Sentences(
        "that node does not know this one; admit it there, or wait until the word gets round",
        "its key is not on the roster",
    ),
    "wrong_cluster": Sentences(
        "the node at this address belongs to another cluster",
        "it belongs to another cluster",
    ),
    "wrong_key": Sentences(
        "the node at this address has another key than the one that was meant",
        "it meant a node with another key; its address for that node is out of date",
    ),
    "wrong_version": Sentences(
        "that node speaks {theirs} of the protocol, this one version {ours}; install the same "
        "release of gangline on both",
        "it speaks {theirs} of the protocol, this node version {ours}; install the same release of "
        "gangline on both",
    ),
    "bad_signature": Sentences(
        "that node does not take this node's signature",
        "it showed what was not signed by the key it names",
    ),
    "malformed_frame": Sentences(
        "that node could not read what this one sent",
        "it sent what is no message of this protocol",
    ),
    "banned": Sentences(
        "that node keeps this one out for a while, for what it sent; its log says what that was",
        "it sent what no honest node sends, and must stay away for a while; see: gangline peers",
    ),
    "full": Sentences("that node has no room for another link", "there was no room for its link"),
    "read_only": Sentences(
        "that node can write nothing now, its status says why; it serves what it has",
        "this node can write nothing now, its status says why; it serves what is on its disk",
    ),
    "writes_again": Sentences(
        "that node writes again; it asks for what it missed",
        "this node writes again; the link is opened anew, to ask for what it missed",
    ),
    "closed": Sentences("that node ended it, as it does when it stops", "this node ended it"),
    "stopping": Sentences("that node stops", "this node stops"),
    "lost": Sentences(
        "the connection broke off, and that node said nothing",
        "the connection broke off",
    ),
    "silent": Sentences(
        "that node's ping had no answer in time: one of the two was frozen, or the network held up",
        "a ping had no answer in time: one of the two was frozen, or the network held up",
    ),
    "left": Sentences("that node left the cluster", "this node left the cluster"),
    "rotated": Sentences(
        "that node changed its key, and goes on under the new one",
        "this node changed its key, and goes on under the new one",
    ),
    "outside": Sentences(
        "that node does not belong to the cluster any longer",
        "this node does not belong to the cluster any longer",
    ),
    "elsewhere": Sentences(
        "that node dials another one in this one's place",
        "it was dialled when few others were known; another is dialled in its place",
    ),
    "too_large": Sentences(
        "that node takes no message so large", "it sent more than a message may hold"
    ),
    "malformed_update": Sentences(
        "that node could not read the update that this one sent",
        "it sent an update that no node makes",
    ),
    "own_key": Sentences(
        "it has that node's own key: two daemons run with one key",
        "it has this node's own key: two daemons run with one key",
    ),
    "duplicate": Sentences(
        "that node keeps another link with this node's key",
        "another link with that node's key is kept",
    ),
    "lagging": Sentences("that node waited for this one too long", "it read too slowly"),
}


def word_of(text: str) -> str:
    """A word that a peer sent, if it is one; never more than a word."""
    return text if _WORD.fullmatch(text) else ""


def message_for_peer(word: str, version: int = 0, free: str = "") -> str:
    """What to tell on the side that was refused: the word and its sentence.

    Args:
        version: which version of the protocol the other side speaks, where it said so.
        free: the name that the other side offers, as it came.
    """
    known = SENTENCES.get(word)
    return word if known is None else f"{word}: {_filled(known.message_for_peer, version, free)}"


def message_for_us(word: str, version: int = 0) -> str:
    """What to tell on the side that refused: the word and its sentence."""
    known = SENTENCES.get(word)
    return word if known is None else f"{word}: {_filled(known.message_for_us, version)}"


def _filled(sentence: str, version: int, free: str = "") -> str:
    theirs = f"version {version}" if 0 < version <= VERSION_MAX else "another version"
    offer = ""
    with contextlib.suppress(InvalidValue):
        offer = f", such as {shlex.quote(node_name(free))}"
    return sentence.format(theirs=theirs, ours=handshake_transcript.PROTOCOL_VERSION, free=offer)
