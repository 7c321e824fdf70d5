"""How the client finds out that nobody will answer, and how it waits for who will."""

import contextlib
import http.server
import json
import os
import socket
import socketserver
import threading

import pytest

from node.api import version
from node.client import http_client
from node.client.exec_runner import AgentRun
from node.client.http_client import ALIVE, Client, RequestRefused
from node.system.errors import NoDaemon, OperatorError, Silent
from node.system.exit_codes import Exit

HEADERS = version.headers()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(http_client, "ANSWER_SECONDS", 2.0)
    monkeypatch.setattr(http_client, "QUIET_SECONDS", 0.3)


class Daemon:
    """A server in a daemon's place; ``answer`` says what becomes of a question.

    Attributes:
        asked: what was asked, in order, but for whether it is there.
        alive: whether it answers that; while not, it answers nothing else either.
    """

    def __init__(self, path, answer):
        self.path = path
        self.asked = []
        self.alive = threading.Event()
        self.alive.set()
        self.looked = threading.Semaphore(0)
        self._over = threading.Event()
        daemon = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if not daemon.alive.is_set():
                    daemon._over.wait()
                elif self.path == ALIVE:
                    daemon.looked.release()
                    self.told(204)
                else:
                    daemon.asked.append((self.command, self.path, body))
                    answer(daemon, self)

            do_POST = do_GET  # noqa: N815 - the base has it so

            def told(self, status, value=None):
                body = b"" if value is None else json.dumps(value).encode()
                self.begin(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def begin(self, status):
                self.send_response_only(status)
                for name, text in HEADERS:
                    self.send_header(name, text)

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a client that gave up

        self._server = Server(str(path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def freeze(self):
        self.alive.clear()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.socket.close()


@contextlib.contextmanager
def stopped(path):
    """A socket that takes connections and never answers, as that of a stopped process."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as listening:
        listening.bind(str(path))
        listening.listen(8)
        yield listening


ASKED = {
    "ask": lambda one: one.ask("POST", "/stories/s-1", {}),
    "stream": lambda one: list(one.stream("/events")),
}


@pytest.mark.parametrize("way", ASKED)
def test_stopped_daemon_is_sent_no_request(tmp_path, way):
    path = tmp_path / "api.sock"
    with stopped(path) as listening:
        with pytest.raises(Silent) as silent:
            ASKED[way](Client(path))
        listening.setblocking(False)
        sent = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    sent += connection.recv(4096)
    assert sent.startswith(f"GET {ALIVE} ".encode())
    assert b"stories" not in sent
    assert b"events" not in sent
    assert (silent.value.code, silent.value.asked) == (Exit.NO_DAEMON, False)
    assert "the request was not sent" in silent.value.message
    assert f"kill -CONT {os.getpid()}" in silent.value.message
    assert str(silent.value) == silent.value.message


def test_daemon_with_full_backlog_counts_as_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(http_client, "TRIES", 3)
    path = tmp_path / "api.sock"
    with stopped(path) as listening, contextlib.ExitStack() as stack:
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(str(path))
        with pytest.raises(Silent):
            Client(path).ask("GET", "/status")


def test_client_waits_for_a_long_answer(tmp_path):
    def answer(daemon, to):
        daemon.looked.acquire()
        for _ in range(3):
            daemon.looked.acquire()  # it was asked whether it is there, and is waited for still
        to.told(200, {"holders": 2})

    with Daemon(tmp_path / "api.sock", answer) as daemon:
        assert Client(daemon.path).ask("POST", "/stories/s-1?wait_for=2", {}) == {"holders": 2}
    assert len(daemon.asked) == 1


def test_daemon_stopped_during_a_request_is_detected(tmp_path):
    def answer(daemon, _to):
        daemon.freeze()
        daemon._over.wait()

    with Daemon(tmp_path / "api.sock", answer) as daemon:
        with pytest.raises(Silent) as silent:
            Client(daemon.path).ask("POST", "/stories/s-1", {})
        assert silent.value.asked
        assert "the request may be carried out later" in silent.value.message


@pytest.mark.parametrize("chunked", [True, False])
def test_daemon_stopped_during_a_stream_is_detected(tmp_path, chunked):
    def answer(daemon, to):
        to.begin(200)
        to.send_header(*(("transfer-encoding", "chunked") if chunked else ("x", "y")))
        to.end_headers()
        to.wfile.write(b'4\r\n"a"\n\r\n' if chunked else b'"a"\n')
        daemon.freeze()
        daemon._over.wait()

    with Daemon(tmp_path / "api.sock", answer) as daemon:
        stream = Client(daemon.path).stream("/events")
        assert next(stream) == "a"
        with pytest.raises(Silent):
            next(stream)


def test_answer_that_takes_too_long_has_its_own_error(tmp_path):
    def answer(daemon, _to):
        daemon._over.wait()

    with (
        Daemon(tmp_path / "api.sock", answer) as daemon,
        pytest.raises(
            OperatorError, match="is running, but has not answered this request for 1 s"
        ) as trouble,
    ):
        Client(daemon.path, 1.0).ask("GET", "/status")
    assert trouble.value.code == Exit.ENVIRONMENT


def test_daemon_ending_before_its_answer_is_reported(tmp_path):
    with (
        Daemon(tmp_path / "api.sock", lambda *_: None) as daemon,
        pytest.raises(NoDaemon, match="the request may have been carried out") as gone,
    ):
        Client(daemon.path).ask("POST", "/stories/s-1", {})
    assert gone.value.asked
    with pytest.raises(NoDaemon, match="no daemon answers at") as none:
        Client(tmp_path / "none").ask("POST", "/stories/s-1", {})
    assert not none.value.asked


def test_a_stream_that_is_refused_says_so(tmp_path):
    def answer(_daemon, to):
        to.told(409, {"detail": "no"})

    with Daemon(tmp_path / "api.sock", answer) as daemon, pytest.raises(RequestRefused) as refused:
        list(Client(daemon.path).stream("/events"))
    assert (refused.value.message, refused.value.code) == ("no", Exit.REFUSED)


def test_a_socket_that_may_not_be_used_is_a_sentence(tmp_path):
    path = tmp_path / "no socket" / "x"
    path.parent.mkdir()
    path.parent.joinpath("file").touch()
    for way in ASKED.values():
        with pytest.raises(OperatorError, match="cannot ask the daemon"):
            way(Client(path.parent / "file" / "api.sock"))


def test_retried_event_is_not_reported_as_lost(tmp_path, monkeypatch):
    """The daemon ends after its commit and before its answer; the second time it is ignored."""
    monkeypatch.setattr("node.client.exec_runner.RETRY_SECONDS", 0.0)

    def answer(daemon, to):
        if len(daemon.asked) > 1:
            to.told(409, {"detail": "s-1 is in running, which ignores spawned_successfully"})

    said = []
    with Daemon(tmp_path / "api.sock", answer) as daemon:
        running = AgentRun(Client(daemon.path), "s-1", "coder-1", said.append)
        running.fire("spawned_successfully")
    assert len(daemon.asked) == 2
    assert said == [
        "the daemon is away; the agent runs on and is recorded once the daemon can write"
    ]
