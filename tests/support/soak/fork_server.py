"""Starts daemons quickly: a process that has imported everything once, and forks.

    python -m tests.support.soak.fork_server

Takes a JSON object a line: ``start`` (with ``home``, ``log`` and, where it shall die by its own
hand, ``point`` and ``passes``) gives a pid; ``poll`` a pid gives how it ended, or null. Ends every
process it started when its input ends. One thread, so that a fork is safe.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from node import daemon
from node.provisioning import init_join
from node.system.errors import OperatorError
from node.system.home import Home
from tests.support.soak.points import POINTS, Countdown

FOUND, RUN = "found", "run"
ROOT = Path(__file__).parents[3]


class ForkServer:
    """The process, seen from the harness."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.soak.fork_server"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def ask(self, **what):
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, home, log, *, do=RUN, point="", passes=1):
        """Fork a daemon; gives a handle like ``Popen``'s."""
        pid = self.ask(start=do, home=str(home), log=str(log), point=point, passes=passes)
        return Forked(self, pid)


class Forked:
    """A process that the zygote started, with what the drivers of daemons use of ``Popen``."""

    def __init__(self, zygote, pid):
        self._zygote = zygote
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None:
            self.returncode = self._zygote.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout=60):
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.002)
        return self.returncode

    def send_signal(self, number):
        # Not waited for by anybody else, so the pid cannot be another's yet.
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def main():
    """Serve until the input ends."""
    ended = {}
    children = set()
    for line in sys.stdin:
        asked = json.loads(line)
        if "start" in asked:
            pid = os.fork()
            if pid == 0:
                _be(asked)
            children.add(pid)
            answer = pid
        else:
            _reap(children, ended)
            answer = ended.get(asked["poll"])
        print(json.dumps(answer), flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _reap(children, ended):
    for pid in list(children):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            ended[pid] = os.waitstatus_to_exitcode(status)
            children.discard(pid)


def _be(asked):
    """What the forked process does, to its end."""
    log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number, target in ((0, nothing), (1, log), (2, log)):
        os.dup2(target, number)
    code = 0
    try:
        if asked["point"]:
            POINTS[asked["point"]](Countdown(asked["passes"]))
        home = Home(Path(asked["home"]))
        if asked["start"] == FOUND:
            init_join.found(home, "den", "")
        else:
            daemon.main(home)
    except OperatorError as trouble:
        print(trouble.message, file=sys.stderr)
        code = 1
    except BaseException:  # noqa: BLE001 - the fork must never go on as the zygote
        sys.excepthook(*sys.exc_info())
        code = 70
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
