"""What a caller may cost before the hello: the rules by themselves, then on real sockets."""

import asyncio
import contextlib
import random
import socket

import pytest

from crdt.primitives import limits
from node.network import connection_limits as doors
from node.network import source_addresses
from node.network.connection_limits import ConnectionLimiter, MeteredListener
from tests.support.builders.cluster import key
from tests.support.harness.listening import until


class Time:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def door(time):
    return ConnectionLimiter(time)


def knocks(door, host, count=1):
    """Callers from one address, each on a port of its own; gives what each was told."""
    first = len(door.unauthenticated) + door.refusals.total()
    return [door.try_accept((host, first + number)) for number in range(count)]


def leave(door, host):
    """Every stranger from an address goes."""
    for address, one in [*door.unauthenticated.items()]:
        if address[0] == host:
            door.closed(address, one)


def held_by(door):
    return [address[0] for address in door.unauthenticated]


def crowd(count):
    """Addresses of a crowd, each a place of its own."""
    return [f"10.9.{number // 256}.{number % 256}" for number in range(count)]


FULL = limits.LINKS_BEFORE_HELLO_MAX
HALF = doors.PREFIX_CONNECTIONS_MAX


def test_one_prefix_cannot_use_all_connections(door):
    assert knocks(door, "127.0.0.1", HALF + 1) == [""] * HALF + ["busy"]
    assert knocks(door, "127.0.0.2") == [""]
    leave(door, "127.0.0.1")
    assert knocks(door, "127.0.0.1") == [""]


def test_there_is_room_for_few_strangers_in_all(door):
    told = [knocks(door, host)[0] for host in crowd(FULL + 1)]
    assert set(told[:-1]) == {""}
    assert told[-1] == "busy"
    assert door.refusals["busy"] == 1


def test_one_place_may_not_knock_for_ever(door, time):
    for _ in range(doors.ACCEPTS_BURST):
        assert knocks(door, "10.0.0.1") == [""]
        leave(door, "10.0.0.1")
    assert knocks(door, "10.0.0.1") == ["too_often"]
    time.now += 1
    assert knocks(door, "10.0.0.1") == [""]


def test_what_is_remembered_is_bounded(door, monkeypatch):
    for module in (doors, source_addresses):
        monkeypatch.setattr(module, "REMEMBERED_MAX", 10)
    for number in range(50):
        door.fault_from_address(f"10.0.0.{number}", "bad_signature")
        knocks(door, f"10.0.1.{number}")
        leave(door, f"10.0.1.{number}")
    assert len(door.active_bans()) == 10
    assert len(door._buckets) == 10
    assert not door.unauthenticated


def test_places_and_keys_stay_out_by_themselves(door, time):
    door.fault_from_address("10.0.0.1", "malformed_frame")
    door.fault_of_node(key(1).pubkey, "bad_signature")
    assert knocks(door, "10.0.0.1") == ["banned"]
    assert knocks(door, "10.0.0.2") == [""]
    assert door.is_banned(key(1).pubkey)
    assert not door.is_banned(key(2).pubkey)
    assert {row.who for row in door.active_bans()} == {"10.0.0.1", key(1).pubkey.hex()}
    time.now += 1
    assert knocks(door, "10.0.0.1") == [""]


def test_a_place_where_a_member_is_at_home_stays_open(door, time, caplog):
    """A stranger behind the member's address loses his own room, and never the member's."""
    door.members.note(key(1).pubkey, "192.0.2.1")
    for _ in range(8):
        door.fault_from_address("192.0.2.1", "too_large")
        assert knocks(door, "192.0.2.1") == [""]
        leave(door, "192.0.2.1")
    assert door.active_bans() == []
    assert [row.levelname for row in caplog.records] == ["WARNING"], "one line for each ban"
    assert "a member uses that address" in caplog.records[0].getMessage()
    time.now += 1
    door.fault_from_address("192.0.2.1", "too_large")
    assert len(caplog.records) == 2


def test_ban_of_a_prefix_ends_once_a_member_uses_it(door):
    for _ in range(8):
        door.fault_from_address("192.0.2.1", "too_large")
    assert knocks(door, "192.0.2.1") == ["banned"]
    door.members.note(key(1).pubkey, "192.0.2.1")
    assert knocks(door, "192.0.2.1") == [""]
    assert door.active_bans() == []


# --- who goes before whom ------------------------------------------------------------------


def test_oldest_connection_gives_way_after_its_grace(door, time):
    hosts = crowd(FULL)
    for host in hosts:
        knocks(door, host)
        time.now += 0.01
    assert knocks(door, "10.0.0.1") == ["busy"]
    time.now = doors.GRACE_SECONDS
    assert knocks(door, "10.0.0.1") == [""]
    assert knocks(door, "10.0.0.2") == ["busy"]  # the next one has not had it yet
    assert held_by(door) == [*hosts[1:], "10.0.0.1"]
    assert door.refusals["gave_way"] == 1


def test_in_a_full_prefix_a_neighbour_gives_way(door, time):
    knocks(door, "10.0.0.1", HALF)
    knocks(door, "10.0.0.2", 2)
    time.now = doors.GRACE_SECONDS
    assert knocks(door, "10.0.0.1") == [""]
    assert held_by(door) == ["10.0.0.1"] * (HALF - 1) + ["10.0.0.2"] * 2 + ["10.0.0.1"]


def test_closed_connection_frees_its_address(door, time):
    cut = []
    for number, host in enumerate(crowd(FULL)):
        door.try_accept((host, 1))
        door.unauthenticated[host, 1].cut_off = lambda number=number: cut.append(number)
    first = door.unauthenticated["10.9.0.0", 1]
    time.now = doors.GRACE_SECONDS
    assert door.try_accept(("10.0.0.1", 1)) == ""
    assert door.try_accept(("10.9.0.0", 1)) == ""
    door.closed(("10.9.0.0", 1), first)  # its socket is closed only now
    assert cut == [0, 1]
    assert ("10.9.0.0", 1) in door.unauthenticated


def test_member_address_goes_before_strangers(door, time):
    door.members.note(key(1).pubkey, "192.0.2.1")
    for host in crowd(FULL):
        knocks(door, host)
    assert knocks(door, "192.0.2.1", HALF) == [""] * HALF
    time.now = doors.GRACE_SECONDS
    for host in crowd(3 * FULL)[2 * FULL :]:
        knocks(door, host)
    assert held_by(door).count("192.0.2.1") == HALF


def test_oldest_member_connection_gives_way(door, time):
    """Hosts of members gone bad may fill the room, and do not keep it."""
    for number in range(FULL):
        door.members.note(key(number).pubkey, f"192.0.2.{number}")
        knocks(door, f"192.0.2.{number}")
    door.members.note(key(99).pubkey, "198.51.100.1")
    assert knocks(door, "198.51.100.1") == ["busy"]
    time.now = doors.GRACE_SECONDS
    assert knocks(door, "198.51.100.1") == [""]


@pytest.mark.parametrize("attackers", [2, 16, 500, 5000])
def test_member_connects_at_once_despite_a_flood(door, time, attackers):
    door.members.note(key(1).pubkey, "192.0.2.1")
    hosts = crowd(attackers)
    for second in range(40):
        for host in hosts[: 64 + attackers // 40 * second]:
            knocks(door, host)
        assert knocks(door, "192.0.2.1") == [""]
        leave(door, "192.0.2.1")
        time.now += 0.3


def test_new_node_connects_after_retries_in_a_flood(door, time):
    """Forty places that knock as often as they may leave him one try in eight at least."""
    rng, hosts, told = random.Random(1), crowd(40), []
    for _ in range(len(hosts) * doors.ACCEPTS_BURST):  # their first burst is spent
        knocks(door, rng.choice(hosts))
    knocked_a_second = len(hosts) * doors.ACCEPTS_PER_SECOND
    for _ in range(200):
        for _ in range(int(knocked_a_second)):
            time.now += rng.expovariate(knocked_a_second)
            knocks(door, rng.choice(hosts))
        time.now += rng.expovariate(knocked_a_second)
        told += knocks(door, "203.0.113.9")
        leave(door, "203.0.113.9")
    assert told.count("") >= len(told) / 8


def test_the_log_tells_a_crowd_once_a_minute(door, time, caplog):
    for _ in range(3):
        for host in crowd(3 * FULL):
            knocks(door, host)
        time.now += doors.CROWD_LOG_SECONDS / 2
    assert [row.levelname for row in caplog.records] == ["WARNING"] * 2


# --- sockets -------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def listening(door):
    """A server that reads and says nothing; gives its address and what it has read."""
    heard = []

    async def handle(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(4096):
                heard.append(len(data))
        writer.close()

    sock = MeteredListener.listening(door, socket.AF_INET, ("127.0.0.1", 0))
    server = await asyncio.start_server(handle, sock=sock)
    async with server:
        yield sock.getsockname(), heard


@contextlib.asynccontextmanager
async def caller(address, source="127.0.0.1"):
    reader, writer = await asyncio.open_connection(*address, local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def is_closed(reader):
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True


async def test_connections_beyond_the_limit_are_closed(door):
    async with listening(door) as (address, _), contextlib.AsyncExitStack() as stack:
        for _ in range(doors.PREFIX_CONNECTIONS_MAX - 1):
            await stack.enter_async_context(caller(address))
        async with caller(address):
            await until(lambda: len(door.unauthenticated) == doors.PREFIX_CONNECTIONS_MAX)
            async with caller(address) as (late, _):
                assert await is_closed(late)
        await until(lambda: len(door.unauthenticated) < doors.PREFIX_CONNECTIONS_MAX)
        await stack.enter_async_context(caller(address))
        await until(lambda: len(door.unauthenticated) == doors.PREFIX_CONNECTIONS_MAX)
    assert door.refusals == {"busy": 1}


async def test_who_has_said_hello_is_bounded_no_longer(door):
    async with listening(door) as (address, heard), caller(address) as (_, writer):
        await until(lambda: door.unauthenticated)
        door.authenticated(writer.get_extra_info("sockname"), key(1).pubkey)
        door.authenticated(("127.0.0.1", 1), key(1).pubkey)  # gone already
        assert not door.unauthenticated
        assert "127.0.0.1" in door.members
        writer.write(b"x" * 3 * limits.HELLO_BYTES_MAX)
        await until(lambda: sum(heard) == 3 * limits.HELLO_BYTES_MAX)


async def test_who_gives_way_is_cut_off_at_his_socket(door, time):
    async with listening(door) as (address, heard), contextlib.AsyncExitStack() as stack:
        callers = [
            await stack.enter_async_context(caller(address, f"127.9.0.{number}"))
            for number in range(1, FULL + 1)
        ]
        await until(lambda: len(door.unauthenticated) == FULL)
        async with caller(address, "127.8.0.1") as (late, _):
            assert await is_closed(late)
        time.now = doors.GRACE_SECONDS
        _, writer = await stack.enter_async_context(caller(address, "127.8.0.1"))
        assert await is_closed(callers[0][0])
        writer.write(b"let in")
        await until(lambda: heard)
        assert len(door.unauthenticated) == FULL
    await until(lambda: not door.unauthenticated)


async def test_bytes_of_a_closed_connection_are_ignored(door, time):
    async with (
        listening(door) as (address, heard),
        caller(address, "127.9.0.1") as (reader, writer),
    ):
        await until(lambda: door.unauthenticated)
        [stranger] = door.unauthenticated.values()
        writer.write(b"too late")
        await writer.drain()
        stranger.cut_off()
        assert await is_closed(reader)
        assert not heard


def test_used_address_is_an_error_without_open_socket(door):
    first = MeteredListener.listening(door, socket.AF_INET, ("127.0.0.1", 0))
    with pytest.raises(OSError, match="in use"):
        MeteredListener.listening(door, socket.AF_INET, first.getsockname())
    first.close()
