import asyncio
import errno
import os
import socket

import pytest

from node.system import accepting_socket
from node.system.accepting_socket import AcceptingSocket


class Starved(AcceptingSocket):
    """A listening socket of a process that has no descriptor left, for a while."""

    tries = 0
    starved = True

    def _accept(self):
        self.tries += 1
        self.starved = self.starved and self.tries < 5
        if self.starved:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super()._accept()


@pytest.fixture
def listening(tmp_path):
    with Starved(socket.AF_UNIX, socket.SOCK_STREAM) as found:
        found.setblocking(False)
        found.bind(str(tmp_path / "socket"))
        found.listen()
        yield found


def test_running_out_of_descriptors_is_logged_once(listening, caplog, monkeypatch):
    monkeypatch.setattr(asyncio.constants, "ACCEPT_RETRY_DELAY", 0)

    async def call():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(accepting_socket.handler())
        came = asyncio.Event()

        async def serve(_reader, writer):
            came.set()
            writer.close()

        server = await asyncio.start_unix_server(serve, sock=listening, backlog=100)
        _, writer = await asyncio.open_unix_connection(listening.getsockname())
        await came.wait()
        writer.close()
        server.close()

    asyncio.run(call())
    [said] = caplog.records
    assert "Too many open files" in said.message
    assert "LimitNOFILE" in said.message
    assert said.exc_info is None


def test_asyncio_retries_accept_only_once(listening):
    with pytest.raises(OSError, match="Too many open files"):
        listening.accept()
    with pytest.raises(BlockingIOError):
        listening.accept()
    assert listening.tries == 1


def test_what_else_a_loop_cannot_raise_is_logged_as_ever(caplog):
    async def fail():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(accepting_socket.handler())
        loop.call_exception_handler({"message": "odd", "exception": OSError(errno.EMFILE, "x")})

    asyncio.run(fail())
    assert [record.message for record in caplog.records] == ["odd"]


def test_a_connection_that_asyncio_ends_twice_is_no_news(caplog):
    async def end():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(accepting_socket.handler())
        one, other = socket.socketpair()
        with other:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=one)
            transport.abort()
            loop.call_soon(transport._call_connection_lost, ConnectionResetError())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            loop.call_exception_handler({"message": "odd", "exception": AttributeError("odd")})

    asyncio.run(end())
    assert [record.message for record in caplog.records] == ["odd"]
