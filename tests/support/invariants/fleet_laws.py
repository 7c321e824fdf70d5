"""The laws, held by real daemons: what they show, what their stores hold, what their logs say.

The checks of one ledger are the simulator's own (``laws.py``). Numbers as in docs/testing.md.
"""

import re

from node.reporting import store_audit
from tests.support.harness.daemons import Failed, eventually
from tests.support.invariants import laws
from tests.support.invariants.laws import Broken

AGREE_SECONDS = 180
"""Two back-offs, a dead link noticed and two anti-entropy periods, on a busy machine."""
NOT_AS_SEALED = "not as its author sealed it"
HEARD = ("liveness", "shown")
UNHANDLED = re.compile(r"Traceback|[Uu]nhandled|never retrieved|was destroyed|ERROR|CRITICAL")
NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def hold(nodes, acked, liars=()):
    """Every law that can be seen from outside: wait until the nodes agree, then look.

    Args:
        liars: keys whose feeds may be other than they were sealed, which shows them as liars.

    Gives what each store holds.
    """
    agreed(nodes)
    stores = stored_alike(nodes)
    for node, held in stores.items():
        examined(node, held, {one.receipt.author for one in acked}, liars)
        accounted(node, held.ledger, acked)
    for node in nodes:
        clean_log(node)
    return stores


def agreed(nodes):
    """L1: one digest and one view everywhere."""
    seen = {}

    def same():
        seen.update({node: _shown(node) for node in nodes})
        return len(set(seen.values())) == 1

    try:
        eventually(same, "one digest and one view", AGREE_SECONDS)
    except Failed:
        digests = {node: digest for node, (digest, _) in seen.items()}
        if len(set(digests.values())) == 1:
            raise Broken("L1", "the nodes have one digest, and show different boards") from None
        raise Broken("L1", f"after {AGREE_SECONDS} s without faults: {digests}") from None


def _shown(node):
    """A node's digest and board, without what rests on whom this node hears."""
    board = node.client.ask("GET", "/stories")
    for story in board:
        for execution in story["executions"]:
            for heard in HEARD:
                del execution[heard]
    return node.digest(), str(board)


def stored_alike(nodes):
    """L1, L8: the stores, read and judged anew, make one digest and one view too."""
    stores = {}

    def same():
        stores.update({node: store_audit.audit(node.home) for node in nodes})
        return len({held.digest for held in stores.values()}) == 1

    eventually(same, "one digest in every store", AGREE_SECONDS)
    if len({held.ledger.board.canonical() for held in stores.values()}) != 1:
        raise Broken("L1", "the stores make one digest and different views")
    return stores


def examined(node, held, authors, liars=()):
    """L3, L8: nothing in the store is otherwise than it must be; L4, L6, L7 by its ledger."""
    shown = tuple(f"{liar.short}/" for liar in liars)
    faults = [
        fault
        for fault in held.faults + held.check_views()
        if not (fault.startswith(shown) and fault.endswith(NOT_AS_SEALED))
    ]
    if faults:
        raise Broken("L8", f"the store of {node}: {'; '.join(faults)}")
    laws.legal_paths(node, held.ledger)
    laws.no_honest_cut(node, held.ledger, authors)
    laws.cuts(node, held.ledger)
    laws.bounds(node, held.ledger)


def accounted(node, ledger, acked):
    """L2: every acknowledged write is here, or why not can be seen here."""
    for one in acked:
        took = str(node) == str(one.node)
        if not laws.accounts_for(ledger, one.receipt, one.key, took=took):
            where = f"{one.receipt.incarnation}/{one.receipt.clock}"
            raise Broken("L2", f"{node} lost {where} of {one.node}, which was acknowledged")


def clean_log(node):
    """L9, L10: no exception went unhandled, and the log is nothing but plain text."""
    for line in node.log().split("\n"):
        if UNHANDLED.search(line):
            raise Broken("L9", f"the log of {node} says: {line}")
        if NOT_TEXT.search(line):
            raise Broken("L10", f"the log of {node} holds control characters: {line!r}")
