"""Asks the daemon: HTTP and JSON over its Unix socket, with nothing but the standard library.

Stands between the command line and ``node/api``; light, so that every command is quick. What a
daemon of another version answers is not read (``node/api/version.py``).
"""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from node.api import version
from node.cli.exits import Exit
from node.errors import NoDaemon, OtherVersion, Trouble

SECONDS_MAX = 70.0
EXITS = {400: Exit.MALFORMED, 404: Exit.REFUSED, 409: Exit.REFUSED}


class Refused(Trouble):
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
    def __init__(self, path: Path, seconds: float | None) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Client:
    """One daemon's local API.

    Args:
        seconds: how long an answer may take.
    """

    def __init__(self, path: Path, seconds: float = SECONDS_MAX) -> None:
        self._path = path
        self._seconds = seconds

    def ask(
        self, method: str, path: str, body: object = None, *, of_any_version: bool = False
    ) -> Any:
        """One question, one answer.

        Args:
            of_any_version: take the answer whatever version the daemon speaks: to stop it, say.

        Raises:
            NoDaemon: nobody answers.
            Refused: the daemon said no.
            OtherVersion: it speaks another version than this side.
            Trouble: there is no way to it.
        """
        connection = _Connection(self._path, self._seconds)
        try:
            response = self._send(connection, method, path, body)
            data = response.read()
        except (ConnectionError, FileNotFoundError, http.client.HTTPException) as fault:
            raise NoDaemon(str(self._path)) from fault
        except OSError as fault:
            raise Trouble(f"cannot ask the daemon at {self._path}: {fault}") from fault
        finally:
            connection.close()
        if not of_any_version:
            _check_version(response)
        try:
            answer = json.loads(data) if data else None
        except ValueError as fault:
            raise Trouble("the daemon ended before it answered; ask again once it runs") from fault
        if response.status >= http.client.BAD_REQUEST:
            raise Refused(answer if isinstance(answer, dict) else {}, response.status)
        return answer

    def stream(self, path: str) -> Iterator[dict[str, Any]]:
        """The objects of a stream, as they come.

        Raises:
            NoDaemon: nobody answers.
            OtherVersion: the daemon speaks another version than this side.
        """
        connection = _Connection(self._path, None)
        try:
            response = self._send(connection, "GET", path, None)
            _check_version(response)
            for line in response:
                if line.strip():
                    yield json.loads(line)
        except (ConnectionError, FileNotFoundError, http.client.HTTPException) as fault:
            raise NoDaemon(str(self._path)) from fault
        finally:
            connection.close()

    @staticmethod
    def _send(
        connection: _Connection, method: str, path: str, body: object
    ) -> http.client.HTTPResponse:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"} if data is not None else {}
        connection.request(method, path, data, headers)
        return connection.getresponse()


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
