"""The build before every name changed, and this one: one cluster, one home, one command line.

Real daemons of both. The other build is the code of one commit, in a folder of its own, run by this
interpreter. Nothing on disk, on the wire or in JSON changed since, so that either can take the
other's place at any time.
"""

import io
import json
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest

from tests.support.harness.daemons import Fleet, Node, agree, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
BEFORE = "5785d6612a05dac2b0c17754d7d7c4af4bb46ab8"
NOW, THEN = "now", "then"
BOTH_WAYS = pytest.mark.parametrize(("first", "second"), [(THEN, NOW), (NOW, THEN)])
WHICH = "import node; print(node.__file__)"


@pytest.fixture(scope="module")
def then(tmp_path_factory):
    """The folder with the code of the build before."""
    archive = ["git", "archive", "--format=zip", BEFORE, "crdt", "machines", "node"]
    packed = subprocess.run(archive, cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"not a git checkout whose history holds {BEFORE[:8]}")
    folder = tmp_path_factory.mktemp("then")
    zipfile.ZipFile(io.BytesIO(packed.stdout)).extractall(folder)
    which = subprocess.run([*python(folder), "-c", WHICH], capture_output=True, check=True)
    assert Path(which.stdout.decode().strip()).is_relative_to(folder)
    return folder


def python(folder):
    """The interpreter with another build; ``-P`` keeps the working folder out of its path."""
    return ["env", f"PYTHONPATH={folder}", sys.executable, "-P"]


class EitherNode(Node):
    """A node that runs, and is asked by, the build that ``build`` names."""

    def __init__(self, then, home):
        super().__init__(home)
        self.build = NOW
        self._then = then

    def _command(self, *args):
        command = super()._command(*args)
        if self.build == NOW:
            return command
        return [*python(self._then), "-m", "node.cli", *command[command.index("--home") :]]

    def by(self, build):
        """The same home, for commands of one build."""
        other = EitherNode(self._then, self.home)
        other.build = build
        return other


@pytest.fixture
def fleet(tmp_path, then):
    with Fleet(tmp_path, partial(EitherNode, then)) as fleet:
        yield fleet


def started(fleet, name, build, *command, stdin=None):
    """A node made by ``init`` or ``join``, whose daemon runs."""
    node = fleet.another(name)
    node.build = build
    node.gangline(*command, "--name", name, "--listen", "127.0.0.1:0", stdin=stdin)
    node.start()
    return node


def founded(fleet, build):
    return started(fleet, "den", build, "init")


def joined(fleet, inviter, name, build):
    return started(fleet, name, build, "join", stdin=inviter.gangline("invite"))


def settled(*nodes):
    """Wait until every feed is sealed everywhere, so that nothing is written any more."""

    def sealed():
        return all(row["sealed"] for node in nodes for row in node.json("inspect", "feeds"))

    eventually(lambda: sealed() and len({node.digest() for node in nodes}) == 1, "one digest")


def board(node):
    """The stories without what each node alone says: how alive another looks from there."""
    stories = node.json("stories")
    for story in stories:
        for one in story["executions"]:
            del one["liveness"]
    return stories


def sound(node):
    """Both builds find every record of a store true, and the same digest."""
    found = [
        node.by(build).json("inspect", "verify", "--store", str(node.home)) for build in (NOW, THEN)
    ]
    assert found[0] == found[1]
    assert found[0]["faults"] == []
    return found[0]["digest"]


@BOTH_WAYS
def test_daemons_of_both_builds_are_one_cluster(fleet, first, second):
    den = founded(fleet, first)
    b = joined(fleet, den, "b", second)
    den.gangline("add", "s-1", "--title", "from den", "--wait-for", "1")
    b.gangline("fire", "s-1", "deps_met", "--wait-for", "1")
    den.gangline("claim", "s-1", "--wait-for", "1")
    b.gangline("add", "s-2", "--title", "from b", "--label", "x")
    b.gangline("exec", "s-1", "--agent", "coder-1", "--", "true")
    settled(den, b)
    eventually(lambda: [row["agrees"] for row in b.json("peers")] == [True], "the link agrees")
    assert board(den) == board(b)
    assert {row["liveness"] for row in den.json("nodes")} == {"here", "alive"}
    den.kill()
    b.gangline("fire", "s-1", "gates_started")
    den.start()
    settled(den, b)
    assert den.json("story", "s-1")["stage"] == {"stage": "qa"}
    for node in (den, b):
        assert node.json("inspect", "quarantine") == []
        node.stop()
    assert sound(den) == sound(b)


@BOTH_WAYS
def test_a_node_leaves_and_takes_a_new_key_by_the_other_build(fleet, first, second):
    den = founded(fleet, first)
    b, c = (joined(fleet, den, name, second) for name in ("b", "c"))
    agree(den, b, c)
    before = b.key()
    b.gangline("rotate")
    eventually(lambda: b.key() not in (None, before), "it runs under its new key")
    b.gangline("add", "s-1", "--wait-for", "1")
    c.gangline("leave")
    standing = {row["name"]: row["belongs"] for row in den.json("members") if row["node"] != before}
    assert standing == {"den": True, "b": True, "c": False}
    b.stop()
    b.build = first
    b.start()
    b.gangline("add", "s-2", "--wait-for", "1")
    agree(den, b)


@BOTH_WAYS
def test_a_home_is_taken_over_by_the_other_build_and_back(fleet, first, second):
    den = founded(fleet, first)
    den.gangline("invite")
    shown = ("invite", "--list"), ("members",), ("inspect", "feeds")
    for number, build in enumerate((second, first, second)):
        den.gangline("add", f"s-{number}", "--title", f"number {number}")
        den.gangline("fire", f"s-{number}", "deps_met")
        settled(den)
        kept = [den.json(*command) for command in shown]
        digest, stories, history = den.digest(), den.json("stories"), den.json("inspect", "history")
        den.kill() if number else den.stop()
        den.build = build
        den.start()
        assert (den.digest(), den.json("stories")) == (digest, stories)
        assert [den.json(*command) for command in shown] == kept
        assert den.json("inspect", "history") == history
        status = den.status()
        assert (status["incarnation"], status["notices"], status["writable"]) == (0, [], "")
    den.gangline("add", "s-9")
    den.stop()
    sound(den)


@BOTH_WAYS
def test_a_backup_is_restored_by_the_other_build(fleet, first, second):
    den = founded(fleet, first)
    den.gangline("add", "s-1", "--title", "kept")
    file = str(fleet.folder / "den.gangline")
    den.gangline("backup", file, "--with-key")
    stories, key = den.json("stories"), den.key()
    den.stop()
    again = fleet.another("again")
    again.build = second
    again.gangline("restore", file)
    again.start()
    assert (again.json("stories"), again.key()) == (stories, key)
    again.gangline("add", "s-2")
    assert again.status()["incarnation"], "it goes on in a new feed"
    fresh = fleet.another("fresh")
    fresh.build = second
    fresh.gangline("restore", file, "--as-new", "--name", "fresh", "--listen", "127.0.0.1:0")
    fresh.start()
    assert fresh.json("stories")[0]["title"] == "kept"


READS = (
    "status", "nodes", "peers", "stories", "story s-1", "members", "invite --list",
    "inspect digest", "inspect feeds", "inspect history", "inspect quarantine",
    "inspect explain s-1", "inspect doc", "inspect record den/0#0", "inspect evidence",
)  # fmt: skip
WRITES = (
    "add s-2 --title two --depends-on s-1", "edit s-2 --label x", "fire s-2 deps_met --force",
    "claim s-2", "release s-2", "exec s-2 --agent coder-1 -- true", "invite",
    "members rename den kennel",
)  # fmt: skip


SENTENCES = {"why", "says", "supersedes", "superseded", "detail"}
"""Fields that hold words for people, which may differ."""


def without_sentences(answer):
    """An answer without its sentences."""
    if isinstance(answer, list):
        return [without_sentences(one) for one in answer]
    if isinstance(answer, dict):
        return {
            name: without_sentences(one) for name, one in answer.items() if name not in SENTENCES
        }
    return answer


@BOTH_WAYS
def test_a_command_line_asks_a_daemon_of_the_other_build(fleet, first, second):
    den = founded(fleet, first)
    den.gangline("add", "s-1", "--title", "one")
    settled(den)
    other = den.by(second)
    for command in READS:
        mine, theirs = (without_sentences(one.json(*command.split())) for one in (den, other))
        assert (command, mine) == (command, theirs)
    for command in WRITES:
        other.gangline(*command.split())
    for one in (other, den):
        assert "ignores accepted" in one.gangline("fire", "s-1", "accepted", code=4)
    exported = [json.loads(line) for line in other.gangline("export").splitlines()]
    assert [line.get("id") for line in exported] == [None, "s-1", "s-2"]
    den.by(second).gangline("stop")
    eventually(lambda: den.process.poll() == 0, "it ends")
    assert other.gangline("status", code=3)
