"""The hostile stranger: nobody, with a socket. What he does before a hello is done, or instead.

Each attempt comes from a place of its own, since what a place did is held against it.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import ssl

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from crdt.primitives import limits
from crdt.primitives.identity import SigningKey
from crdt.wire import handshake_transcript as hello
from node.network import tls
from tests.support.attack.environment import PATIENCE_SECONDS, knock, reset, until_cut_off
from tests.support.attack.results import Catalogue

CATALOGUE = Catalogue("stranger")
CROWD = 12
GIB = 2**30
UPGRADE = (
    "GET / HTTP/1.1\r\nHost: den\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
)


class HostileStranger:
    """One caller: what he aims at, and where he comes from."""

    def __init__(self, ground):
        self.ground = ground
        self.rng = ground.rng
        self.target = ground.target()
        self.place = ground.strangers_place()
        self.key = SigningKey(secrets.token_bytes(32))

    async def tls(self):
        """A connection that has shaken hands, and nothing more; ``None`` at a shut door."""
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(
                self.target.host, self.target.port,
                ssl=tls.client_context(), local_addr=(self.place, 0),
            )  # fmt: skip
        return None

    async def raw(self, *chunks, pause=0.0):
        """Send bytes below TLS, and wait for the end."""
        found = await knock(self.target, self.place)
        return await self._pour(found, chunks, pause)

    async def http(self, *chunks, pause=0.0):
        """Send bytes within TLS, and wait for the end."""
        found = await self.tls()
        return await self._pour(found, chunks, pause)

    async def upgraded(self, data):
        """Open a websocket, and send bytes that no library would; wait for the end."""
        return await self.http(f"{UPGRADE}\r\n".encode(), data)

    async def _pour(self, found, chunks, pause):
        if found is None:
            return "turned away"
        reader, writer = found
        ending = asyncio.create_task(until_cut_off(reader, writer))
        with contextlib.suppress(OSError):
            for chunk in chunks:
                if ending.done() or writer.is_closing():
                    break
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(pause)
        return await ending

    @contextlib.asynccontextmanager
    async def socket(self):
        """A websocket, as any client opens it."""
        address = f"wss://{self.target.address}"
        async with connect(
            address, ssl=tls.client_context(), proxy=None, compression=None, close_timeout=2,
            open_timeout=PATIENCE_SECONDS, local_addr=(self.place, 0),
        ) as socket:  # fmt: skip
            yield socket

    async def say(self, *messages):
        """Messages over a websocket; gives what the last of them got."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self.socket() as socket:
                return await self._talk(socket, messages)
        except TimeoutError:
            return "left hanging"
        except ConnectionClosed as closed:
            return f"closed {closed.rcvd.code}" if closed.rcvd else "cut off"
        except (OSError, WebSocketException):
            return "turned away"

    async def _talk(self, socket, messages):
        for message in messages:
            await socket.send(message(socket) if callable(message) else message)
            answer = json.loads(await socket.recv())
            if answer["type"] == "refused":
                return f"refused {answer['reason']}"
            if answer["type"] == "welcome":
                self.welcome = answer
        return answer["type"]

    # --- a hello ---------------------------------------------------------------------------

    nonce = "22" * 32

    def hello(self, **other):
        """The first message of a hello, as it should be but for some fields."""
        fields = {
            "type": "hello", "version": hello.PROTOCOL_VERSION,
            "cluster": self.target.cluster.hex(), "node": self.key.pubkey.hex(),
            "nonce": self.nonce, "wants": "session",
        }  # fmt: skip
        return json.dumps(fields | other).encode()

    def proof(self, signing=None, **other):
        """The second message, signed by a key over what was said."""

        def write(socket):
            der = socket.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            said = hello.hello_bytes(
                hello.PROTOCOL_VERSION, self.target.cluster, hello.DIALLED,
                (signing or self.key).pubkey, self.target.pubkey, bytes.fromhex(self.nonce),
                bytes.fromhex(self.welcome["nonce"]), hashlib.sha256(der).digest(),
            )  # fmt: skip
            fields = {"type": "proof", "at": self.welcome["at"],
                      "signature": (signing or self.key).sign(said).hex()}  # fmt: skip
            return json.dumps(fields | other).encode()

        return write

    async def show_ticket(self, secret):
        """Ask to be let in by a ticket's secret."""
        return await self.say(
            self.hello(wants="join"), self.proof(ticket=secret.hex(), name="mallory")
        )


# --- below the websocket -------------------------------------------------------------------

ENDED = ("cut off",)


@CATALOGUE(*ENDED)
async def silence(one):
    return await one.raw()


@CATALOGUE(*ENDED)
async def half_a_handshake(one):
    outgoing = ssl.MemoryBIO()
    handshake = tls.client_context().wrap_bio(ssl.MemoryBIO(), outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        handshake.do_handshake()
    data = outgoing.read()
    return await one.raw(data[: len(data) // 2])


@CATALOGUE(*ENDED)
async def garbage(one):
    return await one.raw(os.urandom(one.rng.randrange(1, 4000)))


@CATALOGUE(*ENDED)
async def no_tls(one):
    return await one.raw(f"{UPGRADE}\r\n".encode())


@CATALOGUE("tls refused")
async def old_tls(one):
    context = tls.client_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    found = await knock(one.target, one.place)
    if found is None:
        return "turned away"
    _, writer = found
    try:
        await writer.start_tls(context)
    except OSError:
        return "tls refused"
    finally:
        writer.close()
    return "spoke TLS 1.2"


@CATALOGUE(*ENDED)
async def slow_headers(one):
    """A byte at a time, for longer than a hello may take."""
    return await one.http(*(bytes([byte]) for byte in UPGRADE.encode()), pause=0.2)


@CATALOGUE(*ENDED)
async def header_flood(one):
    lines = (f"X-{number}: {'x' * 4000}\r\n".encode() for number in range(100))
    return await one.http(UPGRADE.encode(), *lines)


@CATALOGUE(*ENDED)
async def a_line_without_end(one):
    return await one.http(b"GET /", *[b"x" * 16000] * 20)


@CATALOGUE(*ENDED)
async def another_method(one):
    return await one.http(b"POST / HTTP/1.1\r\nHost: den\r\nContent-Length: 1000000\r\n\r\n")


@CATALOGUE(*ENDED)
async def odd_subprotocol(one):
    return await one.http(
        f"{UPGRADE}Sec-WebSocket-Protocol: caf\u00e9, \x1b[2J\r\n\r\n".encode("latin-1")
    )


@CATALOGUE("12 cut off")
async def crowd(one):
    """Many connections from one place that say nothing."""
    found = [await knock(one.target, one.place) for _ in range(CROWD)]
    ends = [await until_cut_off(*pair) if pair is not None else "cut off" for pair in found]
    return f"{CROWD} cut off" if set(ends) == {"cut off"} else "left hanging"


# --- the websocket -------------------------------------------------------------------------


@CATALOGUE(*ENDED)
async def huge_frame_announced(one):
    return await one.upgraded(b"\x82\xff" + GIB.to_bytes(8, "big") + bytes(4) + b"x" * 1000)


@CATALOGUE(*ENDED)
async def compressed_frame(one):
    """A compressed frame, though compression was never agreed on."""
    return await one.upgraded(b"\xc2\x85" + bytes(4) + b"\xaa\x00\x04\x00\x00")


@CATALOGUE(*ENDED)
async def fragments_without_end(one):
    first, more = b"\x02\x81" + bytes(4) + b"{", b"\x00\x81" + bytes(4) + b" "
    return await one.upgraded(first + more * 20_000)


@CATALOGUE(*ENDED)
async def pings_without_end(one):
    return await one.upgraded((b"\x89\xfd" + bytes(4) + b"p" * 125) * 1000)


@CATALOGUE(*ENDED)
async def reserved_opcode(one):
    return await one.upgraded(b"\x83\x80" + bytes(4))


@CATALOGUE("compression refused")
async def compression_offered(one):
    try:
        async with connect(
            f"wss://{one.target.address}", ssl=tls.client_context(), proxy=None,
            open_timeout=PATIENCE_SECONDS, local_addr=(one.place, 0),
        ) as socket:  # fmt: skip
            agreed = socket.protocol.extensions
    except (OSError, WebSocketException):
        return "turned away"
    return "compression agreed" if agreed else "compression refused"


# --- the hello -----------------------------------------------------------------------------

UNREADABLE = ("refused malformed_frame",)


@CATALOGUE(*UNREADABLE)
async def text_frame(one):
    return await one.say(one.hello().decode())


@CATALOGUE(*UNREADABLE)
async def garbage_hello(one):
    return await one.say(os.urandom(one.rng.randrange(1, 400)))


@CATALOGUE(*UNREADABLE)
async def nested_hello(one):
    return await one.say(b"[" * 50_000)


@CATALOGUE(*UNREADABLE)
async def proof_before_hello(one):
    return await one.say(json.dumps(
        {"type": "proof", "at": "2026-01-01T00:00:00.000Z", "signature": ""}
    ).encode())  # fmt: skip


@CATALOGUE(*UNREADABLE)
async def short_nonce(one):
    member = one.rng.choice(one.ground.rogues).pubkey.hex()
    return await one.say(one.hello(nonce="00", node=member))


@CATALOGUE("closed 1009", *ENDED)
async def hello_over_its_bound(one):
    return await one.say(b" " * limits.HELLO_BYTES_MAX + one.hello())


@CATALOGUE("refused wrong_version")
async def another_version(one):
    return await one.say(one.hello(version=99, more="fields"))


@CATALOGUE("refused wrong_cluster")
async def another_cluster(one):
    return await one.say(one.hello(cluster="ab" * 32))


@CATALOGUE("refused not_a_member")
async def unknown_key(one):
    return await one.say(one.hello())


@CATALOGUE("refused bad_signature")
async def stolen_name(one):
    """In a member's name, signed by another key."""
    member = one.rng.choice(one.ground.targets).pubkey
    return await one.say(one.hello(node=member.hex()), one.proof())


@CATALOGUE("refused bad_signature")
async def reflected_hello(one):
    """In the daemon's own name, with its own signature."""

    def reflect(_socket):
        return json.dumps({
            "type": "proof", "at": one.welcome["at"], "signature": one.welcome["signature"]
        }).encode()  # fmt: skip

    return await one.say(one.hello(node=one.target.pubkey.hex()), reflect)


@CATALOGUE("refused bad_signature")
async def replayed_hello(one):
    """A member's hello, every byte of it, a second time."""
    member = one.rng.choice(one.ground.rogues)
    heard = {}

    def proven(socket):
        heard["proof"] = one.proof(member)(socket)
        return heard["proof"]

    first = one.hello(node=member.pubkey.hex())
    if await one.say(first, proven) != "accepted":
        return "turned away"
    return await one.say(first, lambda _socket: heard["proof"])


@CATALOGUE("kept out")
async def back_after_a_fault(one):
    """Once more, at once, from a place that has just shown a bad signature."""
    if await stolen_name(one) != "refused bad_signature":
        return "turned away"
    word = await one.say(one.hello())
    return "kept out" if word == "turned away" else word


@CATALOGUE(*ENDED)
async def gone_in_mid_frame(one):
    """A reset in the middle of a message."""
    found = await one.tls()
    if found is None:
        return "turned away"
    _, writer = found
    writer.write(f"{UPGRADE}\r\n".encode() + b"\x82\xfe\x01\x00")
    await writer.drain()
    reset(writer)
    return "cut off"


# --- tickets -------------------------------------------------------------------------------


@CATALOGUE("refused bad_ticket")
async def guessed_ticket(one):
    return await one.show_ticket(secrets.token_bytes(16))


@CATALOGUE("refused used_ticket")
async def used_ticket(one):
    one.target = one.ground.targets[0]
    return await one.show_ticket(one.ground.tickets["used"])


@CATALOGUE("refused expired_ticket")
async def expired_ticket(one):
    one.target = one.ground.targets[0]
    return await one.show_ticket(one.ground.tickets["expired"])


@CATALOGUE("refused withdrawn_ticket")
async def withdrawn_ticket(one):
    one.target = one.ground.targets[0]
    return await one.show_ticket(one.ground.tickets["withdrawn"])


@CATALOGUE("refused bad_ticket")
async def ticket_that_is_no_hex(one):
    return await one.say(one.hello(wants="join"), one.proof(ticket="\u202e%2e%2e/", name="\x1b[2J"))
