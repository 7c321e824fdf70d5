"""Any walk of commits, failures, kills and reopenings leaves the store equal to a dictionary."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crdt.contract.ready import Noticed, Persist, Row, RowKey
from crdt.primitives.identity import FeedId
from node.storage.history import HistoryBounds
from node.storage.store import Store
from node.system.errors import StoreFailure
from tests.support.builders.cluster import key

FEEDS = [FeedId(key(number).pubkey, incarnation) for number in (1, 2) for incarnation in (0, 9)]
HISTORY = HistoryBounds(5, 30)
slots = st.tuples(st.sampled_from(FEEDS), st.integers(0, 6), st.sampled_from(b"ab"))
values = st.binary(min_size=1, max_size=3000)


def row_key(slot):
    (author, incarnation), clock, which = slot
    return RowKey(author, incarnation, clock, bytes([which]) * 32)


class StoreBesideDictionary(RuleBasedStateMachine):
    """What the store must hold is kept beside it, and changes only where a commit returns."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(prefix="gangline-store-"))
        self.path = self.folder / "store.db"
        self.store = Store(self.path, history=HISTORY)
        self.rows, self.rendered, self.told = {}, {}, []
        self.incarnation = None
        self.number = 0

    def teardown(self):
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(
        written=st.dictionaries(slots, values, max_size=4),
        gone=st.sets(slots, max_size=3),
        rendered=st.dictionaries(st.sampled_from(FEEDS), st.integers(0, 9), max_size=2),
        incarnation=st.none() | st.integers(0, 2**32 - 1),
    )
    def commit(self, written, gone, rendered, incarnation):
        persist = Persist(rendered=dict(rendered), incarnation=incarnation)
        for slot in gone:
            persist.rows[row_key(slot)] = None
        for slot, value in written.items():
            # A record's id is its hash: an id has one value for ever.
            known = self.rows.get(row_key(slot))
            persist.rows[row_key(slot)] = known or Row(*row_key(slot), value)
        self.number += 1
        self.store.commit(persist, [], self.number, [Noticed("step", str(self.number))])
        for place, row in persist.rows.items():
            if row is None:
                self.rows.pop(place, None)
            else:
                self.rows[place] = row
        self.rendered |= rendered
        self.told = [self.number, *self.told][: HISTORY.rows]
        if incarnation is not None:
            self.incarnation = incarnation

    @rule(written=st.dictionaries(slots, values, max_size=4), incarnation=st.integers(0, 9))
    def commit_on_a_full_disk(self, written, incarnation):
        persist = Persist(incarnation=incarnation)
        for slot, value in {**written, (FEEDS[0], 99, 0): bytes(2**22)}.items():
            persist.rows[row_key(slot)] = Row(*row_key(slot), value)
        self.store._db.pragma("max_page_count", self.store._db.pragma("page_count"))
        with pytest.raises(StoreFailure):
            self.store.commit(persist, [], 1, [Noticed("never", "")])
        self.store._db.pragma("max_page_count", 1_000_000)
        self.store.probe()

    @rule(order=st.booleans())
    def it_is_opened_again(self, order):
        """In order, or from what a kill leaves: the file and its WAL, as they are."""
        if order:
            self.store.close()
        else:
            left = {
                name: (self.folder / name).read_bytes()
                for name in ("store.db", "store.db-wal")
                if (self.folder / name).exists()
            }
            self.store.close()
            for name, data in left.items():
                (self.folder / name).write_bytes(data)
        self.store = Store(self.path, history=HISTORY)

    @invariant()
    def it_holds_what_was_committed(self):
        if not hasattr(self, "store"):
            return
        assert {RowKey(*row[:4]): row for row in self.store.rows()} == self.rows
        shown = self.store.rendered()
        assert {feed: shown.get(feed, 0) for feed in self.rendered} == self.rendered
        assert [at for at, _ in self.store.history()] == self.told
        held = self.store.meta("incarnation")
        assert (None if held is None else int.from_bytes(held, "big")) == self.incarnation


TestStore = StoreBesideDictionary.TestCase
TestStore.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
pytestmark = pytest.mark.timeout(300)
