"""Whatever was on disk at a restart and whatever the clock says then, no slot is used twice.

A node writes, crashes in a commit or between two, is put back to an older copy that its witness
doubts, and has a wall clock that jumps as it likes. Nothing is lost but what was never shown.
"""

import copy
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from crdt.authoring.intents import AddStory, ClaimStory
from crdt.contract.ready import Now, Row
from crdt.primitives import limits
from crdt.primitives.errors import ProposalRefused
from crdt.records.bodies import parse_body
from crdt.replica import Replica
from machines.values import Instant, StoryId
from tests.support.builders.cluster import START, Found

FOUND = Found()
DAY_MS = 86_400_000
jumps = st.one_of(
    st.just(0),
    st.integers(-400_000, 400_000),
    st.integers(-2_000, 2_000).map(lambda days: days * DAY_MS),
)
steps = st.one_of(
    st.tuples(st.just("write"), st.booleans(), jumps),
    st.tuples(st.just("tick"), st.booleans(), jumps),
    st.tuples(st.just("crash"), st.just(None), jumps),
    st.tuples(st.just("put back"), st.integers(0, 20), jumps),
)


class Disk:
    """What a node has on disk."""

    def __init__(self):
        founding = Row(*FOUND.record.ref, FOUND.record.value)
        self.rows = {tuple(founding[:4]): founding}
        self.rendered = {}
        self.incarnation = 0
        self.settled = set()
        self.doubt = ""
        self.own_end = None

    def commit(self, persist):
        for key, row in persist.rows.items():
            if row is None:
                self.rows.pop(tuple(key), None)
            else:
                self.rows[tuple(key)] = row
        self.rendered.update(persist.rendered)
        self.settled.update(persist.reissue_done)
        self.own_end = persist.own_end or self.own_end
        if persist.incarnation is not None:
            self.incarnation = persist.incarnation
        if persist.doubt is not None:
            self.doubt = persist.doubt


class Life:
    """A node over its disk, and every record of it that anybody was shown."""

    def __init__(self):
        self.disk = Disk()
        self.shown = {}
        self.stamps = {}
        self.older = []
        self.ms, self.mono, self.starts, self.stories = START.ms, 0.0, 0, 0
        self.start()

    @property
    def now(self):
        return Now(Instant.from_ms(self.ms), self.mono)

    def jump(self, ms):
        self.mono += 2.0
        self.ms = min(max(self.ms + ms, START.ms - 5000 * DAY_MS // 2), START.ms + 20_000 * DAY_MS)

    def start(self, doubt=""):
        self.starts += 1
        self.disk.doubt = self.disk.doubt or doubt  # until a new feed was opened: a crash is no end
        self.replica = Replica(
            FOUND.founder, FOUND.id, FOUND.founder.pubkey,
            seed=self.starts.to_bytes(32, "big"), incarnation=self.disk.incarnation,
            doubt=self.disk.doubt, written=self.disk.own_end,
        )  # fmt: skip
        rows = sorted(self.disk.rows.values(), key=lambda row: row[:4])
        ready = self.replica.replay(
            rows, [], self.disk.rendered, self.now, settled=self.disk.settled
        )
        self.disk.commit(ready.persist)

    def write(self):
        self.stories += 1
        intent = AddStory(StoryId(f"s-{self.stories}"))
        if self.stories % 3 == 0:
            intent = ClaimStory(StoryId("s-1"), 60)  # supersedes the one before
        return self.replica.propose(intent, self.now)[0]

    def carry_out(self, ready, *, kept):
        """Commit, and only then show; where the commit is lost nothing was shown."""
        if not kept:
            self.start()
            return
        self.older.append(copy.deepcopy(self.disk))
        known = [row for row in self.disk.rows.values() if row.author == self.replica.own]
        self.disk.commit(ready.persist)
        for key, row in ready.persist.rows.items():
            if row is not None and row.author == self.replica.own:
                self.show(key, row, known)

    def show(self, key, row, known):
        slot = (key.incarnation, key.clock)
        assert self.shown.setdefault(slot, key.record_id) == key.record_id, "a slot used twice"
        stamp = stamp_of(row)
        self.stamps[slot] = stamp
        bound = self.ms + limits.STAMP_AHEAD_MS_MAX
        before = [stamp_of(one) for one in known if stamp_of(one).at.ms <= bound]
        assert all(stamp > one for one in before), "a stamp that goes back"


def stamp_of(row):
    return parse_body(row.value[limits.SIGNATURE_BYTES :]).stamp


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25))
def test_no_slot_is_used_twice_and_no_stamp_goes_back(script):
    life = Life()
    for what, how, jump in script:
        life.jump(jump)
        match what:
            case "write":
                try:
                    ready = life.write()
                except ProposalRefused:
                    continue
                life.carry_out(ready, kept=how)
            case "tick":
                life.carry_out(life.replica.tick(life.now), kept=how)
            case "crash":
                life.start()
            case "put back" if life.older:
                # As often as one likes; each time the witness doubts it.
                life.disk = copy.deepcopy(life.older[how % len(life.older)])
                life.start(doubt="it was put back")
    for incarnation in {number for number, _ in life.shown}:
        feed = sorted((c, s) for (i, c), s in life.stamps.items() if i == incarnation)
        assert all(one[1] < other[1] for one, other in pairwise(feed))
