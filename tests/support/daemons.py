"""Real daemons: own processes, real TLS on loopback, real SQLite, driven by the command."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

GANGLINE = str(Path(sys.executable).parent / "gangline")
PATIENCE_SECONDS = 40


class Failed(AssertionError):
    """A command ended otherwise than it should."""


class Node:
    """One node's home, and its daemon while it runs."""

    def __init__(self, home):
        self.home = home
        self.process = None

    def gangline(self, *args, stdin=None, code=0):
        """Run a command to its end; gives what it printed."""
        done = subprocess.run(
            [GANGLINE, "--home", str(self.home), *args],
            input=stdin, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        if done.returncode != code:
            raise Failed(f"{args} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout if code == 0 else done.stderr

    def json(self, *args):
        return json.loads(self.gangline(*args, "--json"))

    def start(self):
        log = (self.home.parent / f"{self.home.name}.log").open("ab")
        self.process = subprocess.Popen(
            [GANGLINE, "--home", str(self.home), "run"], stdout=log, stderr=log
        )
        log.close()
        eventually(self.answers, "the daemon answers")

    def answers(self):
        if self.process.poll() is not None:
            raise Failed(f"the daemon ended: {self.log()}")
        return (
            subprocess.run(
                [GANGLINE, "--home", str(self.home), "status"],
                capture_output=True, check=False, timeout=30,
            ).returncode
            == 0
        )  # fmt: skip

    def log(self):
        return (self.home.parent / f"{self.home.name}.log").read_text()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=PATIENCE_SECONDS)

    def digest(self):
        return self.json("status")["digest"]


class Fleet:
    """Nodes of one cluster in one folder; ends every process it started.

    Args:
        make: makes a node of its home, where it shall be another than ``Node``.
    """

    def __init__(self, folder, make=Node):
        self.folder = folder
        self.nodes = []
        self._make = make

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            if node.process is not None and node.process.poll() is None:
                node.kill()

    def found(self, name="den"):
        node = self._make(self.folder / name)
        node.gangline("init", "--name", name, "--listen", "127.0.0.1:0")
        self.nodes.append(node)
        node.start()
        return node

    def join(self, inviter, name, *, start=True):
        node = self._make(self.folder / name)
        ticket = inviter.gangline("invite")
        node.gangline("join", "--name", name, "--listen", "127.0.0.1:0", stdin=ticket)
        self.nodes.append(node)
        if start:
            node.start()
        return node


def eventually(check, what):
    """Wait until something holds, for as long as a slow machine may take."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not check():
        if time.monotonic() > end:
            raise Failed(f"never came about: {what}")
        time.sleep(0.05)


def agree(*nodes):
    """Wait until nodes show one digest."""
    eventually(lambda: len({node.digest() for node in nodes}) == 1, "one digest")
