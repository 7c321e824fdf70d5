"""The hostile relay: a man in the middle of every honest link, and members that pass on lies.

The man in the middle sees TLS. He can cut, hold back, spoil, swap, repeat and replay, and cannot
read. A member in the middle has real links to two daemons, and chooses what the one hears of what
the other said.
"""

import asyncio
import contextlib
from collections import deque

from crdt.primitives import limits
from crdt.wire.messages import Records, SyncStep1, Update
from crdt.wire.yjs_update import decode_update, encode_update
from tests.support.attack.environment import PATIENCE_SECONDS, reset, until_cut_off
from tests.support.attack.member import STANDS, dropped
from tests.support.attack.results import Catalogue

WIRE = Catalogue("relay")
PASSING = Catalogue("relay")
PLACE = "127.80.0.1"
HEARD_MAX = 64
HOLD_SECONDS = 1.0
ENDED = ("link ended", "link came back")


class RelayedWire:
    """One connection through the relay: two pumps, and a trick for the next chunk."""

    def __init__(self, near, far):
        self.near, self.far = near, far
        self.said = deque(maxlen=HEARD_MAX)
        self.trick = None
        self.passed = 0
        self.ended = asyncio.Event()

    async def carry(self):
        """Pass bytes both ways until one side ends."""
        pumps = [
            asyncio.create_task(self._pump(self.near[0], self.far[1], self.said)),
            asyncio.create_task(self._pump(self.far[0], self.near[1], None)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self.cut()
            self.ended.set()

    def cut(self):
        for _, writer in (self.near, self.far):
            reset(writer)

    async def _pump(self, reader, writer, heard):
        with contextlib.suppress(OSError):
            while data := await reader.read(16_384):
                if heard is not None:
                    heard.append(data)
                chunks = [data]
                if self.trick is not None:
                    trick, self.trick = self.trick, None
                    chunks = await trick(writer, data)
                for chunk in chunks:
                    writer.write(chunk)
                await writer.drain()
                self.passed += 1


class Relay:
    """Stands before one daemon; honest nodes know it by this address alone.

    Attributes:
        target: where the daemon listens, host:port.
        wires: what runs through it now.
    """

    def __init__(self):
        self.target = ""
        self.wires = []
        self.old = deque(maxlen=8)

    async def open(self):
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        return self

    async def close(self):
        self._server.close()
        while self.wires:
            self.wires[0].cut()
            await self.wires[0].ended.wait()
            await asyncio.sleep(0)

    async def far(self):
        host, _, port = self.target.rpartition(":")
        return await asyncio.open_connection(host, int(port), local_addr=(PLACE, 0))

    async def _take(self, reader, writer):
        try:
            far = await self.far()
        except OSError:
            writer.close()
            return
        wire = RelayedWire((reader, writer), far)
        self.wires.append(wire)
        try:
            await wire.carry()
        finally:
            self.wires.remove(wire)
            self.old.append(list(wire.said))


class Middle:
    """One trick on one honest link."""

    def __init__(self, ground, relays):
        self.rng = ground.rng
        self.relays = relays

    def link(self):
        """A link that has been up for a while, and its relay; ``None`` where there is none."""
        up = [(wire, relay) for relay in self.relays for wire in relay.wires if wire.passed > 20]
        return self.rng.choice(up) if up else (None, None)

    async def play(self, act):
        return await act(self)

    async def spoil(self, trick):
        """Do something to the next bytes of a link, and see that it ends and comes back."""
        wire, relay = self.link()
        if wire is None:
            return "turned away"
        wire.trick = trick
        if not await self._within(wire.ended.wait()):
            return "link stood"
        return await self.back(relay)

    async def back(self, relay):
        """Wait until honest nodes talk over this relay, or any other, again."""

        async def talks():
            while not any(wire.passed > 20 for one in self.relays for wire in one.wires):
                await asyncio.sleep(0.1)

        return "link came back" if await self._within(talks()) else "link stayed away"

    async def _within(self, wait):
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await wait
        except TimeoutError:
            return False
        return True


@WIRE(*ENDED)
async def reset_in_mid_frame(one):
    async def half(writer, data):
        writer.write(data[: len(data) // 2])
        await writer.drain()
        reset(writer)
        return []

    return await one.spoil(half)


@WIRE(*ENDED)
async def flipped_bit(one):
    async def flip(_writer, data):
        spoilt = bytearray(data)
        spoilt[one.rng.randrange(len(spoilt))] ^= 1 << one.rng.randrange(8)
        return [bytes(spoilt)]

    return await one.spoil(flip)


@WIRE(*ENDED)
async def repeated_bytes(one):
    async def twice(_writer, data):
        return [data, data]

    return await one.spoil(twice)


@WIRE(*ENDED)
async def swallowed_bytes(one):
    """What came is not passed on, and what comes next is."""

    async def nothing(_writer, _data):
        return []

    return await one.spoil(nothing)


@WIRE(*ENDED)
async def swapped_bytes(one):
    async def swap(_writer, data):
        middle = len(data) // 2
        return [data[middle:], data[:middle]]

    return await one.spoil(swap)


@WIRE(*ENDED)
async def injected_bytes(one):
    async def inject(_writer, data):
        return [one.rng.randbytes(200), data]

    return await one.spoil(inject)


@WIRE("link stood", "link ended")
async def held_back(one):
    """Nothing comes through for a while, then all of it."""
    wire, _ = one.link()
    if wire is None:
        return "turned away"

    async def hold(_writer, data):
        await asyncio.sleep(HOLD_SECONDS)
        return [data]

    wire.trick = hold
    await asyncio.wait({ending := asyncio.create_task(wire.ended.wait())}, timeout=2 * HOLD_SECONDS)
    ending.cancel()
    return "link ended" if wire.ended.is_set() else "link stood"


@WIRE("link stood", "link ended")
async def trickled(one):
    """A few bytes at a time."""
    wire, _ = one.link()
    if wire is None:
        return "turned away"
    done = asyncio.Event()

    async def trickle(writer, data):
        for start in range(0, min(len(data), 400), 20):
            writer.write(data[start : start + 20])
            await asyncio.sleep(0.02)
        done.set()
        return [data[400:]]

    wire.trick = trickle
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2 * HOLD_SECONDS):
            await done.wait()
    return "link ended" if wire.ended.is_set() else "link stood"


@WIRE("cut off")
async def replayed_connection(one):
    """Every byte that a node sent over an earlier link, to the same daemon again."""
    relays = [relay for relay in one.relays if relay.old]
    if not relays:
        wire, _ = one.link()
        if wire is not None:
            wire.cut()
        return "turned away"
    relay = one.rng.choice(relays)
    try:
        reader, writer = await relay.far()
        for data in one.rng.choice(relay.old):
            writer.write(data)
        await writer.drain()
    except OSError:
        return "cut off"
    return await until_cut_off(reader, writer)


# --- a member in the middle ----------------------------------------------------------------


async def overhear(one):
    """Everything that the daemon at the other end of this link holds, as slices of feeds."""
    await one.until(one._updated, SyncStep1({}))
    return decode_update(one.update, bytes_max=2**24) if one.update else []


async def pass_on(one, change):
    """Tell the next daemon what this one holds, but for a change; gives what that link got."""
    slices = await overhear(one)
    honest = {target.pubkey.hex() for target in one.ground.targets}
    other = one.rng.choice([t for t in one.ground.targets if t != one.target])
    lie = [
        change(piece) if piece.root is not None and piece.root.split("/")[1] in honest else piece
        for piece in slices
    ]
    there = type(one)(one.ground, one.key, other)
    lie = [piece for piece in lie if piece is not None]

    async def tell(two):
        for piece in lie:
            data = encode_update([piece])
            if len(data) <= limits.UPDATE_BYTES_MAX:
                two.tell(Update(data))

    return await there.play(tell)


@PASSING(STANDS)
async def withholds_a_feed(one):
    return await pass_on(one, lambda _piece: None)


@PASSING(STANDS)
async def shows_gaps(one):
    """Honest feeds, their records shown as gone."""

    def gone(piece):
        whole = (piece.start, piece.end - piece.start)
        return piece._replace(records=[], gaps=[whole])

    return await pass_on(one, gone)


@PASSING(*dropped("bad_signature"))
async def corrupts_values(one):
    """Honest feeds, a byte of the last record another."""

    def spoil(piece):
        if not piece.records:
            return piece
        clock, value = piece.records[-1]
        return piece._replace(records=[*piece.records[:-1], (clock, value[:-2] + b"!}")])

    return await pass_on(one, spoil)


@PASSING(STANDS, *dropped("without a word"))  # it falls behind with what is sent back to it
async def replays_old_frames(one):
    """All that one daemon holds, twice to another, by position."""
    found = await one.victims()
    other = one.rng.choice([t for t in one.ground.targets if t != one.target])

    async def tell(two):
        for feed, clock, value in [*found, *found]:
            two.tell(Records(*feed, ((clock, value),)))

    return await type(one)(one.ground, one.key, other).play(tell)
