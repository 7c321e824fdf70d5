import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.presence.signed_presence import (
    ADDRESSES_MAX,
    BEATS_MAX,
    HEARD_MAX,
    Liveness,
    PresenceState,
    open_presence,
    presence_bytes,
    sign_presence,
)
from crdt.primitives import limits
from crdt.primitives.canonical_json import encode as canonical
from crdt.primitives.errors import PeerFault, Reason
from crdt.primitives.identity import ClusterId, FeedId
from crdt.records.signatures import verify_batch
from crdt.wire.messages import Awareness, AwarenessEntry, decode_frame, encode_frame
from machines.errors import InvalidValue
from machines.values import Instant, NodePubkey
from tests.support.builders.vectors import CLUSTER, KEYS, RECORDS

KEY, OTHER, THIRD = KEYS.values()
NODE = KEY.pubkey
AT = Instant("2026-11-24T02:00:00.000Z")
STATE = PresenceState(AT, ("10.0.0.1:7467", "[::1]:7467"), {"s": AT})


def opened(entry, cluster=CLUSTER):
    return open_presence(cluster, entry, verify_batch)


def entry_of(text, *, key=KEY, clock=1, **wire):
    """What a node says, signed by it, whatever it is."""
    signature = key.sign(presence_bytes(CLUSTER, key.pubkey, clock, text)).hex()
    fields = {"node": key.pubkey.hex(), "signature": signature, "state": text} | wire
    return AwarenessEntry(FeedId(key.pubkey, 0).client_id(CLUSTER), clock, json.dumps(fields))


def fault(entry, cluster=CLUSTER):
    with pytest.raises(PeerFault) as caught:
        opened(entry, cluster)
    return caught.value.reason


# --- what is signed ----------------------------------------------------------------------------


def test_a_presence_made_outside_the_project():
    row = RECORDS["presence"]
    node = NodePubkey.from_hex(row["pubkey"])
    said = presence_bytes(CLUSTER, node, row["awareness_clock"], row["state"])
    assert said.hex() == row["signed_bytes"]
    assert KEYS[row["pubkey"]].sign(said).hex() == row["signature"]


def test_presence_round_trip():
    entry = sign_presence(KEY, CLUSTER, 17, STATE)
    assert opened(entry) == (NODE, STATE, entry)
    [again] = decode_frame(encode_frame(Awareness((entry,)))).entries
    assert again == entry
    assert json.loads(entry.state)["state"] == (
        '{"addresses":["10.0.0.1:7467","[::1]:7467"],'
        '"at":"2026-11-24T02:00:00.000Z","beats":{"s":"2026-11-24T02:00:00.000Z"}}'
    )


def test_presence_is_encoded_again_to_forward():
    entry = sign_presence(KEY, CLUSTER, 17, STATE)
    fields = json.loads(entry.state)
    spelt = json.dumps(dict(reversed(fields.items())), indent=1)
    brought = AwarenessEntry(FeedId(OTHER.pubkey, 0).client_id(CLUSTER), 17, spelt)
    assert opened(brought) == (NODE, STATE, entry)


@pytest.mark.parametrize("changed", [{"clock": 18}, {"node": OTHER.pubkey.hex()},
                                     {"state": '{"at":"2026-11-24T02:00:00.001Z"}'},
                                     {"signature": "00" * 64}], ids=str)  # fmt: skip
def test_a_presence_that_its_node_did_not_sign(changed):
    entry = sign_presence(KEY, CLUSTER, 17, STATE)
    clock = changed.pop("clock", 17)
    wire = json.dumps(json.loads(entry.state) | changed)
    assert fault(AwarenessEntry(entry.client, clock, wire)) is Reason.BAD_SIGNATURE


def test_a_presence_of_another_cluster():
    entry = sign_presence(KEY, CLUSTER, 17, STATE)
    assert fault(entry, ClusterId(b"c" * 32)) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("state", [
    "", "null", "{}", "[]", "{", '{"node":"x","signature":"x","state":"{}"}', "\ud800",
])  # fmt: skip
def test_invalid_presence(state):
    assert fault(AwarenessEntry(1, 1, state)) is Reason.MALFORMED_FRAME


@pytest.mark.parametrize("wire", [{"node": NODE.hex().upper()}, {"node": "ab"}, {"extra": 1},
                                  {"signature": "00"}, {"signature": None}, {"state": {}},
                                  {"state": "\ud800"}], ids=str)  # fmt: skip
def test_invalid_wire_form(wire):
    assert fault(entry_of("{}", **wire)) is Reason.MALFORMED_FRAME


def state_of(**fields):
    return canonical({"at": AT, **fields}).decode()


PLAIN = state_of()


@pytest.mark.parametrize("text", [
    "", "{}", "[]", "null",
    state_of(at=None), state_of(at="2026-11-24T02:00:00Z"),
    PLAIN + " ", " " + PLAIN, state_of(x=1).replace(",", ", "), PLAIN.replace(":", ": ", 1),
    '{"beats":{},' + PLAIN[1:], PLAIN[:-1] + "," + PLAIN[1:],
    PLAIN[:-1] + ',"x":1.5}', PLAIN[:-1] + ',"x":"\x7f"}', PLAIN[:-1] + ',"x":"\\u001b"}',
    PLAIN[:-1] + ',"x":' + "[" * 40 + "]" * 40 + "}",
    state_of(beats={"a b": AT}), state_of(beats={"s": "now"}), state_of(beats=[]),
    state_of(addresses=["a b"]), state_of(addresses=["a\n"]), state_of(addresses=['a"b']),
    state_of(addresses=["<b>"]), state_of(addresses=["é"]), state_of(addresses=["a" * 257]),
    state_of(addresses=["a:1"] * (ADDRESSES_MAX + 1)), state_of(addresses="a:1"),
    state_of(addresses=[None]),
])  # fmt: skip
def test_signed_but_invalid_state(text):
    assert fault(entry_of(text)) is Reason.MALFORMED_FRAME


def test_too_many_beats():
    def beats(count):
        return state_of(beats={f"{number:03}": AT for number in range(count)})

    assert len(opened(entry_of(beats(BEATS_MAX))).state.beats) == BEATS_MAX
    assert fault(entry_of(beats(BEATS_MAX + 1))) is Reason.MALFORMED_FRAME


def test_unknown_presence_fields_are_ignored():
    text = state_of(mood={"tail": "up"})
    node, state, entry = opened(entry_of(text))
    assert (node, state) == (NODE, PresenceState(AT))
    assert json.loads(entry.state)["state"] == text


def test_length_comes_before_the_signature():
    room = limits.PRESENCE_BYTES_MAX - len(state_of(x=""))
    assert opened(entry_of(state_of(x="x" * room))).state == PresenceState(AT)

    def unasked(jobs):
        raise AssertionError(jobs)

    with pytest.raises(PeerFault) as caught:
        open_presence(CLUSTER, entry_of(state_of(x="x" * (room + 1))), unasked)
    assert caught.value.reason is Reason.TOO_LARGE


def test_oldest_beats_are_left_out():
    beats = {f"{n:0128}": Instant.from_ms(AT.ms + n) for n in range(BEATS_MAX + 36)}
    addresses = ("h" * 256,) * ADDRESSES_MAX
    state = opened(sign_presence(KEY, CLUSTER, 1, PresenceState(AT, addresses, beats))).state
    assert state.addresses == addresses
    assert 0 < len(state.beats) < BEATS_MAX
    assert set(state.beats) == set(sorted(beats)[-len(state.beats) :])
    short = {f"{n}": AT for n in range(BEATS_MAX + 1)}
    state = opened(sign_presence(KEY, CLUSTER, 1, PresenceState(AT, (), short))).state
    assert len(state.beats) == BEATS_MAX


def test_too_long_addresses_are_refused():
    with pytest.raises(InvalidValue):
        sign_presence(KEY, CLUSTER, 1, PresenceState(AT, ("h" * 256,) * 20))


@given(st.text(max_size=60), st.integers(0, 2**32 - 1))
def test_any_state_at_all(text, clock):
    assert fault(AwarenessEntry(1, clock, text)) is Reason.MALFORMED_FRAME


# --- who was heard from ------------------------------------------------------------------------


class Ears:
    """A liveness table, and a wall clock and a monotonic one that go together."""

    def __init__(self):
        self.table = Liveness()
        self.seconds = 0.0
        self.clock = 0

    def receive(self, *, at=None, clock=None, by=OTHER, node=NODE, after=20.0):
        self.seconds += after
        self.clock += 1
        clock = self.clock if clock is None else clock
        at = AT.ms + int(self.seconds * 1000) if at is None else at
        state = PresenceState(Instant.from_ms(at))
        entry = AwarenessEntry(1, clock, f"{node.hex()} {clock}")
        wall_ms = AT.ms + int(self.seconds * 1000)
        return self.table.receive(node, entry, state, wall_ms, self.seconds, by.pubkey)

    def word(self, after, node=NODE):
        return self.table.status(node, self.seconds + after)


def test_a_node_that_was_never_heard_is_offline():
    assert Liveness().status(NODE, 0.0) == "offline"
    assert Liveness().last(NODE) is None
    assert Liveness().entries() == ()
    assert Liveness().seen_by(NODE) == {}


def test_liveness_uses_the_monotonic_clock():
    ears = Ears()
    assert ears.receive()
    words = {0: "alive", 44.9: "alive", 45: "suspect", 149.9: "suspect", 150: "offline"}
    assert {after: ears.word(after) for after in words} == words
    assert ears.receive(after=1000)
    assert ears.word(1) == "alive"


def test_only_a_newer_beat_is_news():
    ears = Ears()
    assert ears.receive(at=AT.ms, clock=5)
    assert not ears.receive(at=AT.ms, clock=5)
    assert not ears.receive(at=AT.ms, clock=4)
    assert not ears.receive(at=AT.ms - 1, clock=9)
    assert ears.word(0) == "suspect"  # none of these made it live longer
    assert ears.receive(at=AT.ms, clock=6)
    # A node that starts anew counts from the beginning: its instant is what is newer.
    assert ears.receive(at=AT.ms + 1, clock=1)
    assert ears.table.last(NODE).clock == 1


@pytest.mark.parametrize(("age_ms", "news"), [
    (limits.PRESENCE_AGE_MS_MAX, True), (limits.PRESENCE_AGE_MS_MAX + 1, False),
    (-limits.STAMP_AHEAD_MS_MAX, True), (-limits.STAMP_AHEAD_MS_MAX - 1, False),
    (-10 * 365 * 86_400_000, False),
])  # fmt: skip
def test_old_presence_cannot_be_replayed(age_ms, news):
    ears = Ears()
    assert ears.receive(at=AT.ms + 20_000 - age_ms) is news
    assert (ears.table.last(NODE) is not None) is news


def test_two_presences_a_second_are_allowed():
    ears = Ears()
    assert ears.receive()
    assert ears.receive(after=0.25)
    assert not ears.receive(after=0.25)
    assert not ears.receive(after=0.25)
    assert ears.receive(after=0.25)  # a second after the first
    assert ears.receive(after=0.25)  # and after the second
    assert not ears.receive(after=0.25)
    assert ears.receive(node=THIRD.pubkey, after=0.0)  # one node's flood is no other's


def test_last_entry_of_every_node_is_forwarded():
    ears = Ears()
    for node in (OTHER.pubkey, NODE, OTHER.pubkey):
        assert ears.receive(node=node)
    nodes = sorted((NODE, OTHER.pubkey))
    assert ears.table.entries() == tuple(ears.table.last(node).entry for node in nodes)


def test_seen_by_lists_the_peers():
    ears = Ears()
    assert ears.receive(by=OTHER, at=AT.ms, clock=1)
    assert not ears.receive(by=THIRD, at=AT.ms, clock=1, after=1.0)
    assert list(ears.table.seen_by(NODE).items()) == [(OTHER.pubkey, 20.0), (THIRD.pubkey, 21.0)]
    # One that still brings an older beat is slow, and shown to be so.
    assert ears.receive(by=OTHER, at=AT.ms + 1, clock=2, after=9.0)
    assert not ears.receive(by=THIRD, at=AT.ms, clock=1, after=9.0)
    assert list(ears.table.seen_by(NODE).items()) == [(THIRD.pubkey, 21.0), (OTHER.pubkey, 30.0)]


def test_seen_by_is_bounded():
    ears = Ears()
    assert ears.receive(at=AT.ms, clock=1)
    for number in range(limits.LINKS_MAX):
        peer = NodePubkey(number.to_bytes(32, "big"))
        state, entry = PresenceState(AT), AwarenessEntry(1, 1, "")
        ears.table.receive(NODE, entry, state, AT.ms, 30.0 + number, peer)
    roads = ears.table.seen_by(NODE)
    assert len(roads) == limits.LINKS_MAX
    assert OTHER.pubkey not in roads


def said(run, seconds, clock=1):
    """A presence of one run of the node, and how it is heard of at a peer."""
    state = PresenceState(Instant.from_ms(AT.ms + int(seconds * 1000)), run=f"{run:016x}")
    return sign_presence(KEY, CLUSTER, clock, state), state


def heard(liveness, run, seconds, mono, clock=1):
    entry, state = said(run, seconds, clock)
    return liveness.receive(NODE, entry, state, AT.ms, mono, OTHER.pubkey)


def test_older_presence_of_a_duplicate_is_forwarded():
    liveness = Liveness()
    assert heard(liveness, 1, 0, 0.0)
    assert heard(liveness, 2, -60, 1.0)
    assert liveness.last(NODE).state.run == f"{1:016x}"
    assert not heard(liveness, 2, -60, 3.0), "heard before"
    assert not heard(liveness, 2, -61, 3.0), "older than what it said before"
    assert not heard(liveness, 2, -59, 1.5), "more than one a second"
    assert heard(liveness, 2, -45, 16.0)
    assert not heard(liveness, 1, -1, 16.0), "the shown one's own past"


def test_only_a_few_runs_are_forwarded():
    """Whoever pushes out a run that is heard of would let it come as news again, for ever."""
    liveness = Liveness()
    assert heard(liveness, 9, 0, 0.0)
    assert [heard(liveness, run, -10, 1.0) for run in range(6)] == [True] * HEARD_MAX + [False] * 2
    assert not heard(liveness, 0, -10, 3.0)
    assert heard(liveness, 5, -10, 200.0), "the others were not heard of for long"


def test_a_twin_of_an_older_build_names_no_run():
    liveness = Liveness()
    assert heard(liveness, 1, 0, 0.0)
    state = PresenceState(Instant.from_ms(AT.ms - 1000))
    entry = sign_presence(KEY, CLUSTER, 1, state)
    assert liveness.receive(NODE, entry, state, AT.ms, 1.0, OTHER.pubkey)
    assert not liveness.receive(NODE, entry, state, AT.ms, 3.0, OTHER.pubkey)
