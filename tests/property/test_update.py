"""Updates and frames: what is written is read back; spoilt bytes are a peer's fault at worst."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from crdt.primitives import limits
from crdt.primitives.errors import PeerFault, Reason
from crdt.primitives.identity import FeedId
from crdt.wire import messages as f
from crdt.wire.yjs_update import (
    CLIENT_MAX,
    CLOCK_END,
    FeedSlice,
    decode_state_vector,
    decode_update,
    encode_state_vector,
    encode_update,
)
from tests.support.builders import bodies, tables

clients = st.integers(0, CLIENT_MAX)
values = st.binary(max_size=12)
ends = st.integers(0, CLOCK_END)
hashes = st.binary(min_size=32, max_size=32)
vectors = st.dictionaries(clients, ends, max_size=6)


@st.composite
def slices(draw, client):
    """A run of clocks, each part with content or without."""
    start = draw(st.just(0) | st.integers(1, limits.CLOCK_MAX - 40))
    records, gaps, clock = [], [], start
    for content in draw(st.lists(st.none() | values, min_size=1, max_size=8)):
        if content is not None:
            records.append((clock, content))
            clock += 1
            continue
        length = draw(st.integers(1, 4))
        if gaps and sum(gaps[-1]) == clock:
            gaps[-1] = (gaps[-1][0], gaps[-1][1] + length)
        else:
            gaps.append((clock, length))
        clock += length
    root = FeedId(draw(bodies.nodes), draw(bodies.incarnations)).root if start == 0 else None
    return FeedSlice(client, root, start, clock, records, gaps)


@st.composite
def updates(draw):
    return [draw(slices(client)) for client in draw(st.lists(clients, max_size=3, unique=True))]


def ranges(*more):
    """Rising ranges of clocks, each with whatever else it carries."""
    bounds = st.lists(st.integers(0, CLOCK_END), min_size=0, max_size=8, unique=True).map(sorted)
    pairs = bounds.map(lambda found: list(zip(found[::2], found[1::2], strict=False)))
    return pairs.flatmap(
        lambda found: st.tuples(*(st.tuples(st.just(a), st.just(b), *more) for a, b in found))
    )


feed = (bodies.nodes, bodies.incarnations)
forks = st.none() | st.integers(0, limits.CLOCK_MAX)
sides = st.tuples(st.binary(min_size=64, max_size=64), hashes)
frames = st.one_of(
    st.builds(f.SyncStep1, vectors),
    st.builds(f.SyncStep2, values),
    st.builds(f.Update, values),
    st.lists(
        st.builds(f.AwarenessEntry, clients, st.integers(0, 2**32 - 1), bodies.written), max_size=3
    ).map(lambda entries: f.Awareness(tuple(entries))),
    st.just(f.QueryAwareness()),
    st.builds(f.DigestOffer, hashes),
    st.builds(
        f.FeedDigests,
        st.lists(st.builds(f.FeedDigest, *feed, hashes, forks), max_size=3).map(tuple),
        st.booleans(),
    ),
    st.builds(
        f.RangeDigests,
        *feed,
        ranges(ends, hashes).map(lambda rows: tuple(f.RangeDigest(*row) for row in rows)),
    ),
    st.builds(f.RecordsWanted, *feed, ranges()),
    st.builds(
        f.Records,
        *feed,
        st.lists(st.tuples(bodies.clocks, st.binary(min_size=64, max_size=70)), max_size=3).map(
            tuple
        ),
    ),
    st.builds(f.Proof, *feed, bodies.clocks, st.tuples(sides, sides)),
    st.builds(f.HaveUpTo, *feed, ends),
)


@given(updates())
def test_an_update_that_is_written_is_read_back(pieces):
    data = encode_update(pieces)
    again = decode_update(data)
    assert again == sorted(pieces, key=lambda piece: piece.client, reverse=True)
    assert encode_update(again) == data


@given(vectors)
def test_a_state_vector_that_is_written_is_read_back(vector):
    assert decode_state_vector(encode_state_vector(vector)) == vector


@given(frames)
def test_a_frame_that_is_written_is_read_back(frame):
    again = f.decode_frame(f.encode_frame(frame))
    assert again == frame
    assert type(again) is type(frame)


UPDATES = [bytes.fromhex(row["update"]) for row in tables.load("yjs_updates.json")]


@st.composite
def spoilt(draw, whole):
    data = draw(whole)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        cut = draw(st.integers(0, 4))
        piece = draw(st.binary(max_size=3) | st.just(data[at : at + 9]) | st.just(b"\xff" * 9))
        data = data[:at] + piece + data[at + cut :]
    return data


def read(decode, data):
    """What was read; ``None`` where it was refused. Nothing else may happen."""
    try:
        return decode(data)
    except PeerFault as fault:
        assert fault.reason in (Reason.MALFORMED_UPDATE, Reason.MALFORMED_FRAME, Reason.TOO_LARGE)
        assert fault.detail.isascii()
        assert len(fault.detail) < 200
        return None


@settings(max_examples=600)
@given(spoilt(st.sampled_from(UPDATES) | updates().map(encode_update)) | st.binary(max_size=60))
@example(b"")
def test_a_spoilt_update_is_read_as_what_it_says_or_refused(data):
    pieces = read(decode_update, data)
    for piece in pieces or ():
        covered = [clock for clock, _ in piece.records]
        covered += [at for clock, length in piece.gaps for at in (clock, clock + length - 1)]
        assert all(piece.start <= clock < piece.end <= CLOCK_END for clock in covered)
        size = len(piece.records) + sum(length for _, length in piece.gaps)
        assert size == piece.end - piece.start
        assert (piece.root is None) == (piece.start > 0)
    if pieces is not None:
        # What we took we say again in our own words, and mean the same.
        assert decode_update(encode_update(pieces)) == sorted(
            pieces, key=lambda piece: piece.client, reverse=True
        )


@settings(max_examples=600)
@given(spoilt(frames.map(f.encode_frame)) | st.binary(max_size=60))
@example(b"\x68" * 80)
def test_a_spoilt_frame_is_exact_or_refused(data):
    frame = read(f.decode_frame, data)
    if frame is not None:
        assert f.decode_frame(f.encode_frame(frame)) == frame
