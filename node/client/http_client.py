"""Asks the daemon: HTTP and JSON over its Unix socket, with nothing but the standard library.

Stands between the command line and ``node/api``; light, so that every command is quick. A daemon
that is there and answers nobody (stopped, or on a host that is overloaded) is found out in five
seconds, however long the answer itself may take: it is asked first whether it is there, and again
while its answer is waited for. What a daemon of another version answers is not read
(``node/api/version.py``).
"""

import contextlib
import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from node.api import version
from node.system.errors import NoDaemon, OperatorError, OtherVersion, Silent
from node.system.exit_codes import Exit

SECONDS_MAX = 70.0
ANSWER_SECONDS = 4.5
"""A daemon that is asked whether it is there answers within this; with the start of a command it
makes the five seconds of protocol §13."""
QUIET_SECONDS = 2.0
"""After so long without an answer, and again after as long, it is asked that once more."""
TRIES = 100
"""So often a connection is tried while too many others wait for theirs."""
ALIVE = "/alive"
EXITS = {400: Exit.MALFORMED, 404: Exit.REFUSED, 409: Exit.REFUSED}
PEER = "3i"
"""Process, user and group, as the system says them."""


class RequestRefused(OperatorError):
    """The daemon said no.

    Attributes:
        problem: the problem details it gave.
        passing: it is no word on what was asked; the same may be taken in a moment.
    """

    def __init__(self, problem: dict[str, Any], status: int) -> None:
        super().__init__(str(problem.get("detail", status)), EXITS.get(status, Exit.ENVIRONMENT))
        self.problem = problem
        self.passing = status == http.client.SERVICE_UNAVAILABLE


class _Connection(http.client.HTTPConnection):
    """A connection to the socket.

    Attributes:
        pid: the process that listens there; 0 if the system does not say.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self.pid = 0
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host.

        Raises:
            TimeoutError: too many others wait.
        """
        for _ in range(TRIES):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            try:
                self.sock.connect(str(self._path))
            except BlockingIOError:
                self.sock.close()
                time.sleep(ANSWER_SECONDS / TRIES)
            else:
                self.pid = _pid_behind(self.sock)
                return
        raise TimeoutError

    def send_request(self, method: str, path: str, body: object) -> None:
        """Send a question, with its body as JSON."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"} if data is not None else {}
        self.request(method, path, data, headers)


def _pid_behind(sock: socket.socket) -> int:
    """The process that listens on the other side; 0 if the system does not say."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return 0
    peer = sock.getsockopt(socket.SOL_SOCKET, option, struct.calcsize(PEER))
    found: int = struct.unpack(PEER, peer)[0]
    return found


class _Watch(threading.Thread):
    """Ends a connection if its daemon answers nobody any longer, so that nobody waits for it.

    Attributes:
        silent: that is what happened.
    """

    def __init__(self, path: Path, connection: _Connection) -> None:
        super().__init__(daemon=True)
        self.silent = False
        self._path = path
        self._sock = connection.sock
        self._over = threading.Event()

    def run(self) -> None:
        """Look again and again, until it is over."""
        while not self._over.wait(QUIET_SECONDS):
            if not _is_there(self._path, ANSWER_SECONDS - QUIET_SECONDS):
                self.silent = not self._over.is_set()
                with contextlib.suppress(OSError):  # closed meanwhile
                    self._sock.shutdown(socket.SHUT_RDWR)
                return

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()


def _is_there(path: Path, seconds: float) -> bool:
    """Whether a daemon answers at all; one that has gone is for who waits to notice."""
    connection = _Connection(path, seconds)
    try:
        connection.send_request("GET", ALIVE, None)
        connection.getresponse().read()
    except TimeoutError:
        return False
    except (OSError, http.client.HTTPException):
        return True
    finally:
        connection.close()
    return True


class Client:
    """One daemon's local API.

    Args:
        seconds: how long an answer may take.
    """

    def __init__(self, path: Path, seconds: float = SECONDS_MAX) -> None:
        self._path = path
        self._seconds = seconds
        self._met = False

    def ask(
        self, method: str, path: str, body: object = None, *, of_any_version: bool = False
    ) -> Any:
        """One question, one answer.

        Args:
            of_any_version: take the answer whatever version the daemon speaks: to stop it, say.

        Raises:
            NoDaemon: nobody answers, or not within five seconds.
            Refused: the daemon said no.
            OtherVersion: it speaks another version than this side.
            Trouble: there is no way to it, or its answer takes too long.
        """
        with self._asking(method, path, body, self._seconds) as response:
            data = response.read()
        return _read(response, data, of_any_version=of_any_version)

    def stream(self, path: str) -> Iterator[dict[str, Any]]:
        """The objects of a stream, as they come.

        Raises:
            NoDaemon: nobody answers, or not within five seconds.
            Refused: the daemon said no.
            OtherVersion: the daemon speaks another version than this side.
            Trouble: there is no way to it.
        """
        with self._asking("GET", path, None, None) as response:
            if response.status >= http.client.BAD_REQUEST:
                _read(response, response.read())
            _check_version(response)
            for line in response:
                if line.strip():
                    yield json.loads(line)

    @contextlib.contextmanager
    def _asking(
        self, method: str, path: str, body: object, seconds: float | None
    ) -> Iterator[http.client.HTTPResponse]:
        """A question and the beginning of its answer, whose rest may be waited for in the block."""
        connection = _Connection(self._path, min(ANSWER_SECONDS, self._seconds))
        watch = None
        try:
            connection.connect()
            # Before anything is sent: what a stopped daemon was sent, it does when it goes on.
            if not (self._met or _is_there(self._path, min(ANSWER_SECONDS, self._seconds))):
                raise Silent(str(self._path), connection.pid)
            self._met = True
            connection.sock.settimeout(seconds)
            watch = _Watch(self._path, connection)
            with watch:
                connection.send_request(method, path, body)
                yield connection.getresponse()
            if watch.silent:  # a stream that ended because of it has no other fault
                raise ConnectionAbortedError
        except (ConnectionError, FileNotFoundError, http.client.HTTPException) as fault:
            if watch is not None and watch.silent:
                raise Silent(str(self._path), connection.pid, asked=True) from fault
            raise NoDaemon(str(self._path), asked=watch is not None) from fault
        except TimeoutError as fault:
            if watch is None:
                raise Silent(str(self._path), 0) from fault
            raise OperatorError(
                f"the daemon at {self._path} is there, but has not answered this for "
                f"{self._seconds:.0f} s; what was asked may be done all the same"
            ) from fault
        except OSError as fault:
            raise OperatorError(f"cannot ask the daemon at {self._path}: {fault}") from fault
        finally:
            connection.close()


def _read(response: http.client.HTTPResponse, data: bytes, *, of_any_version: bool = False) -> Any:
    """The answer that is in a response.

    Raises:
        Refused: the daemon said no.
        OtherVersion: it speaks another version than this side.
        Trouble: it is cut off.
    """
    if not of_any_version:
        _check_version(response)
    try:
        answer = json.loads(data) if data else None
    except ValueError as fault:
        raise OperatorError(
            "the daemon ended before it answered; ask again once it runs"
        ) from fault
    if response.status >= http.client.BAD_REQUEST:
        raise RequestRefused(answer if isinstance(answer, dict) else {}, response.status)
    return answer


def _check_version(response: http.client.HTTPResponse) -> None:
    """See that the answer is one that this side reads as it was meant.

    Raises:
        OtherVersion: the daemon speaks another version.
    """
    said = (response.headers.get(name, "") for name in (version.API_HEADER, version.SERVER_HEADER))
    wrong = version.why_not(*said)
    if wrong:
        raise OtherVersion(wrong)


def segment(text: str) -> str:
    """A part of a path, whatever it holds."""
    return quote(text, safe="")
