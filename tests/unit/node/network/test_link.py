"""Real TLS links on loopback between a listener and whoever dials it."""

import asyncio
import contextlib
import socket
import ssl
from datetime import UTC, datetime
from typing import ClassVar

import pytest
from cryptography.x509 import load_der_x509_certificate

from crdt.authoring.intents import AddStory
from crdt.primitives import limits
from crdt.primitives.identity import ClusterId
from crdt.wire.messages import (
    Records,
    RecordsWanted,
    SyncStep1,
    SyncStep2,
    Update,
    decode_frame,
    encode_frame,
)
from crdt.wire.yjs_update import CLOCK_END, decode_update
from machines.values import FreeText, Instant, StoryId
from node.network import tls
from node.network.connection_limits import ConnectionLimiter
from node.network.dialer import BACKOFF_SECONDS_MIN, DialAttempt, Dialer
from node.network.handshake import AcceptMessage, HelloRefused, Identity, ProofMessage
from node.network.link import OPTIONS, reach
from node.network.link_supervisor import LinkSupervisor
from node.system.errors import OperatorError
from tests.support.builders.cluster import START, key
from tests.support.harness.listening import listening

NOW = Instant(START)


def held(driver, door=None):
    return LinkSupervisor(driver, door or ConnectionLimiter(lambda: 0.0), lambda node: node.short)


async def test_member_gets_a_session_and_stranger_a_reason(tmp_path):
    member, stranger = key(2), key(3)
    async with listening(tmp_path, member.pubkey) as (address, me, driver):
        link, _ = await reach(address, me.key.pubkey, Identity(member, me.cluster), NOW)
        told = []

        async def received(_link, data):
            told.append(data)
            _link.drop("enough")

        assert await link.run(received) == "enough"
        assert told[0][:2] == b"\x00\x00"  # sync step 1
        with pytest.raises(HelloRefused, match="not_a_member") as refusal:
            await reach(address, me.key.pubkey, Identity(stranger, me.cluster), NOW)
        assert refusal.value.from_peer
        assert stranger.pubkey not in driver.links


async def test_wrong_key_or_cluster_is_refused_at_once(tmp_path):
    member = key(2)
    async with listening(tmp_path, member.pubkey) as (address, me, _):
        with pytest.raises(HelloRefused, match="wrong_key"):
            await reach(address, key(9).pubkey, Identity(member, me.cluster), NOW)
        other = Identity(member, ClusterId(b"o" * 32))
        with pytest.raises(HelloRefused, match="wrong_cluster"):
            await reach(address, me.key.pubkey, other, NOW)


async def test_a_ticket_lets_in_and_a_bad_one_does_not(tmp_path):
    async with listening(tmp_path) as (address, me, _):
        mine = Identity(key(4), me.cluster)
        _, accepted = await reach(
            address, me.key.pubkey, mine, NOW, ticket=b"good".hex(), name="new"
        )
        assert accepted == AcceptMessage("founder", "new")
        with pytest.raises(HelloRefused, match="bad_ticket"):
            await reach(address, me.key.pubkey, mine, NOW, ticket=b"bad".hex(), name="new")


async def test_fault_on_a_dialled_link_counts(tmp_path):
    """Whoever dialled whom: the key stays out, and is not dialled again meanwhile."""
    bad = key(2)
    door = ConnectionLimiter(lambda: 0.0)

    class Driver:
        links: ClassVar = {}

        async def attach(self, link, _up):
            link.send(b"x")
            link.drop("malformed_frame")

            async def ignored(_link, _data):
                pass

            return await link.run(ignored)

    async with listening(tmp_path, bad.pubkey) as (address, me, _):
        node = me.key.pubkey
        driver = Driver()
        dialer = Dialer(
            driver, Identity(bad, me.cluster), {node: (address,)}, 8, held(driver, door)
        )
        assert dialer._due() == [node]
        dialer._dialling[node] = None
        await dialer._dial(node)
        assert [(row.who, row.reason) for row in door.active_bans()] == [
            (node.hex(), "malformed_frame")
        ]
        dialer.attempts[node].retry_at = 0.0
        assert dialer._due() == []


async def test_all_addresses_of_a_node_are_one_try(caplog):
    """Or a node with three would soon be tried but twice a minute."""
    free = socket.create_server(("127.0.0.1", 0))
    closed = f"127.0.0.1:{free.getsockname()[1]}"
    free.close()
    node = key(9).pubkey
    known = {node: (closed, "nonesuch.invalid:1", closed)}
    dialer = Dialer(None, Identity(key(1), ClusterId(b"c" * 32)), known, 8, held(None))
    attempt = dialer.attempts[node] = DialAttempt()
    dialer._dialling[node] = None
    await dialer._dial(node)
    assert attempt.delay == 2 * BACKOFF_SECONDS_MIN
    first, second = attempt.last_error.split("; ")
    assert first == f"no connection to {closed}: Connection refused"
    assert second.startswith("no connection to nonesuch.invalid:1: ")
    assert "Errno" not in second
    assert not caplog.records


async def test_refusal_is_logged_once_until_it_changes(tmp_path, caplog):
    caplog.set_level("INFO", "gangline")
    member, stranger = key(2), key(3)

    async def knock(node, cluster):
        with contextlib.suppress(HelloRefused):
            link, _ = await reach(address, me.key.pubkey, Identity(node, cluster), NOW)
            link.drop("done")
            await link.run(None)

    async with listening(tmp_path, member.pubkey) as (address, me, driver):
        other = ClusterId(b"o" * 32)
        for node, cluster in (
            *[(stranger, me.cluster)] * 3, *[(stranger, other)] * 3, (stranger, me.cluster),
            (member, me.cluster), (stranger, me.cluster),
        ):  # fmt: skip
            await knock(node, cluster)
            while driver.links:  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.01)
    told = [row.getMessage() for row in caplog.records if "was refused" in row.getMessage()]
    words = ["not_a_member", "wrong_cluster", "not_a_member", "not_a_member"]
    assert [line.split(": ")[1] for line in told] == words


async def test_an_older_tls_is_refused(tmp_path):
    async with listening(tmp_path) as (address, _, _driver):
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        host, port = address.split(":")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(host, int(port), ssl=old)


@pytest.mark.parametrize(("begin", "end"), [(1970, 1971), (2097, 2098)])
async def test_a_certificates_dates_keep_nobody_out(tmp_path, monkeypatch, begin, end):
    """What is pinned is its key: no link hangs on a clock (docs/decisions/0005)."""
    monkeypatch.setattr(tls, "NOT_BEFORE", datetime(begin, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(tls, "NOT_AFTER", datetime(end, 1, 1, tzinfo=UTC))
    member = key(2)
    async with listening(tmp_path, member.pubkey) as (address, me, _):
        link, _ = await reach(address, me.key.pubkey, Identity(member, me.cluster), NOW)
        der = link._socket.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        link.drop("done")
        await link.run(None)
    assert load_der_x509_certificate(der).not_valid_after_utc.year == end


async def test_links_ignore_proxies_in_the_environment(tmp_path, monkeypatch):
    for name in ("https_proxy", "wss_proxy", "all_proxy", "socks_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.upper(), "socks5://127.0.0.1:1")
    member = key(2)
    async with listening(tmp_path, member.pubkey) as (address, me, _):
        link, _ = await reach(address, me.key.pubkey, Identity(member, me.cluster), NOW)
        link.drop("done")

        async def ignored(_link, _data):
            pass

        await link.run(ignored)


async def write_stories(driver, many):
    for number in range(many):
        story = AddStory(StoryId(f"s-{number}"), description=FreeText("x" * 2_000))
        await driver.propose(story)


async def test_a_newcomer_gets_more_than_an_outbox_holds(tmp_path, monkeypatch):
    """However large the document: a part goes out when the one before it has gone."""
    monkeypatch.setattr(limits, "UPDATE_BYTES_MAX", 20_000)
    monkeypatch.setattr(limits, "OUTBOX_BYTES_MAX", 60_000)
    member, held = key(2), set()
    async with listening(tmp_path, member.pubkey) as (address, me, driver):
        await write_stories(driver, 100)
        link, _ = await reach(address, me.key.pubkey, Identity(member, me.cluster), NOW)

        async def received(_link, data):
            match decode_frame(data):
                case SyncStep2(update) | Update(update):
                    held.update(*(piece.records for piece in decode_update(update)))
            if len(held) >= 101:
                link.drop("enough")

        link.send(encode_frame(SyncStep1({})))
        assert await link.run(received) == "enough"


async def test_one_turn_makes_no_more_answers_than_may_wait(tmp_path, monkeypatch):
    """Who asks for much with little waits for the next turn; all of it is answered."""
    monkeypatch.setattr(limits, "TURN_BYTES_MAX", 10_000)
    monkeypatch.setattr(limits, "UPDATE_BYTES_MAX", 10_000)
    turns, member, answers = [], key(2), 0
    async with listening(tmp_path, member.pubkey) as (address, me, driver):
        await write_stories(driver, 20)
        work = driver._runner.work

        def counted(jobs, at):
            turn = work(jobs, at)
            turns.append([len(out.data) for _, ready, _ in turn.results for out in ready.reply])
            return turn

        monkeypatch.setattr(driver._runner, "work", counted)
        link, _ = await reach(address, me.key.pubkey, Identity(member, me.cluster), NOW)

        async def received(_link, data):
            nonlocal answers
            answers += isinstance(decode_frame(data), Records)
            if answers == 12:
                link.drop("enough")

        for _ in range(12):
            link.send(encode_frame(RecordsWanted(me.key.pubkey, 0, ((0, CLOCK_END),))))
        assert await link.run(received) == "enough"
    long = [sizes for sizes in turns if sum(sizes) > limits.TURN_BYTES_MAX]
    assert [len(sizes) for sizes in long] == [1] * 12


def test_who_left_dials_nobody_but_once_at_a_start():
    known, left = {key(9).pubkey: ("192.0.2.7:1",)}, True
    me = Identity(key(1), ClusterId(b"c" * 32))

    class Driver:
        links: ClassVar = {}

    dialer = Dialer(Driver(), me, known, 8, held(Driver()), lambda: left)
    assert dialer._due() == [key(9).pubkey], "it may have been taken back in meanwhile"
    dialer._once.clear()
    assert dialer._due() == []
    left = False
    assert dialer._due() == [key(9).pubkey]
    dialer = Dialer(Driver(), me, known, 8, held(Driver()), lambda: left)
    left = True
    assert dialer._due() == [], "who leaves at work dials nobody from then on"


async def test_node_is_dialled_at_all_its_addresses():
    moved = key(9).pubkey
    places = {moved: ("192.0.2.7:1",)}

    class Driver:
        links: ClassVar = {}

        async def query(self, _look):
            return places, set(), set()

    me = Identity(key(1), ClusterId(b"c" * 32))
    dialer = Dialer(Driver(), me, {}, 8, held(Driver()))
    dialer.given = {moved: ("192.0.2.1:1",)}
    await dialer._learn()
    assert dialer.known == {moved: ("192.0.2.7:1", "192.0.2.1:1")}
    places[moved] = ("192.0.2.1:1",)
    await dialer._learn()
    assert dialer.known == {moved: ("192.0.2.1:1",)}


async def test_who_stops_says_so_and_the_other_side_knows(tmp_path, caplog):
    caplog.set_level("INFO", "gangline.links")
    member = key(2)

    async def ignored(_link, _data):
        pass

    async with listening(tmp_path, member.pubkey) as (address, me, driver):
        link, _ = await reach(address, me.key.pubkey, Identity(member, me.cluster), NOW)
        running = asyncio.create_task(link.run(ignored))
        while not driver.links:  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
    assert (await running, link.peer_reason) == ("closed", "closed")
    assert caplog.records[-1].getMessage().endswith("ended: stopping: this node is stopping")


async def test_unanswered_ping_is_reported_on_both_sides(tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO", "gangline.links")
    monkeypatch.setitem(OPTIONS, "ping_interval", 0.05)
    monkeypatch.setitem(OPTIONS, "ping_timeout", 0.05)
    member = key(2)

    async def ignored(_link, _data):
        pass

    async with listening(tmp_path, member.pubkey) as (address, me, _):
        link, _ = await reach(address, me.key.pubkey, Identity(member, me.cluster), NOW)
        link._socket.keepalive_task.cancel()
        link._socket.transport.pause_reading()  # frozen, as by SIGSTOP
        running = asyncio.create_task(link.run(ignored))
        while "ended" not in caplog.text:  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)
        link._socket.transport.resume_reading()
        assert (await running, link.peer_reason) == ("closed", "silent")
    [ended] = [one.getMessage() for one in caplog.records if "ended" in one.getMessage()]
    assert "silent: a ping was not answered in time" in ended


async def test_oversized_message_does_not_end_the_daemon(tmp_path, caplog):
    caplog.set_level("INFO", "gangline.links")
    member = key(2)

    async def ignored(_link, _data):
        pass

    async with listening(tmp_path, member.pubkey) as (address, me, driver):
        link, _ = await reach(address, me.key.pubkey, Identity(member, me.cluster), NOW)
        link.send(b"x" * (limits.FRAME_BYTES_MAX + 1))
        assert (await link.run(ignored), link.peer_reason) == ("closed", "too_large")
        while driver.links:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)
    assert "ended: too_large: it sent a message over the size limit" in caplog.text


def test_a_ticket_in_a_hello_shows_itself_nowhere():
    proof = ProofMessage(NOW, "00", ticket="secret", name="n")
    assert "secret" not in repr(proof)
    assert "secret" not in str(proof.__rich_repr__())


async def test_unusable_listen_address_is_one_sentence(tmp_path, monkeypatch):
    async def refused(address):
        with pytest.raises(OperatorError) as told:
            async with listening(tmp_path, address=address):
                pass
        assert "Errno" not in told.value.message
        return told.value.message

    assert "this host does not have that address; set listen" in await refused("203.0.113.9:7473")
    (tmp_path / "first").mkdir()
    async with listening(tmp_path / "first") as (taken, *_):
        assert "stop the process that uses it" in await refused(taken)

    def nowhere(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", nowhere)
    assert "the host name cannot be resolved" in await refused("den.example:7473")


async def test_no_host_is_every_host(tmp_path):
    async with listening(tmp_path, address=":0") as (address, *_):
        assert address.startswith(":")
        _, writer = await asyncio.open_connection("127.0.0.1", int(address[1:]))
        writer.close()
