"""Records as they arrive: verified, judged, merged, stored; then a start from what was stored.

``python -m benchmarks.arrival [RECORDS]``. The records of ten authors come as updates of 64 each,
eight to a batch, and go through the same turn and the same store as in the daemon. Beside it PyNaCl
alone verifies the same signatures. The start is measured beside reading the same rows and decoding
their bodies and nothing else. Source: protocol §15.
"""

import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nacl.bindings import crypto_sign_open

from benchmarks.fleet import Fleet
from benchmarks.report import Measured, say, timed
from crdt.contract.ready import Now, Ready
from crdt.primitives.identity import H, SigningKey
from crdt.primitives.limits import SIGNATURE_BYTES
from crdt.records.bodies import parse_body
from crdt.records.record import VerifiedRecord, signed_bytes
from crdt.replica import Replica
from crdt.wire.messages import Update, encode_frame
from node.runtime.batch import BatchRunner, Job
from node.storage.store import Store
from node.system import clock, process_memory

RECORDS = 100_000
UPDATE_RECORDS = 64
BATCH = 8
SEED = bytes(32)


def replica_of(fleet: Fleet, store: Store) -> tuple[Replica, Ready]:
    """A newcomer's replica, as its store has it."""
    key = SigningKey(b"\xff" * 32)
    replica = Replica(key, fleet.cluster, fleet.founder.key.pubkey, seed=SEED)
    at = Now(fleet.end, clock.monotonic())
    with process_memory.gc_paused():  # as the daemon does
        return replica, replica.replay(store.rows(), store.proofs(), store.rendered(), at)


def arrive(fleet: Fleet, path: Path, frames: Sequence[bytes]) -> int:
    """Take every frame, batch by batch; gives how many records are live in the end."""
    peer = fleet.founder.key.pubkey
    with Store(path) as store:
        carrier = BatchRunner(lambda: replica_of(fleet, store))

        def job(data: bytes) -> Job:
            return Job(lambda at: (carrier.replica.receive(peer, data, at), None))

        for start in range(0, len(frames), BATCH):
            at = Now(fleet.end, clock.monotonic())
            turn = carrier.work(map(job, frames[start : start + BATCH]), at)
            store.commit(turn.persist, turn.quarantine, at.wall.ms, turn.events)
            turn.release(lambda _peer, _data: None, lambda _event: None)
        return sum(len(feed.live()) for feed in carrier.replica.ledger.feeds.values())


def verify_alone(signed: Sequence[tuple[bytes, bytes]]) -> None:
    """Check the signatures, and nothing else."""
    for data, key in signed:
        crypto_sign_open(data, key)


def start(fleet: Fleet, path: Path) -> bytes:
    """Open the store and be ready to serve; gives the digest."""
    with Store(path) as store:
        replica, _ready = replica_of(fleet, store)
        return replica.document_digest()


def read_alone(path: Path) -> int:
    """Read the rows and decode the bodies, and nothing else."""
    with Store(path, readonly=True) as store:
        return len([parse_body(row.value[SIGNATURE_BYTES:]) for row in store.rows()])


def main() -> None:
    """Measure, and print."""
    records = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    fleet = Fleet(records)
    frames = [encode_frame(Update(update)) for update in fleet.updates(UPDATE_RECORDS)]
    signed = [
        (record.value[:SIGNATURE_BYTES] + said, bytes(record.feed.author))
        for record in (*fleet.roster(), *fleet.records())
        for said in [signed_bytes(fleet.cluster, record.feed, record.clock, body_hash(record))]
    ]
    with tempfile.TemporaryDirectory(prefix="gangline-bench-") as folder:
        path = Path(folder) / "store.db"
        taken, live = timed(partial(arrive, fleet, path, frames))
        bare, _ = timed(partial(verify_alone, signed))
        if live != len(signed):
            sys.exit(f"{live} of {len(signed)} records are live")
        say(
            Measured(
                f"{live:,} records as they arrive",
                f"{live / taken:,.0f} records/s",
                f"PyNaCl alone {live / bare:,.0f} signatures/s",
                bare / taken,
                "at least 0.60",
            )
        )
        began, _ = timed(partial(start, fleet, path))
        read, _ = timed(partial(read_alone, path))
        say(
            Measured(
                f"start from {live:,} live records",
                f"{began:.2f} s",
                f"reading and decoding alone {read:.2f} s",
                began / read,
                "at most 1.50",
            )
        )


def body_hash(record: VerifiedRecord) -> bytes:
    """H(body), which is signed."""
    return H(record.value[SIGNATURE_BYTES:])


if __name__ == "__main__":
    main()
