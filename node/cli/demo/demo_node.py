"""The demo's nodes, started by commands as a person would, and its git repository."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node.client.http_client import Client, RequestRefused
from node.system import clock
from node.system.errors import NoDaemon, OperatorError
from node.system.home import Home

TIMEOUT_SECONDS = 60.0
GIT_ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "demo", "GIT_AUTHOR_EMAIL": "demo@localhost",
    "GIT_COMMITTER_NAME": "demo", "GIT_COMMITTER_EMAIL": "demo@localhost",
}  # fmt: skip
"""Ignores the user's git settings; in a git hook, GIT_DIR would name the user's repository."""


class DemoNode:
    """One node of the demo: its folder and its daemon."""

    def __init__(self, home: Path) -> None:
        self.home = Home(home)
        self.name = home.name
        self.client = Client(self.home.socket)
        self.process: subprocess.Popen[bytes] | None = None

    def command(
        self,
        *args: str,
        stdin: str | None = None,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> str:
        """Run a gangline command for this node.

        Raises:
            OperatorError: it failed.
        """
        done = subprocess.run(
            [*module("node.cli"), "--home", str(self.home.path), *args],
            input=stdin, capture_output=True, text=True, check=False,
            cwd=folder, env=environment,
        )  # fmt: skip
        if done.returncode:
            raise OperatorError(f"{self.name}: {args[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        with (self.home.path.parent / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*module("node.cli"), "--home", str(self.home.path), "run"],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until(self._answers, f"{self.name} answers")

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise OperatorError(f"{self.name} ended at once; its log is {self.home.path}.log")
        try:
            self.status()
        except NoDaemon:
            return False
        return True

    def status(self) -> dict[str, Any]:
        """The answer of ``gangline status``."""
        found: dict[str, Any] = self.client.ask("GET", "/status")
        return found

    def fire(self, story: str, event: str, **fields: object) -> None:
        """Fire an event, and wait until another node has it."""
        body = {"event": {"event": event, **fields}}
        self.client.ask("POST", f"/stories/{story}/events?wait_for=1", body)

    def stage(self, story: str) -> str:
        """A story's stage on this node; empty if the story is unknown here."""
        try:
            return str(self.client.ask("GET", f"/stories/{story}")["stage"]["stage"])
        except RequestRefused:
            return ""


def module(name: str) -> list[str]:
    """The command that runs a module of this installation.

    ``-P`` ignores packages in the current folder.
    """
    return [sys.executable, "-P", "-m", name]


def tell(text: str) -> None:
    """Print one line of progress at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def until(check: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds.

    Raises:
        OperatorError: it did not hold in time.
    """
    end = clock.monotonic() + TIMEOUT_SECONDS
    while not check():
        if clock.monotonic() > end:
            raise OperatorError(f"timed out waiting until {what}")
        time.sleep(0.05)


def agreed(nodes: list[DemoNode]) -> str:
    """Wait until the nodes have the same digest; returns it."""
    until(lambda: len({node.status()["digest"] for node in nodes}) == 1, "the digests are equal")
    return str(nodes[0].status()["digest"])


def git(repository: Path, *args: str) -> str:
    """Run git in the demo's repository, without the user's settings.

    Raises:
        OperatorError: git failed.
    """
    done = subprocess.run(
        ["git", *args],
        cwd=repository,
        env=GIT_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise OperatorError(f"git {' '.join(args)} failed: {done.stderr.strip()}")
    return done.stdout.strip()
