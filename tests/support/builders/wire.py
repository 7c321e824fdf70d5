"""A caller that writes its own TLS, HTTP and websocket frames: whatever bytes it is told."""

import asyncio
import base64
import contextlib
import os

from node.network import tls

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
ELSEWHERE = "127.0.0.2"
"""Another place on this host: what is done there is not held against 127.0.0.1."""
KNOCK_SECONDS = 0.25
"""How often one place may knock in the long run (``node/network/connection_limits.py``)."""


class Wire:
    """One connection, by hand."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def write(self, data):
        """Send as much as the other side takes; it may hang up at any time."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def upgrade(self, *headers, path="/"):
        """Ask for a websocket; gives the head of the answer, or nothing where there is none."""
        await self.write(request(*headers, path=path))
        return await self.head()

    async def head(self):
        try:
            return await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def close_code(self):
        """Read frames to the end; the code of the close frame, or 0 where the line was cut."""
        code = 0
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                opcode, data = await self.frame()
                if opcode == CLOSE:
                    code = int.from_bytes(data[:2], "big")
        return code

    async def frame(self):
        first, size = await self.reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.reader.readexactly(8), "big")
        return first & 15, await self.reader.readexactly(size)

    async def gone(self):
        """Whether the other side hangs up; waits until it does."""
        try:
            while await self.reader.read(4096):
                pass
        except ConnectionError:
            pass
        return True


def request(*headers, path="/"):
    lines = [
        f"GET {path} HTTP/1.1".encode(),
        b"Host: x",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def frame(opcode, data=b"", *, fin=True, rsv=0, announce=None):
    """A masked frame; ``announce`` says another length than the data has."""
    size = len(data) if announce is None else announce
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 2**16:
        head += b"\xfe" + size.to_bytes(2, "big")
    else:
        head += b"\xff" + size.to_bytes(8, "big")
    return head + bytes(4) + data  # a mask of zeros changes nothing


@contextlib.asynccontextmanager
async def wire(address, *, secure=True, source=ELSEWHERE):
    """Connect, with TLS or without."""
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(
        host,
        int(port),
        ssl=tls.client_context() if secure else None,
        local_addr=(source, 0),
    )
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def crowd(address, places):
    """Callers at so many addresses; each says nothing, and knocks again once he is cut off."""

    async def knock_for_ever(source):
        while True:
            with contextlib.suppress(OSError):
                async with wire(address, secure=False, source=source) as one:
                    await one.gone()
            await asyncio.sleep(KNOCK_SECONDS)

    tasks = [
        asyncio.create_task(knock_for_ever(f"127.{9 + number // 250}.0.{number % 250 + 1}"))
        for number in range(places)
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
