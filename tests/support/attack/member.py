"""The hostile member: a key that belongs, and whatever can be signed with it or sent under it.

Each attempt writes in a feed of its own, under an incarnation drawn for it, so that what becomes
of its records is its own doing alone.
"""

import asyncio
import contextlib
import json
import os
import ssl
import tempfile
import time
from collections import deque
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from crdt.presence.signed_presence import PresenceState, sign_presence
from crdt.primitives import limits
from crdt.primitives.errors import PeerFault
from crdt.primitives.identity import FeedId, H
from crdt.records.bodies import Role
from crdt.wire.messages import (
    Awareness,
    AwarenessEntry,
    DigestOffer,
    FeedDigest,
    FeedDigests,
    HaveUpTo,
    Proof,
    RangeDigest,
    RangeDigests,
    Records,
    RecordsWanted,
    SyncStep1,
    SyncStep2,
    Update,
    decode_frame,
    encode_frame,
)
from crdt.wire.yjs_update import CLOCK_END, decode_update, parse_root
from machines import pipeline as p
from machines.values import FreeText, Instant, NodePubkey
from node.network import tls
from node.network.handshake import HelloRefused, Identity, dial
from node.network.link import OPTIONS, Link
from tests.support.attack.environment import PATIENCE_SECONDS, until_cut_off
from tests.support.attack.results import Catalogue
from tests.support.builders import hostile_acts as acts
from tests.support.builders.malformed import BODIES, IDS
from tests.support.builders.record_author import RecordAuthor, as_frame
from tests.support.builders.vectors import FOLDER

CATALOGUE = Catalogue("member")
NO_UPDATES = [
    bytes.fromhex(row["update"])
    for row in json.loads((FOLDER / "yjs_updates.json").read_text())
    if row["verdict"] != "accept"
]
FLOOD = 300
ORDINARY_BYTES, ROW_BYTES = 60 * limits.KIB, 16
"""A message that may hold nobody's loop for long, and what stands beside a record in it."""
ASKED = 60
STANDS = "link stands"
DROPPED = "dropped, "


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def wall_ms():
    return time.time_ns() // 1_000_000


class HostileMember:
    """One key at one daemon, for one attempt: a link, a pen, and what the link brings.

    Attributes:
        records: the ids of what was sent in it, to be looked up at the end.
        heard: the last slices of feeds that were published to it.
    """

    def __init__(self, ground, key, target):
        self.ground, self.key, self.target = ground, key, target
        self.rng = ground.rng
        self.place = ground.members_place(key)
        self.cluster = ground.cluster
        self.pen = RecordAuthor(key, self.cluster, wall_ms(), incarnation=self.rng.getrandbits(32))
        self.story = f"rogue-{self.rng.randrange(40)}"
        self.records = []
        self.deaf = False
        self.update = b""
        self.heard = deque(maxlen=FLOOD)
        self._asked = ground.founder
        self._answered = asyncio.Event()
        self._updated = asyncio.Event()

    async def play(self, act):
        """Make the attempt; gives how the link stood after it."""
        try:
            async with self.linked():
                word = await act(self)
                return await self.word() if word is None else word
        except HelloRefused as refusal:
            return f"refused {refusal.reason}"
        except (OSError, ConnectionClosed, WebSocketException, TimeoutError):
            return "turned away"

    @contextlib.asynccontextmanager
    async def linked(self):
        """A link after an honest hello."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            socket = await connect(
                f"wss://{self.target.address}", ssl=tls.client_context(), proxy=None,
                open_timeout=None, local_addr=(self.place, 0), **OPTIONS,
            )  # fmt: skip
        try:
            secure: ssl.SSLObject = socket.transport.get_extra_info("ssl_object")
            certificate = tls.check_server(secure.getpeercert(binary_form=True), self.target.pubkey)
            async with asyncio.timeout(PATIENCE_SECONDS):
                at, _ = await dial(
                    socket, Identity(self.key, self.cluster), self.target.pubkey, certificate,
                    Instant.from_ms(wall_ms()),
                )  # fmt: skip
            self.link = Link(socket, self.target.pubkey, at, dialled=True, address="")
            self.running = asyncio.create_task(self.link.run(self._received))
            yield
            self.link.drop("done")
            await self.running
        finally:
            await socket.close()

    async def _received(self, _link, data):
        while self.deaf:
            await asyncio.sleep(0.1)
        try:
            frame = decode_frame(data)
        except PeerFault:
            return
        if isinstance(frame, Records) and len(frame.records) == 1 and frame.author == self._asked:
            self._answered.set()
        elif isinstance(frame, SyncStep2):
            self.update = frame.update
            self._updated.set()
        elif isinstance(frame, Update):
            self.heard += decode_update(frame.update)

    async def word(self):
        """Ask for one record after what was sent: when it comes, all was heard."""
        await self.until(self._answered, RecordsWanted(self._asked, 0, ((0, 1),)))
        if not self.running.done():
            return STANDS
        return f"{DROPPED}{self.link.peer_reason or 'without a word'}"

    async def until(self, event, question):
        """Ask something, and wait for the answer or for the end of the link."""
        event.clear()
        self.tell(question)
        waiting = asyncio.create_task(event.wait())
        await asyncio.wait(
            {waiting, self.running}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_SECONDS
        )
        waiting.cancel()

    def tell(self, frame):
        """Send a frame, or bytes as they are."""
        self.link.send(frame if isinstance(frame, bytes) else encode_frame(frame))

    def show(self, *records):
        """Send records, in messages of ordinary size, and remember them."""
        self.records += [record.record_id for record in records]
        for part in parts(records):
            self.tell(as_frame(*part))

    def show_raw(self, *bodies):
        """Sign bytes that are no bodies, and send them."""
        self.show(*map(self.pen.sign_bytes, bodies))

    @staticmethod
    def here():
        """A presence of now."""
        return PresenceState(Instant.from_ms(wall_ms()))

    async def victims(self):
        """Records of honest nodes, as (feed, clock, value), from the daemon itself."""
        await self.until(self._updated, SyncStep1({}))
        honest = {target.pubkey for target in self.ground.targets}
        return [
            (feed, clock, value)
            for piece in (decode_update(self.update, bytes_max=2**24) if self.update else ())
            if piece.root is not None
            for feed in [FeedId(NodePubkey(parse_root(piece.root)[0]), parse_root(piece.root)[1])]
            if feed.author in honest
            for clock, value in piece.records
        ]

    async def victim(self):
        """One of them."""
        found = await self.victims()
        if not found:
            raise TimeoutError
        return self.rng.choice(found)


def parts(records):
    """Records of one feed, as many at a time as fit into a message of ordinary size."""
    part, size = [], 0
    for record in records:
        size += len(record.value) + ROW_BYTES
        if part and size > ORDINARY_BYTES:
            yield part
            part, size = [], len(record.value) + ROW_BYTES
        part.append(record)
    if part:
        yield part


def rejected(*reasons):
    """What a record gets whose author's software lied: it is dropped from memory in time."""
    return [f"rejected {reason}" for reason in reasons] + ["not taken", STANDS]


def dropped(*reasons):
    return [f"{DROPPED}{reason}" for reason in reasons]


KEPT = ("admitted", "superseded or not taken", "not taken", STANDS)
WAITS = ("not taken", STANDS)
FORKED = ("void fork", "not taken", STANDS)


# --- two in one slot -----------------------------------------------------------------------


@CATALOGUE(*FORKED, "admitted")
async def equivocate(one):
    """Two records in one slot."""
    one.show(one.pen.story(one.story, title="kept"))
    clock = one.pen.clock
    one.show(one.pen.story(one.story, title="one", clock=clock))
    one.show(one.pen.story(one.story, title="two", clock=clock))


@CATALOGUE(*FORKED)
async def fork_of_the_first_slot(one):
    """What others may have built upon is forked away."""
    first = one.pen.transition(one.story, p.Block(FreeText("one")))
    one.show(first, one.pen.transition(one.story, p.Unblock(), first))
    one.show(one.pen.story(one.story, title="another", clock=0))


# --- records that break a rule -------------------------------------------------------------


@CATALOGUE(*rejected("illegal_transition", "rejected_parent"))
async def illegal_transitions(one):
    one.show(*acts.illegal_events(one.pen, one.story))


@CATALOGUE(*rejected("stamp_backwards"), "admitted")
async def stamp_before_its_parent(one):
    parent = one.pen.transition(one.story, p.Block(FreeText("later")))
    one.show(parent, one.pen.transition(one.story, p.Unblock(), parent, ms=one.pen.ms - 60_000))


@CATALOGUE(*rejected("illegal_execution"))
async def illegal_execution(one):
    one.show(acts.illegal_execution(one.pen, one.story))


@CATALOGUE(*rejected("not_allowed"))
async def self_admission(one):
    """Admin by its own word, and a friend brought in."""
    friend = NodePubkey(os.urandom(32))
    one.show(
        one.pen.member(one.key.pubkey, Role.ADMIN), one.pen.member(friend, Role.MEMBER, "friend")
    )


@CATALOGUE(*rejected("not_allowed"))
async def founder_revoked(one):
    founder = one.ground.founder
    one.show(one.pen.revocation(founder, []), one.pen.revocation(founder, [], [(0, 0)]))


@CATALOGUE(*rejected("malformed_record"))
async def malformed_bodies(one):
    bodies = one.rng.sample(sorted(BODIES), 4)
    one.show_raw(*(as_bytes(BODIES[name]) for name in bodies))


@CATALOGUE(*rejected("malformed_record"))
async def deep_nesting(one):
    one.show_raw(b"[" * 16_000, b'{"a":' * 2_000 + b"1" + b"}" * 2_000)


@CATALOGUE(*rejected("malformed_record"))
async def control_characters(one):
    at = str(one.pen.at())
    texts = ("\x1b[2J\x1b]0;owned\x07", "a\rb", "\x9b31m", "\x00")
    one.show_raw(*(
        json.dumps(
            {"at": at, "kind": "story", "n": 0, "story": one.story, "title": text},
            ensure_ascii=False, separators=(",", ":"),
        ).encode()
        for text in texts
    ))  # fmt: skip


@CATALOGUE(*KEPT)
async def misleading_texts(one):
    """What no rule forbids, and no terminal or page may obey."""
    one.show(
        one.pen.story(one.story, title="\u202egnp.exe <script>alert(1)</script>"),
        one.pen.story(one.story, description="[red]not red[/red] \u200b\u2066x"),
    )


@CATALOGUE(*rejected("malformed_record"))
async def odd_ids(one):
    at = one.pen.at()
    one.show_raw(*(
        f'{{"at":"{at}","kind":"story","n":0,"story":"{text}"}}'.encode() for text in IDS.values()
    ))  # fmt: skip


@CATALOGUE(*WAITS, "admitted")
async def stamps_ahead(one):
    """By nearly as much as is taken, by a day, by ten years."""
    now = one.pen.ms
    for ahead in (290_000, 86_400_000, 10 * 365 * 86_400_000):
        one.show(one.pen.story(one.story, title="from tomorrow", ms=now + ahead))


@CATALOGUE(*KEPT)
async def claim_since_2020(one):
    one.show(one.pen.claim(one.story, since=acts.LONG_AGO))


@CATALOGUE(*KEPT)
async def false_seal(one):
    """A seal over a random digest, and for another count."""
    one.show(one.pen.story(one.story, title="sealed"), one.pen.seal(7, os.urandom(32)))


@CATALOGUE(*KEPT)
async def false_evidence(one):
    """An accusation of an honest node that proves nothing."""
    feed, clock, value = await one.victim()
    one.show(one.pen.accusation(feed, clock, value))


@CATALOGUE(*WAITS)
async def pending_bomb(one):
    """Records whose parents nobody has."""
    one.show(*_waiting(one, FLOOD))


async def fill(ground):
    """Fill what is bounded at every daemon: what waits of each member, and the outbox of one."""
    for key in ground.rogues:
        records = _waiting(
            HostileMember(ground, key, ground.target()), limits.PENDING_PER_AUTHOR_MAX
        )

        async def bomb(one, records=records):
            one.tell(as_frame(*records))

        plays = (HostileMember(ground, key, target).play(bomb) for target in ground.targets)
        await asyncio.gather(*plays)
    await HostileMember(ground, ground.rogues[0], ground.targets[0]).play(long_feed)
    for target in ground.targets:
        await HostileMember(ground, ground.rogues[0], target).play(never_reads)


async def long_feed(one):
    """Writes a feed that many times over is more than an outbox holds, for ``never_reads``."""
    text = "x" * limits.KIB
    one.tell(as_frame(*(one.pen.story(f"{one.story}-{n}", description=text) for n in range(FLOOD))))
    one.ground.long_feed = FeedId(one.key.pubkey, one.pen.incarnation)


def _waiting(one, many):
    return acts.orphans(one.pen, one.story, many, os.urandom(32))


@CATALOGUE("admitted", "not taken", STANDS)
async def unknown_kinds(one):
    one.show(*acts.unknown_kinds(one.pen, *range(5)))


@CATALOGUE(*KEPT)
async def flood_of_records(one):
    """Valid records, as fast as they can be sent."""
    at = one.pen.at
    one.show(*(one.pen.claim(one.story, since=at()) for _ in range(FLOOD)))


@CATALOGUE("admitted", *WAITS)
async def many_feeds(one):
    """A record in each of many feeds, behind a slot that nobody is shown: no update tells it."""
    feeds = one.rng.sample(range(2**31), FLOOD // 2)
    for record in acts.in_many_feeds(one.pen, one.story, feeds):
        one.show(record)


@CATALOGUE(STANDS)
async def old_records_of_others(one):
    """What honest nodes wrote and superseded since, again and again, to spend their shares."""
    clients = {
        feed.client_id(one.cluster): feed
        for feed in (FeedId(target.pubkey, 0) for target in one.ground.targets)
    }
    await asyncio.wait({one.running}, timeout=1)
    for piece in one.heard:
        feed = clients.get(piece.client)
        rows = tuple(piece.records) if feed is not None else ()
        if rows and len(rows) <= limits.RECORDS_PER_FRAME_MAX // 20:
            one.tell(acts.by_position(feed, *rows * 20))


@CATALOGUE(*WAITS)
async def records_of_a_stranger(one):
    """Signed by a key that nobody knows, brought by a member."""
    stranger = RecordAuthor(type(one.key)(os.urandom(32)), one.cluster, wall_ms())
    one.show(*(stranger.story(one.story, title="hello") for _ in range(20)))


# --- what is not signed, or not by whom it says --------------------------------------------


@CATALOGUE(*dropped("bad_signature"))
async def forged_record(one):
    """Its own record, shown as if it stood in an honest feed."""
    feed, clock, _ = await one.victim()
    own = one.pen.story(one.story, title="forged")
    one.tell(acts.by_position(feed, (clock + 1_000_000, own.value)))


@CATALOGUE(*dropped("bad_signature"))
async def record_elsewhere(one):
    """An honest record at another clock."""
    feed, clock, value = await one.victim()
    one.tell(acts.by_position(feed, (clock + 1_000_000, value)))


@CATALOGUE(*dropped("bad_signature"))
async def record_of_another_cluster(one):
    pen = RecordAuthor(one.key, type(one.cluster)(os.urandom(32)), wall_ms(), one.pen.incarnation)
    one.tell(as_frame(pen.story(one.story, title="from elsewhere")))


@CATALOGUE(*dropped("bad_signature"))
async def forged_presence(one):
    [entry] = [sign_presence(one.key, type(one.cluster)(bytes(32)), 1, one.here())]
    one.tell(Awareness((entry,)))


@CATALOGUE(STANDS)
async def proof_of_nothing(one):
    feed, clock, value = await one.victim()
    side = (value[: limits.SIGNATURE_BYTES], H(value[limits.SIGNATURE_BYTES :]))
    one.tell(Proof(*feed, clock, (side, side)))
    one.tell(Proof(*feed, clock, (side, (bytes(64), H(b"never said")))))


@CATALOGUE(STANDS)
async def proofs_against_nobody(one):
    """True proofs against keys that were made to be forked, and that nobody knows."""
    for _ in range(ASKED):
        one.tell(acts.fork_of(type(one.key)(os.urandom(32)), one.cluster, wall_ms()))


@CATALOGUE(STANDS)
async def false_gap(one):
    """An update that says that an honest feed is empty to its end and beyond."""
    feed, clock, _ = await one.victim()
    one.tell(acts.false_gap(feed, one.cluster, clock + 1 + one.rng.randrange(1000)))


# --- bytes that are no message of ours -----------------------------------------------------


@CATALOGUE(*dropped("malformed_frame"))
async def garbage(one):
    one.tell(b"\x63" + os.urandom(one.rng.randrange(300)))


@CATALOGUE(*dropped("malformed_update"))
async def updates_that_break_yjs(one):
    """Updates that standard libraries hang, panic or crash on (``tests/vectors``)."""
    one.tell(Update(one.rng.choice(NO_UPDATES)))


@CATALOGUE(*dropped("too_large"))
async def update_over_its_bound(one):
    one.tell(Update(bytes(limits.UPDATE_BYTES_MAX + 1)))


@CATALOGUE(*dropped("too_large", "without a word"))
async def frame_over_its_bound(one):
    one.tell(bytes(limits.FRAME_BYTES_MAX + 1))


@CATALOGUE(*dropped("malformed_frame"))
async def text_frame(one):
    await one.link._socket.send("text")


@CATALOGUE(*dropped("malformed_frame", "malformed_update"))
async def counts_without_bytes(one):
    giant = b"\xff\xff\xff\xff\x0f"
    one.tell(one.rng.choice((
        bytes([1]) + b"\x06" + giant + b"\0",
        bytes([101, 1]) + giant,
        encode_frame(Update(giant + b"\0")),
        encode_frame(SyncStep1({}))[:-2] + b"\x05" + giant,
    )))  # fmt: skip


# --- asking without end --------------------------------------------------------------------


@CATALOGUE(STANDS, *dropped("lagging"))
async def everything_again_and_again(one):
    """The whole document, asked for a hundred times: one answer at a time is made."""
    for _ in range(100):
        one.tell(SyncStep1({}))


@CATALOGUE(STANDS, *dropped("lagging"))
async def digests_without_end(one):
    rows = tuple(
        FeedDigest(target.pubkey, number, bytes(32), None)
        for target in one.ground.targets
        for number in range(300)
    )
    for _ in range(ASKED // 3):
        one.tell(DigestOffer(os.urandom(32)))
        one.tell(FeedDigests(rows, last=False))


@CATALOGUE(STANDS, *dropped("lagging"))
async def feeds_that_are_nowhere(one):
    """Names feeds that nobody ever opened, to be remembered as different, or as held."""
    for _ in range(ASKED // 6):
        rows = tuple(
            FeedDigest(one.key.pubkey, one.rng.getrandbits(32), os.urandom(32), None)
            for _ in range(80)
        )
        one.tell(FeedDigests(rows, last=True))
    for _ in range(FLOOD):
        one.tell(HaveUpTo(one.key.pubkey, one.rng.getrandbits(32), CLOCK_END))


@CATALOGUE(STANDS, *dropped("lagging"))
async def ranges_without_end(one):
    feed = one.rng.choice(one.ground.targets).pubkey
    many = range(0, 2 * limits.RANGES_PER_FRAME_MAX, 2)
    ranges = tuple(RangeDigest(clock, clock + 1, 1, bytes(32)) for clock in many)
    for _ in range(ASKED // 3):
        one.tell(RangeDigests(feed, 0, ranges))
        one.tell(RecordsWanted(feed, 0, ((0, CLOCK_END),)))


@CATALOGUE(STANDS, *dropped("lagging", "without a word"))  # it answers no ping either
async def never_reads(one):
    """Asks for a feed, more often than anybody's outbox holds, and does not listen.

    One part of the answer waits for it, whatever it asks for.
    """
    feed = one.ground.long_feed or FeedId(one.rng.choice(one.ground.targets).pubkey, 0)
    async with one.ground.alone:  # memory is compared: it must not hang on how many do it at once
        one.deaf = True
        for _ in range(limits.OUTBOX_MESSAGES_MAX):
            one.tell(RecordsWanted(*feed, ((0, CLOCK_END),)))
        await asyncio.wait({one.running}, timeout=4)  # until it listens it hears of no end either
        one.link.drop("done")  # nor does it listen to all that
        one.deaf = False
        return STANDS


@CATALOGUE(STANDS)
async def presence_flood(one):
    for clock in range(200):
        one.tell(Awareness((sign_presence(one.key, one.cluster, clock, one.here()),)))


@CATALOGUE(STANDS)
async def addresses_that_are_none(one):
    """A path and a query, a name that no resolver takes, and a server that sends one elsewhere."""
    asked = []

    async def answer(reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            asked.append((await reader.readline()).split(b" ")[1])
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: /drop?all=1\r\n\r\n")
            await writer.drain()
        writer.close()

    with tempfile.TemporaryDirectory() as folder:
        context, _ = tls.server_context(one.key, Path(folder))
    async with await asyncio.start_server(answer, one.place, 0, ssl=context) as server:
        here = f"{one.place}:{server.sockets[0].getsockname()[1]}"
        for said in (
            (f"{here}/drop?all=1", "["),
            ("x" * 70 + ".example:1", f"u:p@{here}"),
            (here,),
        ):
            state = PresenceState(Instant.from_ms(wall_ms()), said)
            one.tell(Awareness((sign_presence(one.key, one.cluster, 1, state),)))
            await asyncio.wait({one.running}, timeout=0.7)
        word = await one.word()
    wrong = sorted({path.decode(errors="replace") for path in asked} - {"/"})
    return f"asked for {wrong[0]}" if wrong else word


@CATALOGUE("linked again")
async def garbage_from_its_own_place(one):
    """What no honest node sends, from where a member is at home: the member must come in."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(
            one.target.host, one.target.port, ssl=tls.client_context(), local_addr=(one.place, 0)
        )
        writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 2 * limits.HELLO_BYTES_MAX)
        await until_cut_off(reader, writer)
    try:
        async with HostileMember(one.ground, one.key, one.target).linked():
            return "linked again"
    except HelloRefused as refusal:
        return f"refused {refusal.reason}"
    except (OSError, ConnectionClosed, WebSocketException, TimeoutError):
        return "shut out"


@CATALOGUE(STANDS)
async def presence_of_another_time(one):
    for ms in (wall_ms() - 600_000, wall_ms() + 86_400_000):
        state = PresenceState(Instant.from_ms(ms))
        one.tell(Awareness((sign_presence(one.key, one.cluster, 2**31, state),)))


@CATALOGUE(*dropped("malformed_frame"))
async def presence_that_says_nothing_known(one):
    one.tell(Awareness((AwarenessEntry(7, 1, '{"user":{"name":"mallory"}}'),)))
