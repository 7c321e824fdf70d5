"""A daemon of another release than the command: one sentence, and never a traceback."""

import contextlib
import json
import socketserver
import subprocess
import sys
import threading

import pytest
from typer.testing import CliRunner

from node.api import version
from node.cli.main import app
from node.client.exec_runner import AgentRun
from node.client.http_client import Client
from node.system.errors import OtherVersion
from node.system.exit_codes import Exit
from node.system.home import Home

OURS = dict(version.headers())
OLDER = {
    "says nothing": {"server": "uvicorn"},
    "says a lower number": {"server": "gangline/0.0.9", "gangline-api": str(version.API - 1)},
    "says what is no number": {"server": "gangline/9", "gangline-api": "\x1b[31m"},
}


@contextlib.contextmanager
def daemon(folder, headers, status=200, answer=None):
    """A server in a daemon's place, which gives every question one answer; gives its home."""
    home = Home(folder / "den")
    home.make()
    body = json.dumps(answer).encode()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            length = 0
            while line := self.rfile.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            self.rfile.read(length)
            told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = f"HTTP/1.1 {status} x\r\n{told}content-length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)

    home.socket.parent.mkdir(parents=True, exist_ok=True)
    with socketserver.ThreadingUnixStreamServer(str(home.socket), Handler) as server:
        home.socket.chmod(0o600)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield home
        finally:
            server.shutdown()
            thread.join()
            home.socket.unlink(missing_ok=True)


def gangline(home, *args):
    """Run a command in this process; gives how it ended, and the lines it printed and said."""
    done = CliRunner().invoke(app, ["--home", str(home.path), *args])
    return done.exit_code, done.stdout.splitlines(), done.stderr.splitlines()


COMMANDS = (
    ("status",), ("status", "--json"), ("nodes",), ("peers",), ("stories",), ("story", "s-1"),
    ("watch", "--json"), ("add", "s-1"), ("fire", "s-1", "deps_met"), ("members",), ("invite",),
    ("inspect", "feeds"), ("inspect", "history"), ("export",), ("leave",),
)  # fmt: skip


@pytest.mark.parametrize("says", OLDER)
def test_older_daemon_gives_one_sentence_and_a_remedy(tmp_path, says):
    with daemon(tmp_path, OLDER[says], answer={"name": "den"}) as home:
        command = [sys.executable, "-m", "node.cli", "--home", str(home.path), "status"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (Exit.ENVIRONMENT, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("gangline: the running daemon is ")
    assert f"release {version.release()} and speaks version {version.API};" in line
    again = f"gangline --home {home.path}"
    assert line.endswith(f"{again} stop, then: {again} run")
    assert "\x1b" not in line


def test_version_mismatch_names_both_releases(tmp_path):
    with daemon(tmp_path, OLDER["says a lower number"]) as home:
        _, _, [told] = gangline(home, "status")
    assert f"release 0.0.9 of gangline and speaks version {version.API - 1} of the local" in told


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("status", [200, 404])
def test_no_command_reads_what_another_version_answers(tmp_path, command, status):
    with daemon(tmp_path, OLDER["says nothing"], status, answer=[{"id": "s-1"}]) as home:
        code, printed, [said] = gangline(home, *command)
    assert (code, printed) == (Exit.ENVIRONMENT, [])
    assert said.startswith("gangline: the running daemon is another release")


def test_a_daemon_of_any_version_can_be_stopped(tmp_path):
    """Or the way out that is named would lead nowhere."""
    with daemon(tmp_path, OLDER["says nothing"], status=202) as home:
        ended = threading.Timer(1.0, home.socket.unlink)
        ended.start()
        told = gangline(home, "stop")
        ended.join()
    assert told == (0, ["stopped"], [])


def test_exec_does_not_wait_for_another_version(tmp_path):
    said = []
    with daemon(tmp_path, OLDER["says nothing"]) as home:
        running = AgentRun(Client(home.socket), "s-1", "coder-1", said.append)
        with pytest.raises(OtherVersion):
            running.begin()
        running.beat()
        running.fire("exited", exit_code=0)
    assert [line.split(";")[0].split(" of ")[0] for line in said] == [
        "the running daemon is another release",
        "exited was not recorded: the running daemon is another release",
    ]


def test_an_answer_of_ones_own_version_is_read(tmp_path):
    with daemon(tmp_path, OURS, answer={"digest": "ab"}) as home:
        assert gangline(home, "inspect", "digest") == (0, ["ab"], [])
