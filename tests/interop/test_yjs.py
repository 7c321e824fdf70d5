"""JavaScript Yjs reads what we write the same, and we read what it writes."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crdt.authoring.intents import ClaimStory, FireExecution
from crdt.primitives import limits
from crdt.wire.messages import Update, decode_frame
from crdt.wire.yjs_update import decode_state_vector, decode_update, encode_state_vector
from machines import execution as x
from machines.values import AgentName, StoryId
from tests.support.builders.cluster import Cluster, updates_since

HERE = Path(__file__).parent
MISSING = [name for name in ("node", "npm") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def yjs(tmp_path_factory):
    """Asks the reference Yjs; its packages go to a folder of the run's own."""
    folder = tmp_path_factory.mktemp("yjs")
    for name in ("package.json", "package-lock.json", "peer.mjs"):
        shutil.copy(HERE / name, folder)
    subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder, check=True, capture_output=True, timeout=240,
    )  # fmt: skip
    process = subprocess.Popen(
        ["node", "peer.mjs"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def ask(updates, roots, *, merge=False, since=None):
        asked = {
            "updates": [update.hex() for update in updates],
            "roots": roots,
            "merge": merge,
            "since": None if since is None else encode_state_vector(since).hex(),
        }
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield ask
    process.stdin.close()
    process.wait(timeout=30)
    process.stdout.close()


class Written:
    """A replica that has written and overwritten, and every update it published."""

    def __init__(self, moves):
        self.cluster = Cluster(2)
        self.cluster.link_all()
        self.updates = []
        self.cluster.deliver()
        for number in range(3):
            self.cluster.add(0, f"s-{number}")
            self.cluster.propose(0, FireExecution(story(number), x.SpawnRequested(AgentName("a"))))
            self.cluster.propose(0, FireExecution(story(number), x.SpawnedSuccessfully()))
        for number, claims in moves:
            intent = (
                ClaimStory(story(number), 60)
                if claims
                else FireExecution(story(number), x.Heartbeat())
            )
            self.cluster.propose(0, intent)
        for sender, _, data in self.cluster.wire:
            frame = decode_frame(data)
            if sender == 0 and isinstance(frame, Update):
                self.updates.append(frame.update)
        self.replica = self.cluster.replicas[0]
        self.feeds = list(self.replica.ledger.feeds.values())

    def end(self, feed):
        return self.replica.document.end(feed.id)

    def expected(self):
        return {
            feed.id.root: [
                record.value.hex() for record in feed.rendered_records(0, self.end(feed))
            ]
            for feed in self.feeds
        }

    def live(self):
        return {
            (feed.client_id, record.clock): record.value
            for feed in self.feeds
            for record in feed.live()
        }


def story(number):
    return StoryId(f"s-{number}")


moves = st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=25)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(moves, st.booleans())
def test_yjs_shows_what_we_show_and_we_read_what_it_writes(yjs, drawn, merge):
    written = Written(drawn)
    first = updates_since(written.replica.document, written.feeds, {})
    roots = [feed.id.root for feed in written.feeds]
    whole = yjs(first, roots, merge=merge)
    assert not whole["pending"]
    assert whole["feeds"] == written.expected()
    assert decode_state_vector(bytes.fromhex(whole["vector"])) == written.replica.state_vector()
    again = decode_update(bytes.fromhex(whole["update"]), bytes_max=limits.CATCHUP_BYTES_MAX)
    assert {
        (piece.client, clock): value for piece in again for clock, value in piece.records
    } == written.live()
    assert {(p.client, p.root, p.start, p.end) for p in again} == {
        (feed.client_id, feed.id.root, 0, written.end(feed))
        for feed in written.feeds
        if written.end(feed)
    }


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(moves)
def test_update_by_update_with_its_deletions_yjs_ends_at_the_same_document(yjs, drawn):
    written = Written(drawn)
    founding = written.cluster.found.record
    start = Cluster(1).replicas[0]
    base = updates_since(start.document, list(start.ledger.feeds.values()), {})
    assert founding.clock == 0
    shown = yjs([*base, *written.updates], [feed.id.root for feed in written.feeds])
    assert shown["feeds"] == written.expected()


def test_a_diff_that_yjs_makes_is_a_slice_that_we_take(yjs):
    written = Written([(0, True), (1, True), (0, False)])
    [feed] = written.feeds
    shown = yjs(
        updates_since(written.replica.document, written.feeds, {}),
        [feed.id.root],
        since={feed.client_id: 4},
    )
    [piece] = decode_update(bytes.fromhex(shown["update"]))
    assert (piece.start, piece.end, piece.root) == (4, written.end(feed), None)
    live = {clock: value for (_, clock), value in written.live().items() if clock >= 4}
    assert dict(piece.records) == live
