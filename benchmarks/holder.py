"""A process that reads a store and holds it: its resident memory before and after (Linux).

Started by ``benchmarks.growth``, so that nothing else is in the memory that is weighed.
"""

import resource
import sys
from pathlib import Path

from crdt.contract.ready import Now
from crdt.primitives.identity import ClusterId, SigningKey
from crdt.replica import Replica
from machines.values import Instant, NodePubkey
from node.storage.store import Store
from node.system import process_memory


def resident() -> int:
    """Bytes of memory that the process has now. The peak would be its parent's."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def main() -> None:
    """Read, hold, and print: bytes before, bytes after, how many records are live."""
    path, cluster, founder, end = sys.argv[1:]
    with Store(Path(path)) as store:
        key = SigningKey(b"\xff" * 32)
        replica = Replica(
            key, ClusterId(bytes.fromhex(cluster)), NodePubkey.from_hex(founder), seed=bytes(32)
        )
        before = resident()
        with process_memory.gc_paused():  # as the daemon does
            replica.replay(store.rows(), store.proofs(), store.rendered(), Now(Instant(end), 0.0))
        replica.document_digest()
        live = sum(len(feed.live()) for feed in replica.ledger.feeds.values())
        sys.stdout.write(f"{before} {resident()} {live}\n")


if __name__ == "__main__":
    main()
