"""Real daemons: own processes, real TLS, real SQLite; on loopback or on hosts of their own.

A node is driven by the command, or, where a test asks often, over the socket that the command uses.
"""

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from node.client.http_client import Client
from node.system.errors import OperatorError
from node.system.home import Home

GANGLINE = str(Path(sys.executable).parent / "gangline")
PATIENCE_SECONDS = 40
PORT = 7467


class Failed(AssertionError):
    """A command or a daemon did otherwise than it should."""


@functools.cache
def faketime():
    """The library that gives a process another wall clock; ``None`` where it is not installed."""
    places = ("lib/*/faketime", "lib/faketime", "lib64/faketime", "local/lib/faketime")
    found = [path for place in places for path in Path("/usr").glob(f"{place}/libfaketimeMT.so.1")]
    return str(found[0]) if found else None


def free_port(rng):
    """A port below those that the system hands out, so it stays free while a node is down."""
    while True:
        port = rng.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Node:
    """One node's home, and its daemon while it runs.

    Args:
        host: where in a network it runs (``netns.Host``); else on this machine's loopback.
    """

    def __init__(self, home, host=None):
        self.home = home
        self.host = host
        self.process = None
        self.client = Client(Home(home).socket)
        self._clock = home.parent / f"{home.name}.clock"

    def __repr__(self):
        return self.home.name

    @property
    def listen(self):
        return f"{self.host.address}:{PORT}" if self.host else "127.0.0.1:0"

    @property
    def log_path(self):
        return self.home.parent / f"{self.home.name}.log"

    def _command(self, *args):
        return [*(self.host.enter if self.host else ()), GANGLINE, "--home", str(self.home), *args]

    def gangline(self, *args, stdin=None, code=0):
        """Run a command to its end; gives what it printed."""
        done = subprocess.run(
            self._command(*args),
            input=stdin, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        if done.returncode != code:
            raise Failed(f"{args} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout if code == 0 else done.stderr

    def json(self, *args):
        return json.loads(self.gangline(*args, "--json"))

    def start(self):
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._command("run"), stdout=log, stderr=log, env=os.environ | self._surroundings()
            )
        eventually(self.answers, f"{self} answers")

    def answers(self):
        if self.process.poll() is not None:
            raise Failed(f"the daemon of {self} ended: {self.log()}")
        try:
            self.status()
        except OperatorError:
            return False
        return True

    def log(self):
        with self.log_path.open(newline="") as log:  # as it is: a carriage return is no new line
            return log.read()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            eventually(lambda: self.process.poll() is not None, f"{self} ends")
            if code := self.process.returncode:
                raise Failed(f"the daemon of {self} ended with {code}: {self.log()}")

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def recover(self):
        """Run, with the right time, whatever was done to it."""
        if self._clock.exists():
            self.shift_clock(0)
        if self.process.poll() is None:
            self.resume()
        else:
            self.start()

    def status(self):
        return self.client.ask("GET", "/status")

    def key(self):
        """Its key; none while it starts again, under another one say."""
        try:
            return self.status()["node"]
        except OperatorError:
            return None

    def digest(self):
        return self.status()["digest"]

    # --- its clock -----------------------------------------------------------------------------

    def shift_clock(self, seconds):
        """Put the daemon's wall clock off; a daemon whose clock never was must be started anew."""
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}s\n")
        fresh.replace(self._clock)

    def _surroundings(self):
        if not self._clock.exists():
            return {}
        return {
            "LD_PRELOAD": faketime(),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock),
            "FAKETIME_CACHE_DURATION": "1",
            # Nothing that a host's clock does moves its monotonic clock.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Without this its own waiting for threads takes seconds; the C library's needs no help.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }


class Fleet:
    """Nodes of one cluster in one folder; ends every process it started.

    Args:
        make: makes a node of its home, where it shall be another than ``SimulatedNode``.
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

    def another(self, name):
        """A node that has no home yet."""
        node = self._make(self.folder / name)
        self.nodes.append(node)
        return node

    def found(self, name="den"):
        node = self.another(name)
        node.gangline("init", "--name", name, "--listen", node.listen)
        node.start()
        return node

    def join(self, inviter, name, *, start=True):
        node = self.another(name)
        ticket = inviter.gangline("invite")
        node.gangline("join", "--name", name, "--listen", node.listen, stdin=ticket)
        if start:
            node.start()
        return node


def eventually(check, what, seconds=PATIENCE_SECONDS):
    """Wait until something holds, for as long as a slow machine may take."""
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            raise Failed(f"never came about: {what}")
        time.sleep(0.05)


def agree(*nodes, seconds=PATIENCE_SECONDS):
    """Wait until nodes show one digest."""
    eventually(lambda: len({node.digest() for node in nodes}) == 1, "one digest", seconds)
