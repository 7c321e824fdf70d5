"""What a caller may cost before the hello: the rules by themselves, then on real sockets."""

import asyncio
import contextlib
import socket

import pytest

from crdt import limits
from node import door as doors
from node.door import Bans, Door, DoorSocket, place_of
from tests.support.cluster import key


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
    return Door(time)


def test_strangers_from_one_place_leave_room_for_others(door):
    told = [door.knock("127.0.0.1") for _ in range(doors.PLACE_STRANGERS_MAX + 1)]
    assert told == [""] * doors.PLACE_STRANGERS_MAX + ["busy"]
    assert door.knock("127.0.0.2") == ""
    door.left("127.0.0.1")
    assert door.knock("127.0.0.1") == ""


def test_there_is_room_for_few_strangers_in_all(door):
    told = [door.knock(f"10.0.0.{n}") for n in range(limits.LINKS_BEFORE_HELLO_MAX + 1)]
    assert set(told[:-1]) == {""}
    assert told[-1] == "busy"
    assert door.turned["busy"] == 1


def test_one_place_may_not_knock_for_ever(door, time):
    for _ in range(doors.KNOCKS_BURST):
        assert door.knock("10.0.0.1") == ""
        door.left("10.0.0.1")
    assert door.knock("10.0.0.1") == "too_often"
    time.now += 1
    assert door.knock("10.0.0.1") == ""


def test_bans_grow_and_end_and_are_forgiven():
    bans = Bans()
    assert not bans.banned("a", 0.0)
    assert [bans.fault("a", "bad_signature", 0.0) for _ in range(4)] == [1, 2, 4, 8]
    assert bans.banned("a", 7.9)
    assert not bans.banned("a", 8.0)
    [row] = bans.rows(2.0)
    assert (row.who, row.reason, row.times, row.seconds) == ("a", "bad_signature", 4, 6.0)
    assert bans.rows(8.0) == []
    assert bans.fault("a", "bad_signature", doors.FORGIVEN_SECONDS) == 1
    assert max(bans.fault("b", "x", 0.0) for _ in range(99)) == doors.BAN_SECONDS_MAX


def test_what_is_remembered_is_bounded(door, monkeypatch):
    monkeypatch.setattr(doors, "REMEMBERED_MAX", 10)
    for number in range(50):
        door.fault_at(f"10.0.0.{number}", "bad_signature")
        door.knock(f"10.0.1.{number}")
        door.left(f"10.0.1.{number}")
    assert len(door.shut()) == 10
    assert len(door._buckets) == 10
    assert not door._strangers


def test_places_and_keys_stay_out_by_themselves(door, time):
    door.fault_at("10.0.0.1", "malformed_frame")
    door.fault_of(key(1).pubkey, "bad_signature")
    assert door.knock("10.0.0.1") == "banned"
    assert door.knock("10.0.0.2") == ""
    assert door.refuse(key(1).pubkey)
    assert not door.refuse(key(2).pubkey)
    assert {row.who for row in door.shut()} == {"10.0.0.1", key(1).pubkey.hex()}
    time.now += 1
    assert door.knock("10.0.0.1") == ""


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a name", "a name"),
    ],
)
def test_a_host_has_one_place_whatever_address_it_draws(host, place):
    assert place_of(host) == place


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

    sock = DoorSocket.listening(door, socket.AF_INET, ("127.0.0.1", 0))
    server = await asyncio.start_server(handle, sock=sock)
    async with server:
        yield sock.getsockname(), heard


async def until(holds):
    while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def caller(address):
    reader, writer = await asyncio.open_connection(*address)
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


async def test_callers_beyond_the_bound_are_closed_at_once_and_a_place_comes_free(door):
    async with listening(door) as (address, _), contextlib.AsyncExitStack() as stack:
        for _ in range(doors.PLACE_STRANGERS_MAX - 1):
            await stack.enter_async_context(caller(address))
        async with caller(address):
            await until(lambda: len(door.guests) == doors.PLACE_STRANGERS_MAX)
            async with caller(address) as (late, _):
                assert await is_closed(late)
        await until(lambda: len(door.guests) < doors.PLACE_STRANGERS_MAX)
        await stack.enter_async_context(caller(address))
        await until(lambda: len(door.guests) == doors.PLACE_STRANGERS_MAX)
    assert door.turned == {"busy": 1}


async def test_a_stranger_who_sends_too_much_is_cut_off_and_banned(door):
    async with listening(door) as (address, heard), caller(address) as (reader, writer):
        writer.write(b"x" * 10 * limits.HELLO_BYTES_MAX)
        assert await is_closed(reader)
        assert sum(heard) <= limits.HELLO_BYTES_MAX
        assert door.knock("127.0.0.1") == "banned"


async def test_a_stranger_who_says_nothing_is_cut_off(door, monkeypatch):
    monkeypatch.setattr(limits, "HELLO_SECONDS_MAX", 0.05)
    async with listening(door) as (address, _), caller(address) as (reader, _):
        assert await is_closed(reader)
        assert door.turned["too_slow"] == 1
        await until(lambda: not door.guests)


async def test_who_has_said_hello_is_bounded_no_longer(door):
    async with listening(door) as (address, heard), caller(address) as (_, writer):
        await until(lambda: door.guests)
        door.welcome(writer.get_extra_info("sockname"))
        door.welcome(("127.0.0.1", 1))  # gone already
        assert not door.guests
        writer.write(b"x" * 3 * limits.HELLO_BYTES_MAX)
        await until(lambda: sum(heard) == 3 * limits.HELLO_BYTES_MAX)


def test_a_taken_address_is_an_error_and_leaves_no_socket(door):
    first = DoorSocket.listening(door, socket.AF_INET, ("127.0.0.1", 0))
    with pytest.raises(OSError, match="in use"):
        DoorSocket.listening(door, socket.AF_INET, first.getsockname())
    first.close()
