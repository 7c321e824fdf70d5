"""A client of the daemon's local API: HTTP and JSON over its Unix socket.

It uses the standard library only, so that commands start quickly. Before the first request, and
while it waits for an answer, the client polls ``GET /alive``: a stopped or overloaded daemon is
detected within five seconds, however long the answer itself may take. Answers of a daemon with
another API version are not read (``node/api/version.py``). Source: protocol §13.
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
"""Time limit of ``GET /alive``; with the start of a command, the five seconds of protocol §13."""
QUIET_SECONDS = 2.0
"""Interval of ``GET /alive`` while an answer is awaited."""
TRIES = 100
"""Attempts to connect while the socket's backlog is full."""
ALIVE = "/alive"
EXITS = {400: Exit.MALFORMED, 404: Exit.REFUSED, 409: Exit.REFUSED}
PEER = "3i"
"""The format of ``SO_PEERCRED``: process, user and group."""


class RequestRefused(OperatorError):
    """The daemon refused a request.

    Attributes:
        problem: its problem details (RFC 9457), as decoded JSON.
        passing: the refusal is temporary (503): the same request may succeed later.
    """

    def __init__(self, problem: dict[str, Any], status: int) -> None:
        super().__init__(str(problem.get("detail", status)), EXITS.get(status, Exit.ENVIRONMENT))
        self.problem = problem
        self.passing = status == http.client.SERVICE_UNAVAILABLE


class _Connection(http.client.HTTPConnection):
    """An HTTP connection over a Unix socket.

    Attributes:
        pid: the process that listens; 0 if the system does not provide it.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self.pid = 0
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host.

        Raises:
            TimeoutError: the socket's backlog stayed full.
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
        """Send a request, with its body as JSON."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"} if data is not None else {}
        self.request(method, path, data, headers)


def _pid_behind(sock: socket.socket) -> int:
    """The process that listens on the other side; 0 if the system does not provide it."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return 0
    peer = sock.getsockopt(socket.SOL_SOCKET, option, struct.calcsize(PEER))
    found: int = struct.unpack(PEER, peer)[0]
    return found


class _Watch(threading.Thread):
    """Closes a connection whose daemon no longer answers ``GET /alive``.

    Attributes:
        silent: whether the connection was closed for that reason.
    """

    def __init__(self, path: Path, connection: _Connection) -> None:
        super().__init__(daemon=True)
        self.silent = False
        self._path = path
        self._sock = connection.sock
        self._finished = threading.Event()

    def run(self) -> None:
        """Poll until the request has finished."""
        while not self._finished.wait(QUIET_SECONDS):
            if not _is_alive(self._path, ANSWER_SECONDS - QUIET_SECONDS):
                self.silent = not self._finished.is_set()
                with contextlib.suppress(OSError):  # already closed
                    self._sock.shutdown(socket.SHUT_RDWR)
                return

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finished.set()


def _is_alive(path: Path, seconds: float) -> bool:
    """Whether a daemon answers in time; ``True`` also if it is gone, which the request detects."""
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
    """A client of one daemon.

    Args:
        path: the daemon's Unix socket, as in ``Home.socket``.
        seconds: the time limit of an answer, in seconds.
    """

    def __init__(self, path: Path, seconds: float = SECONDS_MAX) -> None:
        self._path = path
        self._seconds = seconds
        self._alive = False

    def ask(
        self, method: str, path: str, body: object = None, *, of_any_version: bool = False
    ) -> Any:
        """Send a request and return the answer as decoded JSON; ``None`` if it has no body.

        Args:
            method: the HTTP method.
            path: the path with its query; pass parts of it through ``segment``.
            body: a value that ``json`` can encode, or ``None`` for no body.
            of_any_version: accept the answer of a daemon with another API version.

        Raises:
            NoDaemon: no daemon answers, or none within five seconds.
            RequestRefused: the daemon refused the request.
            OtherVersion: the daemon has another API version.
            OperatorError: the socket cannot be opened, or the answer takes too long.
        """
        with self._asking(method, path, body, self._seconds) as response:
            data = response.read()
        return _read(response, data, of_any_version=of_any_version)

    def stream(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield the JSON objects of a stream as they arrive, such as those of ``/events``.

        Args:
            path: the path with its query.

        Raises:
            NoDaemon: no daemon answers, or none within five seconds.
            RequestRefused: the daemon refused the request.
            OtherVersion: the daemon has another API version.
            OperatorError: the socket cannot be opened.
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
        """Send a request; the answer's body is read inside the block, watched by ``_Watch``."""
        connection = _Connection(self._path, min(ANSWER_SECONDS, self._seconds))
        watch = None
        try:
            connection.connect()
            # Before the request is sent: a stopped daemon would carry it out once it is continued.
            if not (self._alive or _is_alive(self._path, min(ANSWER_SECONDS, self._seconds))):
                raise Silent(str(self._path), connection.pid)
            self._alive = True
            connection.sock.settimeout(seconds)
            watch = _Watch(self._path, connection)
            with watch:
                connection.send_request(method, path, body)
                yield connection.getresponse()
            if watch.silent:  # a stream that _Watch ended raises nothing by itself
                raise ConnectionAbortedError
        except (ConnectionError, FileNotFoundError, http.client.HTTPException) as fault:
            if watch is not None and watch.silent:
                raise Silent(str(self._path), connection.pid, asked=True) from fault
            raise NoDaemon(str(self._path), asked=watch is not None) from fault
        except TimeoutError as fault:
            if watch is None:
                raise Silent(str(self._path), 0) from fault
            raise OperatorError(
                f"the daemon at {self._path} is running, but has not answered this request for "
                f"{self._seconds:.0f} s; it may still carry it out"
            ) from fault
        except OSError as fault:
            raise OperatorError(f"cannot ask the daemon at {self._path}: {fault}") from fault
        finally:
            connection.close()


def _read(response: http.client.HTTPResponse, data: bytes, *, of_any_version: bool = False) -> Any:
    """Decode the body of a response.

    Raises:
        RequestRefused: the daemon refused the request.
        OtherVersion: the daemon has another API version.
        OperatorError: the body is cut off.
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
    """Check the API version of the daemon that answered.

    Raises:
        OtherVersion: the daemon has another API version.
    """
    headers = (
        response.headers.get(name, "") for name in (version.API_HEADER, version.SERVER_HEADER)
    )
    mismatch = version.mismatch(*headers)
    if mismatch:
        raise OtherVersion(mismatch)


def segment(text: str) -> str:
    """Quote a part of a URL's path.

    >>> segment("a/b")
    'a%2Fb'
    """
    return quote(text, safe="")
