"""What overwriting leaves behind; and what a live record weighs in memory.

``python -m benchmarks.growth [OVERWRITES]``. The executions of a thousand stories beat in turn, as
often as asked: the document and the store's file afterwards, beside those after each has beaten
once. Then the memory of a process that holds 100,000 live records, beside the same process before
it read them. Source: protocol §15.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from benchmarks.fleet import Fleet
from benchmarks.report import Measured, say
from crdt.authoring.intents import AddStory, FireExecution, Intent
from crdt.contract.ready import Now, Persist, RowKey
from crdt.primitives.identity import SigningKey
from crdt.replica import Replica
from machines import execution
from machines.values import AgentName, FreeText, Instant, StoryId
from node.storage.store import Store

OVERWRITES = 100_000
LIVE_RECORDS = 100_000
KEYS: Final = [StoryId(f"story-{number}") for number in range(1000)]


class Busy:
    """The founder's node, over a store that is kept from run to run."""

    def __init__(self, folder: Path) -> None:
        self._fleet = Fleet(0)
        self._path = folder / "store.db"
        self._ms = self._fleet.end.ms
        with Store(self._path) as store:
            store.commit(rows_of(self._fleet), [], self._ms)

    def run(self, rounds: Iterable[Callable[[StoryId], Intent]]) -> tuple[int, int]:
        """One intent for each story in each round; bytes of the document and of the file then."""
        with Store(self._path) as store:
            key = SigningKey(self._fleet.founder.key.seed())
            replica = Replica(key, self._fleet.cluster, key.pubkey, seed=bytes(32))
            replica.replay(store.rows(), store.proofs(), store.rendered(), self._now())
            for intent in rounds:
                self._ms += 1000
                persist = Persist()
                for story in KEYS:
                    ready, _ = replica.propose(intent(story), self._now())
                    persist.add(ready.persist)
                store.commit(persist, [], self._ms)
            document = len(replica.document.doc.get_update())
        return document, self._path.stat().st_size

    def _now(self) -> Now:
        return Now(Instant.from_ms(self._ms), self._ms / 1000)


def rows_of(fleet: Fleet) -> Persist:
    """Everything of a fleet, to be stored."""
    return Persist({RowKey(*row[:4]): row for row in fleet.rows()})


def add(story: StoryId) -> Intent:
    """Name a story."""
    return AddStory(story, FreeText(f"what {story} is about"))


def asked(event: execution.ExecutionEvent) -> Callable[[StoryId], Intent]:
    """The same event for the execution of any story."""
    return lambda story: FireExecution(story, event)


def grow(folder: Path, overwrites: int) -> None:
    """Overwrite, and print what that left."""
    busy = Busy(folder)
    beat = asked(execution.Heartbeat())
    spawn, spawned = execution.SpawnRequested(AgentName("a")), execution.SpawnedSuccessfully()
    before = busy.run([add, asked(spawn), asked(spawned), beat])
    rounds = overwrites // len(KEYS)
    after = busy.run([beat] * rounds)
    for what, early, late in zip(("document", "store"), before, after, strict=True):
        say(
            Measured(
                f"the {what} after {rounds * len(KEYS):,} overwrites of {len(KEYS):,} keys",
                f"{late:,} bytes",
                f"after {len(KEYS):,} {early:,} bytes",
                late / early,
                "at most 1.10",
            )
        )


def weigh(folder: Path, records: int) -> None:
    """Start a process that holds so many live records, and print what they weigh."""
    fleet = Fleet(records)
    path = folder / "many.db"
    with Store(path) as store:
        store.commit(rows_of(fleet), [], fleet.end.ms)
    told = [str(path), fleet.cluster.hex(), fleet.founder.key.pubkey.hex(), fleet.end]
    holder = [sys.executable, "-m", "benchmarks.holder", *told]
    done = subprocess.run(holder, check=True, capture_output=True, text=True)
    before, after, held = map(int, done.stdout.split())
    each = (after - before) / held
    say(
        Measured(
            f"memory for each of {held:,} live records, all in",
            f"{each:,.0f} bytes",
            f"the process without them {before / 2**20:.0f} MiB, with them {after / 2**20:.0f} MiB",
            each / 2048,
            "at most 1 (2 KiB)",
        )
    )


def main() -> None:
    """Measure, and print."""
    overwrites = int(sys.argv[1]) if len(sys.argv) > 1 else OVERWRITES
    with tempfile.TemporaryDirectory(prefix="gangline-bench-") as folder:
        weigh(Path(folder), LIVE_RECORDS)
        grow(Path(folder), overwrites)


if __name__ == "__main__":
    main()
