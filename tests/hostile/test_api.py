"""The local API of a real daemon, on its Unix socket, as raw bytes."""

import contextlib
import json
import socket

import pytest

from node.api import version
from node.api.app import BODY_BYTES_MAX
from node.api.server import CALLERS_MAX, CROWD_MAX
from node.system.home import Home
from tests.support.harness.daemons import Fleet, Node, eventually
from tests.support.harness.hostile_cluster import peak_of

pytestmark = pytest.mark.timeout(300)
JSON = b"Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def den(tmp_path_factory):
    with Fleet(tmp_path_factory.mktemp("api")) as fleet:
        den = fleet.found()
        den.gangline("add", "s-1")
        yield den
        assert "Traceback" not in den.log()


def say(den: Node, data, *, most=1 << 20):
    """Raw bytes; gives everything that comes back until the daemon hangs up or falls silent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(60)
        line.connect(str(Home(den.home).socket))
        heard = b""
        try:
            line.sendall(data)
            while len(heard) < most and (part := line.recv(65536)):
                heard += part
        except ConnectionError:
            pass
        return heard


def post(body, *headers, path=b"/stories/s-9"):
    head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + b"".join(headers)
    return head + b"\r\n" + body


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def alive(den):
    return den.status()["stories"]


@pytest.mark.parametrize(
    "asked",
    [
        b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /nonesuch HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        post(b"{", JSON, b"Content-Length: 1\r\n"),
    ],
)
def test_every_answer_says_which_version_of_the_api_it_is_of(den, asked):
    answer = say(den, asked).lower()
    assert answer.count(f"\r\ngangline-api: {version.API}\r\n".encode()) == 1
    assert answer.count(f"\r\nserver: gangline/{version.release()}\r\n".encode()) == 1
    assert answer.count(b"\r\nserver: ") == 1


def test_a_page_in_a_browser_cannot_reach_it(den):
    """Nothing of the local API listens on TCP, so that there is no origin to check."""
    addresses = den.status()["listen"]
    host, port = addresses.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as line:
        line.sendall(b"GET /status HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in line.recv(4096)  # the links' port, which wants TLS
    assert Home(den.home).socket.stat().st_mode & 0o077 == 0


def chunked(*chunks):
    return b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in chunks)


def test_a_body_over_its_bound_is_refused_however_it_comes(den):
    for size in (BODY_BYTES_MAX + 1, 10 * BODY_BYTES_MAX):
        body = json.dumps({"title": "x" * size}).encode()
        told = say(den, post(body, JSON, b"Content-Length: %d\r\n" % len(body)))
        assert status_of(told) in (0, 413)
        told = say(den, post(chunked(body, b""), JSON, b"Transfer-Encoding: chunked\r\n"))
        assert status_of(told) in (0, 413)
    assert alive(den) == {"backlog": 1}


def test_a_body_that_is_announced_and_never_ends_costs_nothing(den):
    head = post(b"{", JSON, b"Content-Length: %d\r\n" % 2**40)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(str(Home(den.home).socket))
        line.sendall(head)
        assert alive(den) == {"backlog": 1}


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Type: text/plain\r\n",
        b"Content-Type: application/x-www-form-urlencoded\r\n",
        b"Content-Type: multipart/form-data; boundary=x\r\n",
        b"Content-Type: application/jsonp\r\n",
        b"Content-Type: \xff\r\n",
    ],
)
def test_a_body_of_another_type_is_not_taken(den, header):
    told = say(den, post(b"{}", header, b"Content-Length: 2\r\n"))
    assert status_of(told) in (400, 415)
    assert alive(den) == {"backlog": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000, b'{"title":' + b"[" * 60_000, b'{"x":' + b'{"a":' * 12_000, b"\xff\xfe",
        b'{"title":"\\ud800"}', b'{"title":NaN}', b'{"title":1e400}', b'{"title":' + b"9" * 5000,
        b'{"title":"a","title":"\\u001b"}', b"null", b"", b'{"admin":true}',
        b'{"labels":["../../etc"]}', b'{"title":"\xff"}', b'{"title":"\xed\xa0\x80"}', b"\x80",
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
def test_a_body_that_is_none_is_malformed_in_words(den, body):
    told = say(den, post(body, JSON, b"Content-Length: %d\r\n" % len(body)))
    assert status_of(told) == 400
    assert b'"title":"malformed"' in told
    assert alive(den) == {"backlog": 1}


@pytest.mark.parametrize(
    "path",
    [
        b"/stories/%2e%2e%2f%2e%2e%2fetc%2fpasswd", b"/stories/..", b"/stories/%00",
        b"/stories/a%0d%0aX: y", b"/stories/" + b"a" * 300, b"/stories/%ff%fe", b"/../node.key",
        b"//etc/passwd", b"/stories/%e2%80%ae",
    ],
)  # fmt: skip
def test_a_path_is_no_file_and_no_id(den, path):
    told = say(den, post(b"{}", JSON, b"Content-Length: 2\r\n", path=path))
    assert 400 <= status_of(told) < 500
    assert b"gangline-ed25519" not in told
    assert alive(den) == {"backlog": 1}


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 1000, b"GET /status\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /status HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        post(b"{}", b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", path=b"/stories/s-8"),
        (b"GET /status HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"),
    ],
    ids=["nul", "HTTP/0.9", "HTTP/2", "headers", "a long path", "smuggled", "websocket"],
)  # fmt: skip
def test_what_is_no_request_harms_nobody(den, data):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(5)
        line.connect(str(Home(den.home).socket))
        try:
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
            heard = line.recv(4096)
        except (ConnectionError, TimeoutError):
            heard = b""
    assert status_of(heard) not in (101, 202, 500)
    assert alive(den) == {"backlog": 1}


@pytest.mark.parametrize("limit", [-1, 2**53, 2**63, 2**64, 10**30])
def test_a_number_of_rows_that_no_table_has_is_malformed(den, limit):
    asked = b"GET /inspect/history?limit=%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    told = say(den, asked % limit)
    assert status_of(told) == 400
    assert b"limit: from 0 to" in told


def test_who_asks_for_half_of_it_is_not_waited_for(den):
    halves = (b"", b"GET /sta", post(b"{", JSON, b"Content-Length: 60000\r\n"))
    whole = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"
    lines = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(4)]
    for line, half in zip(lines, (*halves, whole + b"GET /sta"), strict=True):
        line.settimeout(60)
        line.connect(str(Home(den.home).socket))
        line.sendall(half)
    for line in lines:
        with contextlib.suppress(ConnectionError):
            while line.recv(65536):
                pass
        line.close()


def test_more_callers_than_there_is_room_for_are_told_so_and_logged_once(den):
    lines = []
    try:
        for _ in range(CALLERS_MAX):
            line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            line.connect(str(Home(den.home).socket))
            lines.append(line)
        told = den.gangline("stories", code=1)
        assert told.startswith(f"gangline: {CALLERS_MAX} local callers are connected already")
        asked = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"
        assert {status_of(say(den, asked)) for _ in range(CROWD_MAX)} == {503}
    finally:
        for line in lines:
            line.close()
    eventually(den.answers, "it answers again")
    assert den.log().count("local callers are connected already") == 1


def test_many_callers_at_once_leave_it_answering(den):
    lines = []

    def crowd():
        for _ in range(100):
            line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            line.settimeout(60)
            line.connect(str(Home(den.home).socket))
            line.sendall(b"GET /status HTTP/1.1\r\n")
            lines.append(line)

    try:
        assert peak_of(crowd) < 1 << 20
        assert alive(den) == {"backlog": 1}
    finally:
        for line in lines:
            line.close()
