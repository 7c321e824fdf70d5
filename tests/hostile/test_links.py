"""What a stranger, or a member gone bad, may write on the socket: real TLS on loopback."""

import asyncio
import contextlib
import logging

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, WebSocketException

from crdt.primitives import limits
from crdt.primitives.identity import ClusterId
from machines.codec import enc_hook
from machines.values import Instant
from node.network import connection_limits as doors
from node.network import handshake, source_addresses, tls
from node.network.handshake import Hello, HelloRefused, Identity, ProofMessage, Welcome, dial
from node.network.link import OPTIONS, Link, reach
from node.system import clock
from tests.support.builders.cluster import START, key
from tests.support.builders.wire import BINARY, ELSEWHERE, PING, TEXT, crowd, frame, request, wire
from tests.support.harness.hostile_cluster import peak_of
from tests.support.harness.listening import listening, until

NOW = Instant(START)
MEMBER = key(2)
PATIENCE = 60


@pytest.fixture(autouse=True)
async def nothing_escapes(caplog):
    """No exception is left to the loop, and no traceback is logged."""
    escaped = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: escaped.append(what))
    yield
    assert not escaped
    assert not [row for row in caplog.records if row.exc_info or row.levelno >= logging.ERROR]


@pytest.fixture
async def node(tmp_path, monkeypatch):
    monkeypatch.setattr(source_addresses, "BAN_SECONDS_MIN", 300.0)  # however slow the machine
    async with asyncio.timeout(PATIENCE), listening(tmp_path, MEMBER.pubkey) as node:
        yield node


async def come_in(node, who=MEMBER):
    """A link as an honest member opens it, from a place of its own."""
    link, _ = await reach(node.address, node.me.key.pubkey, Identity(who, node.me.cluster), NOW)
    return link


async def run_to_end(link):
    async def ignored(_link, _data):
        pass

    return await asyncio.wait_for(link.run(ignored), PATIENCE)


async def unharmed(node):
    """A member comes in, says what a member says, and goes."""
    link = await come_in(node)
    told = []

    async def received(_link, data):
        told.append(data)
        _link.drop("enough")

    assert await asyncio.wait_for(link.run(received), PATIENCE) == "enough"
    assert told[0][:2] == b"\x00\x00"
    await until(lambda: not node.driver.links)


def hello(listener, **changed):
    first = Hello(1, listener.me.cluster.hex(), MEMBER.pubkey, "00" * 32, "session")
    return msgspec.json.encode(msgspec.structs.replace(first, **changed), enc_hook=enc_hook)


# --- before HTTP ---------------------------------------------------------------------------


async def test_half_open_sockets_are_bounded_and_leave_room_for_a_member(node):
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(60):
            with contextlib.suppress(ConnectionError):
                await stack.enter_async_context(wire(node.address, secure=False))
            assert len(node.limiter.unauthenticated) <= doors.PREFIX_CONNECTIONS_MAX
        await until(lambda: len(node.limiter.unauthenticated) == doors.PREFIX_CONNECTIONS_MAX)
        await unharmed(node)
        turned = node.limiter.refusals
        await until(
            lambda: turned["busy"] + turned["gave_way"] >= 60 - doors.PREFIX_CONNECTIONS_MAX
        )
    await until(lambda: not node.limiter.unauthenticated)


async def test_a_crowd_from_many_places_keeps_no_member_out(node):
    await unharmed(node)  # it was here before
    async with crowd(node.address, 50):
        await until(lambda: len(node.limiter.unauthenticated) == limits.LINKS_BEFORE_HELLO_MAX)
        for _ in range(5):
            await unharmed(node)
    await until(lambda: not node.limiter.unauthenticated)


async def test_a_crowd_from_many_places_keeps_nobody_out_for_ever(node):
    """Who was never here needs several tries, and gets room."""
    me = Identity(MEMBER, node.me.cluster)
    async with crowd(node.address, 50):
        await until(lambda: node.limiter.refusals["gave_way"] > limits.LINKS_BEFORE_HELLO_MAX)
        accepted = None
        while accepted is None:
            with contextlib.suppress(OSError, WebSocketException):
                async with plain(node, "127.8.0.1") as (socket, certificate):
                    _, accepted = await dial(socket, me, node.me.key.pubkey, certificate, NOW)


@pytest.mark.parametrize("data", [b"", b"\x16", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x40\x00"])
async def test_who_never_finishes_tls_is_cut_off(node, monkeypatch, data):
    monkeypatch.setattr(limits, "HELLO_SECONDS_MAX", 0.2)
    async with wire(node.address, secure=False) as one:
        await one.write(data)
        assert await one.gone()
    await until(lambda: not node.limiter.unauthenticated)
    monkeypatch.undo()
    await unharmed(node)


async def test_garbage_instead_of_tls_is_no_error_of_ours(node):
    async with wire(node.address, secure=False) as one:
        await one.write(b"\x00" * 5000)
        assert await one.gone()
    await unharmed(node)


# --- HTTP ----------------------------------------------------------------------------------


async def test_a_byte_a_second_gets_five_seconds_in_all(node, monkeypatch):
    """Slowloris: each byte is progress, and none of them buys time."""
    monkeypatch.setattr(limits, "HELLO_SECONDS_MAX", 0.5)
    async with wire(node.address) as one:

        async def drip():
            for byte in request(b"X: " + b"x" * 10_000):
                await one.write(bytes([byte]))
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        assert await one.gone()
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
    assert node.limiter.refusals["too_slow"] == 1
    monkeypatch.undo()
    await unharmed(node)


@pytest.mark.parametrize(
    "headers",
    [
        [b"X-%d: y" % number for number in range(5000)],
        [b"X: " + b"y" * 60_000],
        [b"X" * 60_000],
        [b"X: " + b"y" * (2 * limits.HELLO_BYTES_MAX)],
    ],
    ids=["5,000 of them", "a long one", "a long name", "more than a stranger may send"],
)
async def test_a_flood_of_headers_ends_the_connection(node, headers):
    async with wire(node.address) as one:
        assert b" 101 " not in await one.upgrade(*headers)
        assert await one.gone()
    await until(lambda: not node.limiter.unauthenticated)
    await unharmed(node)


@pytest.mark.parametrize(
    "header",
    [
        b"Sec-WebSocket-Protocol: \xff\xfe\x80",
        b"Sec-WebSocket-Protocol: caf\xc3\xa9",
        b"Sec-WebSocket-Protocol: \x00",
        b"Sec-WebSocket-Protocol: a, b; c",
        b"Sec-WebSocket-Extensions: permessage-deflate; \xff",
        b"Origin: \xff",
    ],
    ids=lambda header: repr(header[-12:]),
)
async def test_a_header_that_is_not_ascii_raises_nothing(node, header):
    """CVE-2018-1000518's neighbours: what is odd is refused or let be, and harms nobody."""
    async with wire(node.address) as one:
        head = await one.upgrade(header)
        assert b" 500 " not in head
        assert b"Sec-WebSocket-Protocol" not in head
    await unharmed(node)


async def test_compression_that_is_offered_is_not_taken(node):
    async with wire(node.address) as one:
        head = await one.upgrade(
            b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
        )
        assert b" 101 " in head
        assert b"extensions" not in head.lower()
        # A frame that says it is compressed all the same is never inflated.
        await one.write(frame(BINARY, b"\x00" * 100, rsv=4))
        assert await one.close_code() in (0, 1002)
    await unharmed(node)


# --- frames before the hello ---------------------------------------------------------------


@pytest.mark.parametrize("announce", [2**30, 2**40, 2**63 - 1, limits.FRAME_BYTES_MAX + 1])
async def test_a_giant_that_is_announced_is_refused_on_its_length(node, announce):
    async with wire(node.address) as one:
        await one.upgrade()
        await one.write(frame(BINARY, b"x" * 10, announce=announce))
        assert await one.close_code() in (1002, 1009)
    await unharmed(node)


async def test_fragments_without_end_are_cut_off(node):
    async with wire(node.address) as one:
        await one.upgrade()
        await one.write(frame(BINARY, b"{", fin=False))
        for _ in range(200):
            await one.write(frame(0, b" " * 1000, fin=False))
        assert await one.close_code() in (0, 1009)
        assert await one.gone()
    assert node.limiter.refusals["too_large"] == 1
    await unharmed(node)


async def test_empty_fragments_and_pings_count_as_bytes(node):
    async with wire(node.address) as one:
        await one.upgrade()
        await one.write(frame(BINARY, b"", fin=False))
        for _ in range(300):
            await one.write(frame(0, b"", fin=False) * 20 + frame(PING, b"p" * 100))
        assert await one.gone()
    await until(lambda: not node.limiter.unauthenticated)
    await unharmed(node)


async def test_a_hello_in_fragments_is_a_hello(node):
    async with wire(node.address) as one:
        await one.upgrade()
        data = hello(node)
        await one.write(frame(BINARY, data[:9], fin=False) + frame(0, data[9:]))
        _, answer = await one.frame()
        assert b'"welcome"' in answer


async def first_answer(node, data, opcode=BINARY):
    async with wire(node.address) as one:
        assert b" 101 " in await one.upgrade()
        await one.write(frame(opcode, data))
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            return (await one.frame())[1]
    return b""


MALFORMED = {
    "nothing": b"",
    "garbage": b"\xff\xfe",
    "no object": b"[]",
    "deep": b"[" * 60_000,
    "deep under an unknown field": b'{"type":"hello","x":' + b"[" * 60_000,
    "deep under the type": b'{"type":' + b"[" * 60_000,
    "deep in another version": b'{"type":"hello","version":9,"x":' + b'{"a":' * 12_000,
    "an unknown type": b'{"type":"admin"}',
    "a field twice": b'{"type":"hello","type":"hello"}',
    "a giant number": b'{"type":"hello","version":' + b"9" * 5000 + b"}",
    "1e400": b'{"type":"hello","version":1e400}',
    "the second message first": b'{"type":"proof","at":"2026-11-24T10:00:00.000Z","signature":""}',
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_hello_is_refused_in_one_word_and_keeps_its_place_out(node, name):
    assert b"malformed_frame" in await first_answer(node, MALFORMED[name])
    await until(node.limiter.active_bans)
    assert [(row.who, row.reason) for row in node.limiter.active_bans()] == [
        (ELSEWHERE, "malformed_frame")
    ]
    await unharmed(node)


async def test_a_hello_as_text_is_refused(node):
    assert b"malformed_frame" in await first_answer(node, hello(node), TEXT)


async def test_who_hangs_up_before_he_is_refused_is_kept_out_all_the_same(node):
    async with wire(node.address) as one:
        await one.upgrade()
        await one.write(frame(BINARY, b"garbage"))
        one.writer.transport.abort()
    await until(node.limiter.active_bans)
    assert node.limiter.active_bans()[0].reason == "malformed_frame"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"version": 2}, "wrong_version"),
        ({"cluster": "00" * 32}, "wrong_cluster"),
        ({"node": key(3).pubkey}, "not_a_member"),
        ({"nonce": "00"}, "malformed_frame"),
        ({"nonce": "zz" * 32}, "malformed_frame"),
    ],
)
async def test_what_is_cheap_to_refuse_costs_no_signature(node, monkeypatch, changed, reason):
    costs = []
    monkeypatch.setattr(handshake, "verify_batch", lambda jobs: costs.append("check") or [False])
    signing = type(node.me.key).sign
    monkeypatch.setattr(type(node.me.key), "sign", lambda *a: costs.append("sign") or signing(*a))
    assert reason.encode() in await first_answer(node, hello(node, **changed))
    assert costs == []


async def test_a_proof_that_proves_nothing_costs_one_check(node, monkeypatch):
    checks = []
    check = handshake.verify_batch
    monkeypatch.setattr(handshake, "verify_batch", lambda jobs: checks.append(jobs) or check(jobs))
    async with wire(node.address) as one:
        await one.upgrade()
        await one.write(frame(BINARY, hello(node)))
        await one.frame()
        proof = msgspec.json.encode(ProofMessage(NOW, "00" * 64), enc_hook=enc_hook)
        await one.write(frame(BINARY, proof) * 5)
        _, answer = await one.frame()
        assert b"bad_signature" in answer
        assert await one.gone()
    assert len(checks) == 1
    assert MEMBER.pubkey not in node.driver.links
    await until(node.limiter.active_bans)
    assert [row.reason for row in node.limiter.active_bans()] == ["bad_signature"]


# --- the man in the middle -----------------------------------------------------------------


@contextlib.asynccontextmanager
async def between(node, folder, signing):
    """Ends TLS under a key of its own and passes every message on; gives its address."""
    context, _ = tls.server_context(signing, folder)

    async def relay(dialer):
        async with connect(
            f"wss://{node.address}", ssl=tls.client_context(), proxy=None, **OPTIONS
        ) as listener:

            async def pump(source, sink):
                with contextlib.suppress(ConnectionClosed):
                    async for data in source:
                        await sink.send(data)

            await asyncio.gather(pump(dialer, listener), pump(listener, dialer))

    async with serve(relay, "127.0.0.1", 0, ssl=context, **OPTIONS) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_relay_that_ends_tls_is_seen_at_once(node, tmp_path):
    async with between(node, tmp_path, key(9)) as address:
        with pytest.raises(HelloRefused, match="wrong_key"):
            await reach(address, node.me.key.pubkey, Identity(MEMBER, node.me.cluster), NOW)
    assert not node.driver.links


async def test_a_hello_that_was_relayed_holds_for_neither_side(node, tmp_path):
    """Even where the certificate is not looked at: its hash is in what both sign."""
    async with (
        between(node, tmp_path, key(9)) as address,
        connect(f"wss://{address}", ssl=tls.client_context(), proxy=None, **OPTIONS) as socket,
    ):
        der = socket.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        seen = tls.check_server(der, key(9).pubkey)
        with pytest.raises(HelloRefused, match="bad_signature"):
            await dial(socket, Identity(MEMBER, node.me.cluster), node.me.key.pubkey, seen, NOW)
    assert not node.driver.links


@contextlib.asynccontextmanager
async def answering(folder, answer):
    """A server of anybody's over TLS that answers every request so; gives address and requests."""
    asked = []

    async def handle(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
            writer.write(answer)
            await writer.drain()
        writer.close()

    context, _ = tls.server_context(key(9), folder)
    async with await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
async def test_a_dial_ends_where_it_was_sent(tmp_path, status):
    """A redirect would make a node ask anybody's server anything, from inside the network."""
    me = Identity(MEMBER, ClusterId(bytes(32)))
    async with answering(tmp_path, b"HTTP/1.1 200 OK\r\n\r\n") as (inside, asked_inside):
        for where in (f"wss://{inside}/drop?all=1", f"https://{inside}/", "/again", "[", "ws://x"):
            answer = f"HTTP/1.1 {status}\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n"
            async with answering(tmp_path, answer.encode()) as (address, asked):
                with pytest.raises(OSError, match="does not speak our protocol"):
                    await reach(address, key(9).pubkey, me, NOW)
                assert asked == [b"GET / HTTP/1.1"]
        assert asked_inside == []


@pytest.mark.parametrize("more", ["/admin/delete?all=1", "#x", "\r\nX: y", "@127.0.0.1:1"])
async def test_no_more_than_an_address_is_dialled(tmp_path, more):
    async with answering(tmp_path, b"HTTP/1.1 200 OK\r\n\r\n") as (inside, asked):
        with pytest.raises(OSError, match="is not host:port"):
            await reach(inside + more, key(9).pubkey, Identity(MEMBER, ClusterId(bytes(32))), NOW)
        assert asked == []


async def test_a_stranger_does_not_keep_out_a_member_behind_his_address(node):
    """However often he sends what no honest node sends; his own connection ends each time."""
    async with plain(node, ELSEWHERE) as (socket, certificate):
        await dial(socket, Identity(MEMBER, node.me.cluster), node.me.key.pubkey, certificate, NOW)
    for _ in range(7):
        assert b"malformed_frame" in await first_answer(node, b"garbage")
    assert node.limiter.active_bans() == []
    async with plain(node, ELSEWHERE) as (socket, certificate):
        await dial(socket, Identity(MEMBER, node.me.cluster), node.me.key.pubkey, certificate, NOW)


class Recorder:
    """A socket that keeps what is sent over it."""

    def __init__(self, socket):
        self.socket, self.sent, self.heard = socket, [], []

    async def send(self, data):
        self.sent.append(data)
        await self.socket.send(data)

    async def recv(self):
        self.heard.append(await self.socket.recv())
        return self.heard[-1]


@contextlib.asynccontextmanager
async def plain(node, source="127.0.0.1"):
    async with connect(
        f"wss://{node.address}",
        ssl=tls.client_context(),
        proxy=None,
        local_addr=(source, 0),
        **OPTIONS,
    ) as socket:
        der = socket.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        yield socket, tls.check_server(der, node.me.key.pubkey)


async def test_a_hello_that_was_replayed_or_reflected_proves_nothing(node):
    async with plain(node) as (socket, certificate):
        recorder = Recorder(socket)
        me = Identity(MEMBER, node.me.cluster)
        await dial(recorder, me, node.me.key.pubkey, certificate, NOW)
    await until(lambda: not node.driver.links)
    first, proof = recorder.sent
    welcome = msgspec.json.decode(recorder.heard[0], type=Welcome, dec_hook=handshake.dec_hook)
    reflected = msgspec.json.encode(ProofMessage(NOW, welcome.signature), enc_hook=enc_hook)
    for second in (proof, reflected):
        async with wire(node.address) as one:
            await one.upgrade()
            await one.write(frame(BINARY, first))
            assert b'"welcome"' in (await one.frame())[1]
            await one.write(frame(BINARY, second))
            assert b"bad_signature" in (await one.frame())[1]
        assert not node.driver.links
        node.limiter.bans._records.clear()


@pytest.mark.parametrize("data", [b"[" * 60_000, b'{"type":' + b"[" * 60_000, b"", b"\xff"])
async def test_a_listener_that_answers_with_garbage_is_refused_by_whoever_dials(tmp_path, data):
    context, _ = tls.server_context(key(1), tmp_path)

    async def answer(socket):
        await socket.recv()
        await socket.send(data)
        await socket.wait_closed()

    async with serve(answer, "127.0.0.1", 0, ssl=context, **OPTIONS) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(HelloRefused, match="malformed_frame"):
            await reach(address, key(1).pubkey, Identity(MEMBER, ClusterId(b"c" * 32)), NOW)


@pytest.mark.parametrize("signing", [key(1), key(9)], ids=["no signature", "no key"])
async def test_a_ticket_is_shown_to_nobody_who_has_not_proven_his_key(tmp_path, signing):
    """With the certificate, which anybody can copy the form of, or without."""
    context, _ = tls.server_context(signing, tmp_path)
    heard = []

    async def answer(socket):
        with contextlib.suppress(ConnectionClosed):
            heard.append(await socket.recv())
            welcome = Welcome(key(1).pubkey, "00" * 32, NOW, "00" * 64)
            await socket.send(msgspec.json.encode(welcome, enc_hook=enc_hook))
            heard.append(await socket.recv())

    async with serve(answer, "127.0.0.1", 0, ssl=context, **OPTIONS) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        mine = Identity(MEMBER, ClusterId(b"c" * 32))
        with pytest.raises(HelloRefused, match=r"bad_signature|wrong_key"):
            await reach(address, key(1).pubkey, mine, NOW, ticket="5ec2e7")
    assert not any(b"5ec2e7" in data for data in heard)


def test_the_key_of_a_context_is_left_in_no_file(tmp_path):
    tls.server_context(key(1), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("der", [None, b"", b"garbage", b"\x30\x82\xff\xff" + b"\x00" * 100])
def test_a_certificate_that_is_none_is_a_wrong_key(der):
    with pytest.raises(tls.PeerFault, match="wrong_key"):
        tls.check_server(der, key(1).pubkey)


# --- after the hello -----------------------------------------------------------------------


async def test_text_after_the_hello_drops_the_link_and_keeps_the_key_out(node):
    link = await come_in(node)
    await link._socket.send("text")
    await run_to_end(link)
    assert link.peer_reason == "malformed_frame"
    await until(node.limiter.active_bans)
    assert [(row.who, row.reason) for row in node.limiter.active_bans()] == [
        (MEMBER.pubkey.hex(), "malformed_frame")
    ]


async def test_a_banned_key_is_told_so_and_comes_in_when_its_time_is_over(node):
    link = await come_in(node)
    link.send(b"\x63")
    await run_to_end(link)
    await until(node.limiter.active_bans)
    with pytest.raises(HelloRefused, match="banned") as refusal:
        await come_in(node)
    assert refusal.value.from_peer
    later = clock.monotonic() + source_addresses.BAN_SECONDS_MAX
    node.limiter._mono = lambda: later
    await unharmed(node)


async def test_fragments_of_more_than_a_frame_end_the_link(node):
    async with plain(node) as (socket, certificate):
        me = Identity(MEMBER, node.me.cluster)
        await dial(socket, me, node.me.key.pubkey, certificate, NOW)
        part = b"\x00" * 2**20

        async def parts():
            for _ in range(limits.FRAME_BYTES_MAX // len(part) + 2):
                yield part

        with contextlib.suppress(ConnectionClosed):
            await socket.send(parts())
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.recv()
        assert socket.close_code in (1009, 1006)
    await until(lambda: not node.driver.links)


class Stuck:
    """A socket whose other end goes on asking and takes nothing."""

    def __init__(self):
        self.closed_with = None

    async def send(self, _data):
        await asyncio.Event().wait()

    async def __aiter__(self):
        while True:
            await asyncio.sleep(0)
            yield b"more"

    async def close(self, _code, reason):
        self.closed_with = reason


async def test_a_peer_that_asks_and_never_reads_is_heard_no_more():
    """It holds up whoever writes to it: that must not keep a link that was dropped."""
    socket = Stuck()
    link = Link(socket, MEMBER.pubkey, NOW, dialled=True, address="x")

    async def answered(link, _question):
        link.send(bytes(limits.MIB))

    async with asyncio.timeout(PATIENCE):
        assert await link.run(answered) == "lagging"
    assert socket.closed_with == "lagging"


def test_a_peer_that_never_reads_is_dropped_in_bounds():
    link = Link(None, MEMBER.pubkey, NOW, dialled=True, address="x")
    data = b"x" * limits.MIB

    def talk():
        for _ in range(1000):
            link.send(bytes(data))

    assert peak_of(talk) < 2 * limits.OUTBOX_BYTES_MAX
    assert link.reason == "lagging"
    assert not link._outbox, "who was dropped is kept in memory"
    small = Link(None, MEMBER.pubkey, NOW, dialled=True, address="x")
    for _ in range(2 * limits.OUTBOX_MESSAGES_MAX):
        small.send(b"x")
    assert small.reason == "lagging"
    assert len(small._outbox) <= limits.OUTBOX_MESSAGES_MAX + 1
