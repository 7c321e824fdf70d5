"""``gangline exec``: runs an agent's process and records its execution.

A client of the daemon. It records the spawn, heartbeats, rate limits and the exit code, passes the
output through, and passes signals on. While the daemon is away it retries, and the process runs on.
Source: protocol §6, §7.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import IO, Any

from machines.values import Instant
from node.client.http_client import Client, RequestRefused, segment
from node.config.settings import RateLimit
from node.system import clock
from node.system.errors import NoDaemon, OperatorError, OtherVersion

BEAT_SECONDS = 15.0
DURABLE_SECONDS = 300.0
RETRY_SECONDS = 1.0
NOT_FOUND = 127
CANNOT_RUN = 126
"""The exit codes of a shell if a command is not found, or cannot be run."""
POLL_SECONDS = 0.1
LINE_BYTES_MAX = 64 * 1024
SIGNALLED = 128
RESUMABLE = ("rate_limited", "pending")


class AgentRun:
    """One agent's work on one story.

    Args:
        client: the daemon's client.
        story: the story's id.
        agent: the agent's name.
        notify: prints a sentence for the person at the terminal.
    """

    def __init__(
        self, client: Client, story: str, agent: str, notify: Callable[[str], None]
    ) -> None:
        self._client = client
        self._path = f"/stories/{segment(story)}/execution"
        self._agent = agent
        self.notify = notify
        self._silent_since: float | None = None

    def begin(self) -> None:
        """Request the agent, from any earlier state of this node's execution.

        Raises:
            OperatorError: there is no daemon, or this node already works on the story.
        """
        state = self._client.ask("GET", self._path)["state"]["state"]
        if state == "completed":
            self._client.ask("POST", self._path, {"event": {"event": "reset"}})
        if state not in RESUMABLE:
            body = {"event": {"event": "spawn_requested", "agent": self._agent}}
            self._client.ask("POST", self._path, body)

    def fire(self, event: str, **fields: object) -> None:
        """Record an event; retry while the daemon is away or cannot write."""
        unanswered = False
        while True:
            try:
                self._client.ask("POST", self._path, {"event": {"event": event, **fields}})
            except RequestRefused as refusal:
                if not refusal.passing:
                    # A retried event may have been recorded the first time.
                    if not unanswered:
                        self.notify(f"{event} was not recorded: {refusal.message}")
                    return
                self._note_silence(refusal.message)
            except OtherVersion as other:
                # To retry is useless: this process keeps its own release.
                self.notify(f"{event} was not recorded: {other.message}")
                return
            except OperatorError as error:
                unanswered = unanswered or not isinstance(error, NoDaemon) or error.asked
                self._note_silence()
            else:
                self._silent_since = None
                return
            time.sleep(RETRY_SECONDS)

    def beat(self) -> None:
        """Send a heartbeat; one that fails is not retried."""
        try:
            self._client.ask("POST", f"{self._path}/beat", {})
        except OtherVersion as other:
            self._note_silence(other.message)
        except OperatorError:
            self._note_silence()

    def _note_silence(self, why: str = "the daemon is away") -> None:
        if self._silent_since is None:
            self._silent_since = clock.monotonic()
            self.notify(f"{why}; the agent runs on and is recorded once the daemon can write")


def run(execution: AgentRun, command: Sequence[str], limits: Sequence[RateLimit]) -> int:
    """Run a command to its end and record it.

    Args:
        execution: records the events.
        command: the program and its arguments.
        limits: the signs of a rate limit, from the config.

    Returns:
        The command's exit code; 128 and the signal's number if a signal ended it; 126 or 127 if it
        could not be started, as in a shell.

    Raises:
        OperatorError: there is no daemon, or this node already works on the story.
    """
    execution.begin()
    watched = [limit for limit in limits if limit.pattern]
    pipe = subprocess.PIPE if watched else None
    try:
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe)  # noqa: S603 - the caller's own command
    except OSError as fault:
        code, why = _not_started(command[0], fault)
        execution.notify(f"cannot start {command[0]}: {why}")
        execution.fire("exited", exit_code=code)
        return code
    restore = _pass_signals_on(process)
    try:
        execution.fire("spawned_successfully")
        matched = _Matches(watched)
        readers = [
            threading.Thread(target=_copy, args=(source, sink, matched), daemon=True)
            for source, sink in (
                (process.stdout, sys.stdout.fileno()),
                (process.stderr, sys.stderr.fileno()),
            )
            if source is not None
        ]
        for reader in readers:
            reader.start()
        _keep_beating(process, execution, matched)
        for reader in readers:
            reader.join(BEAT_SECONDS)
            while reader.is_alive():  # a child of the agent still writes
                execution.beat()
                reader.join(BEAT_SECONDS)
    finally:
        for number, before in restore.items():
            signal.signal(number, before)
    code = process.returncode if process.returncode >= 0 else SIGNALLED - process.returncode
    _record_end(execution, code, limits, matched)
    return code


def _not_started(command: str, fault: OSError) -> tuple[int, str]:
    """The exit code of a shell, and the reason."""
    if not isinstance(fault, FileNotFoundError):
        return CANNOT_RUN, str(fault.strerror)
    if shutil.which(command) is not None:
        return CANNOT_RUN, "the interpreter in its first line was not found"
    return NOT_FOUND, "no such command"


class _Matches:
    """The first rate limit that the output matched."""

    def __init__(self, watched: Sequence[RateLimit]) -> None:
        self._watched = [(re.compile(limit.pattern or ""), limit) for limit in watched]
        self.found: RateLimit | None = None
        self.recorded = False

    def check(self, line: bytes) -> None:
        """Check one line of output."""
        text = line.decode("utf-8", "replace")
        for pattern, limit in self._watched:
            if self.found is None and pattern.search(text):
                self.found = limit


def _copy(source: IO[bytes], sink: int, matched: _Matches) -> None:
    """Pass output through as it comes, and check each line.

    If the reader of our output closes it, the agent's pipe is closed too, as it would be without
    ``exec`` between them.
    """
    with source:
        while line := source.readline(LINE_BYTES_MAX):
            matched.check(line)
            left = memoryview(line)
            try:
                while left:
                    left = left[os.write(sink, left) :]
            except OSError:
                return


def _keep_beating(process: subprocess.Popen[bytes], execution: AgentRun, matched: _Matches) -> None:
    beat_at = clock.monotonic() + BEAT_SECONDS
    durable_at = clock.monotonic() + DURABLE_SECONDS
    while process.poll() is None:
        at = clock.monotonic()
        if matched.found is not None and not matched.recorded:
            matched.recorded = True
            execution.fire("hit_rate_limit", resume_at=_resume(matched.found))
        elif at >= durable_at and not matched.recorded:
            durable_at = at + DURABLE_SECONDS
            execution.fire("heartbeat")
        if at >= beat_at:
            beat_at = at + BEAT_SECONDS
            execution.beat()
        time.sleep(POLL_SECONDS)


def _record_end(
    execution: AgentRun, code: int, limits: Sequence[RateLimit], matched: _Matches
) -> None:
    limit = next((one for one in limits if one.exit_code == code), None) or matched.found
    if limit is None or code == 0:
        execution.fire("exited", exit_code=code)
    elif not matched.recorded:
        execution.fire("hit_rate_limit", resume_at=_resume(limit))


def _resume(limit: RateLimit) -> str:
    return Instant.nearest(clock.wall_ms() + limit.resume_after * 1000)


def _pass_signals_on(process: subprocess.Popen[bytes]) -> dict[int, Any]:
    """Pass signals to the agent; ``exec`` stays to record how it ended."""

    def forward(number: int, _frame: FrameType | None) -> None:
        # On a terminal Ctrl-C reaches the agent directly.
        if number != signal.SIGINT or not sys.stdin.isatty():
            process.send_signal(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return {number: signal.signal(number, forward) for number in numbers}
