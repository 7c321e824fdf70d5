"""``gangline demo``: three nodes on this host drive five stories through a real repository.

The daemons are separate processes with TLS on loopback and SQLite stores; branches, tests and
merges are made in a temporary git repository. On the way a daemon is killed, two nodes move one
story at the same moment, and a member sends false records. The demo uses the daemons' local API.
"""

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

from node.cli.console import short
from node.cli.demo.demo_node import GIT_ENVIRONMENT, DemoNode, agreed, git, module, tell, until
from node.client.http_client import RequestRefused
from node.system.errors import OperatorError
from node.system.exit_codes import Exit

STORIES: tuple[tuple[str, str, str, list[str]], ...] = (
    ("s-1", "Add two numbers", "add", []),
    ("s-2", "Subtract two numbers", "subtract", []),
    ("s-3", "Multiply two numbers", "multiply", ["s-1"]),
    ("s-4", "Double a number", "double", ["s-3"]),
    ("s-5", "Halve a number", "halve", ["s-2"]),
)
CODE = {
    "add": ("a + b", 8),
    "subtract": ("a - b", 4),
    "multiply": ("a * b", 12),
    "double": ("a * 2", 12),
    "halve": ("a / 2", 3),
}
"""For each function, its body and its result for 6 and 2."""


def make_repository(path: Path) -> None:
    """Make a repository with an empty library on its main branch."""
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    (path / "README").write_text("A library of five functions.\n")
    (path / ".gitignore").write_text("__pycache__/\n")
    git(path, "add", ".")
    git(path, "commit", "--quiet", "-m", "An empty library")


AGENT = """
import subprocess, sys
name, body, expected, branch = sys.argv[1:]
def git(*args): subprocess.run(["git", *args], check=True)
def put(path, text):
    with open(path, "w") as file:
        file.write(text)
git("checkout", "--quiet", "-b", branch, "main")
put(f"{name}.py", f"def {name}(a, b=1):\\n    return {body}\\n")
git("add", ".")
git("commit", "--quiet", "-m", f"Add {name}")
put(f"test_{name}.py", f"import unittest\\nfrom {name} import {name}\\n"
    "class Test(unittest.TestCase):\\n    def test_it(self):\\n"
    f"        self.assertEqual({name}(6, 2), {expected})\\n")
git("add", ".")
git("commit", "--quiet", "-m", f"Test {name}")
"""
"""The demo's coding agent: it commits code and a test to a feature branch."""


def work(node: DemoNode, repository: Path, story: str, branch: str, name: str) -> int:
    """Run an agent on a story with ``exec``; returns how many commits its branch is ahead."""
    body, expected = CODE[name]
    agent = [sys.executable, "-c", AGENT, name, body, str(expected), branch]
    node.command(
        "exec", story, "--agent", f"coder-{node.name}", "--", *agent,
        folder=repository, environment=GIT_ENVIRONMENT,
    )  # fmt: skip
    return int(git(repository, "rev-list", "--count", f"main..{branch}"))


def drive(nodes: list[DemoNode], repository: Path, number: int) -> None:
    """Drive one story through the pipeline, each move from another node."""
    story, title, name, _ = STORIES[number]
    first, second, third = (nodes[(number + turn) % 3] for turn in range(3))
    branch = f"feature/{story}"
    first.fire(story, "deps_met")
    first.client.ask("POST", f"/stories/{story}/claim", {"seconds": 600})
    ahead = work(first, repository, story, branch, name)
    until(lambda: second.stage(story) == "coding", f"{second.name} sees {story} in coding")
    second.fire(story, "gates_started")
    # The QA gate is the repository's own test.
    subprocess.run(
        [sys.executable, "-m", "unittest", "-q"], cwd=repository, check=True, capture_output=True
    )
    until(lambda: third.stage(story) == "qa", f"{third.name} sees {story} in qa")
    third.fire(story, "gates_passed", feature_branch=branch, commits_ahead=ahead)
    git(repository, "checkout", "--quiet", "main")
    git(repository, "merge", "--quiet", "--no-ff", "-m", f"Merge {story}", branch)
    commit = git(repository, "rev-parse", "HEAD")
    until(lambda: first.stage(story) == "merge", f"{first.name} sees {story} in merge")
    first.fire(story, "merge_succeeded", merge_commit=commit)
    for node in nodes:
        until(lambda node=node: node.stage(story) == "done", f"{node.name} sees {story} done")  # type: ignore[misc]
    tell(f"  {story} done: {title} ({ahead} commits, merged as {commit[:8]})")


def collide(nodes: list[DemoNode]) -> None:
    """Let two nodes move one story at the same moment."""
    nodes[0].client.ask("POST", "/stories/s-6", {"title": "Wanted by two"})
    nodes[0].fire("s-6", "deps_met")
    until(lambda: all(n.stage("s-6") == "coding" for n in nodes), "all see s-6 in coding")
    both = Barrier(2)

    def move(node: DemoNode, **event: object) -> None:
        both.wait()
        # The second move is refused if the first has arrived already.
        with contextlib.suppress(RequestRefused):
            node.client.ask("POST", "/stories/s-6/events", {"event": event})

    with ThreadPoolExecutor(2) as pool:
        started = pool.submit(move, nodes[1], event="gates_started")
        skipped = pool.submit(
            move, nodes[2], event="qa_skipped", feature_branch="f", commits_ahead=1
        )
    started.result()
    skipped.result()
    agreed(nodes)
    view = nodes[0].client.ask("GET", "/stories/s-6")
    lost = [one["event"]["event"] for one in view["conflicts"]]
    tell(f"  both moved s-6; it stands at {view['stage']['stage']} on all three")
    tell(f"  lost events: {', '.join(lost) or 'none, since one move came first'}")


def lie(nodes: list[DemoNode], folder: Path) -> None:
    """Let a fourth member forge a record and send an illegal move."""
    bad = DemoNode(folder / "bad")
    ticket = nodes[0].command("invite")
    bad.command("join", "--name", "bad", "--listen", "127.0.0.1:0", stdin=ticket)
    agreed(nodes)
    for trick in ("forge", "illegal"):
        subprocess.run(
            [*module("node.cli.demo.dishonest_member"), str(bad.home.path),
            str(nodes[1].home.path), trick], check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    rows: list[dict[str, Any]] = nodes[1].client.ask("GET", "/inspect/quarantine")
    for row in rows:
        tell(
            f"  in quarantine at {nodes[1].name}: {row['reason']}, brought by {short(row['peer'])}"
        )
    if {row["reason"] for row in rows} != {"bad_signature", "illegal_transition"}:
        raise OperatorError("a false record was not caught", Exit.DIFFER)


@contextlib.contextmanager
def cluster(folder: Path, *, keep: bool) -> Iterator[list[DemoNode]]:
    """Run three nodes; they are stopped at the end, unless ``keep``."""
    nodes = [DemoNode(folder / name) for name in ("den", "b", "c")]
    kept = False
    try:
        nodes[0].command("init", "--name", "den", "--listen", "127.0.0.1:0")
        nodes[0].start()
        tell("founded a cluster; den is up")
        for node in nodes[1:]:
            ticket = nodes[0].command("invite")
            node.command("join", "--name", node.name, "--listen", "127.0.0.1:0", stdin=ticket)
            node.start()
            tell(f"{node.name} joined by ticket and is up")
        yield nodes
        kept = keep
    finally:
        for node in () if kept else nodes:
            if node.process is not None and node.process.poll() is None:
                node.process.terminate()
        for node in () if kept else nodes:
            if node.process is not None:
                node.process.wait()


def show(keep: bool) -> None:
    """Run the demo.

    Raises:
        OperatorError: a step failed.
    """
    if shutil.which("git") is None:
        raise OperatorError("the demo needs git; install it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(Exit.INTERRUPTED))
    folder = Path(tempfile.mkdtemp(prefix="gangline-demo-"))
    done = False
    try:
        with cluster(folder, keep=keep) as nodes:
            _play(nodes, folder)
            done = True
            if keep:
                _print_next_commands(nodes)
            else:
                tell("to look around: gangline demo --keep leaves the three nodes running")
    finally:
        if not (keep and done):
            shutil.rmtree(folder, ignore_errors=True)


def _play(nodes: list[DemoNode], folder: Path) -> None:
    repository = folder / "repository"
    make_repository(repository)
    for story, title, _, depends_on in STORIES:
        body = {"title": title, "depends_on": depends_on or None}
        nodes[0].client.ask("POST", f"/stories/{story}", body)
    agreed(nodes)
    tell("five stories with dependencies, driven through a real repository:")
    for number in range(3):
        drive(nodes, repository, number)
    victim = nodes[2]
    assert victim.process is not None
    victim.process.send_signal(signal.SIGKILL)
    victim.process.wait()
    tell("killed c with SIGKILL; the others continue")
    nodes[0].client.ask("PATCH", "/stories/s-4", {"description": "written while c was dead"})
    victim.start()
    agreed(nodes)
    tell("c is back and agrees")
    for number in (3, 4):
        drive(nodes, repository, number)
    tell("two nodes move one story at the same moment:")
    collide(nodes)
    tell("a member with a real key lies to b:")
    lie(nodes, folder)
    tell(f"one digest on all three: {agreed(nodes)}")
    for node in nodes:
        tell(f"  {node.name}: {node.status()['digest']}")
    tell(nodes[0].command("stories").rstrip())


def _print_next_commands(nodes: list[DemoNode]) -> None:
    den = nodes[0].home.path
    tell("the three daemons are still running; look around with:")
    for command in ("status", "nodes", "inspect explain s-6", "inspect feeds", "watch"):
        tell(f"  gangline --home {den} {command}")
    tell(f"stop them with: for n in den b c; do gangline --home {den.parent}/$n stop; done")
