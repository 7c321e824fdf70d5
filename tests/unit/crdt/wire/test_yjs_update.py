import pytest

from crdt.primitives import limits
from crdt.primitives.errors import PeerFault, Reason
from crdt.primitives.varint import block, uint
from crdt.wire.yjs_update import (
    CLIENT_MAX,
    CLOCK_END,
    FeedSlice,
    decode_state_vector,
    decode_update,
    encode_state_vector,
    encode_update,
    parse_root,
)

AUTHOR = bytes(range(32))
ROOT = f"feed/{AUTHOR.hex()}/0"
NO_DELETES = b"\x00"
ANY, BINARY, DELETED, ORIGIN = 8, 3, 1, 0x80


def update(*clients, deletes=NO_DELETES):
    return uint(len(clients)) + b"".join(clients) + deletes


def client(*structs, number=7, clock=0, count=None):
    count = len(structs) if count is None else count
    return uint(count) + uint(number) + uint(clock) + b"".join(structs)


def first(content, *, info=ANY, root=ROOT, kind=1):
    return bytes([info]) + uint(kind) + block(root.encode()) + content


def later(content, clock, *, info=ANY | ORIGIN, number=7, left=None):
    return bytes([info]) + uint(number) + uint(clock - 1 if left is None else left) + content


def values(*of):
    return uint(len(of)) + b"".join(b"t" + block(value) for value in of)


def refused(data):
    with pytest.raises(PeerFault) as caught:
        decode_update(data)
    assert caught.value.reason is Reason.MALFORMED_UPDATE
    return caught.value.detail


# What is taken


def test_a_run_of_values_at_the_root():
    [piece] = decode_update(update(client(first(values(b"a", b"b")))))
    assert piece == FeedSlice(7, ROOT, 0, 2, [(0, b"a"), (1, b"b")], [])


def test_a_run_that_goes_on_where_another_ended():
    [piece] = decode_update(update(client(later(values(b"c"), 5), clock=5)))
    assert piece == FeedSlice(7, None, 5, 6, [(5, b"c")], [])


def test_adjacent_deletions_are_one_gap():
    structs = [
        first(uint(2), info=DELETED),
        later(uint(3), 2, info=DELETED | ORIGIN),
        later(block(b"x"), 5, info=BINARY | ORIGIN),
        later(uint(1), 6, info=DELETED | ORIGIN),
    ]
    [piece] = decode_update(update(client(*structs)))
    assert piece == FeedSlice(7, ROOT, 0, 7, [(5, b"x")], [(0, 5), (6, 1)])


def test_clients_in_any_order_and_ignored_delete_set():
    deletes = uint(1) + uint(7) + uint(2) + uint(0) + uint(1) + uint(4) + uint(9)
    one, two = (
        client(first(values(b"a"))),
        client(later(values(b"b"), 3, number=9), number=9, clock=3),
    )
    slices = decode_update(update(one, two, deletes=deletes))
    assert [(piece.client, piece.records) for piece in slices] == [
        (7, [(0, b"a")]),
        (9, [(3, b"b")]),
    ]
    assert not any(piece.gaps for piece in slices)


def test_largest_clock_and_client_id():
    last = limits.CLOCK_MAX
    data = update(
        client(later(values(b"z"), last, number=CLIENT_MAX), number=CLIENT_MAX, clock=last)
    )
    [piece] = decode_update(data)
    assert (piece.client, piece.start, piece.end) == (CLIENT_MAX, last, CLOCK_END)
    long = update(client(later(uint(last), 1, info=DELETED | ORIGIN), clock=1))
    assert decode_update(long)[0].gaps == [(1, last)]


def test_an_empty_value_is_a_value():
    [piece] = decode_update(update(client(first(values(b"")))))
    assert piece.records == [(0, b"")]


def test_smallest_items_may_fill_an_update():
    """A length is compared with the bytes left, at the least that each thing takes."""
    gap = client(later(uint(1), 1, info=DELETED | ORIGIN), clock=1)
    other = client(later(uint(1), 1, info=DELETED | ORIGIN, number=8), number=8, clock=1)
    assert len(gap) == 7
    assert len(decode_update(update(gap, other))) == 2
    structs = [later(block(b""), clock, info=BINARY | ORIGIN) for clock in range(1, 6)]
    assert len(decode_update(update(client(*structs, clock=1)))[0].records) == 5
    assert len(decode_update(update(client(first(values(b"", b"")))))[0].records) == 2
    assert decode_update(update(deletes=bytes([2, 7, 0, 8, 0]))) == []
    assert decode_update(update(deletes=bytes([1, 7, 2, 0, 1, 4, 1]))) == []


def test_clients_and_clocks_end_where_the_protocol_says():
    assert CLIENT_MAX == 2**53 - 1
    assert CLOCK_END == 2**31


def test_nothing_at_all_is_an_update():
    assert decode_update(update()) == []


# What is refused


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "varint"),
        (update() + b"\x00", "1 bytes follow"),
        (update(client(first(values(b"a"))))[:-1], "varint"),
        (update(client(first(values(b"a"))), client(first(values(b"a")))), "there once"),
        (update(client(count=0) + b"\x00\x00\x00\x00"), "at least one struct"),
        (update(client(first(values(b"a")), count=90)), "no more than fit"),
        (uint(90) + client(first(values(b"a"))) + NO_DELETES, "no more than fit"),
        (update(client(first(values()))), "not empty"),
        (update(client(first(uint(0), info=DELETED))), "not empty"),
        (update(client(first(uint(CLOCK_END + 1), info=DELETED))), "at most"),
        (update(client(later(uint(CLOCK_END), 1, info=DELETED | ORIGIN), clock=1)), "below 2^31"),
        (
            update(client(later(values(b"a", b"b"), limits.CLOCK_MAX), clock=limits.CLOCK_MAX)),
            "below 2^31",
        ),
        (update(client(first(uint(1) + b"\x7d\x01"))), "a byte string"),
        (update(client(first(uint(9) + b"t\x00"))), "no more than fit"),
        (update(client(first(values(b"a"), root="feed/x/0"))), "feed/<key>/<incarnation>"),
        (update(client(first(values(b"a"), root="f" * 97))), "at most 96"),
        (update(client(first(values(b"a"), kind=0))), "a root as its parent"),
        (update(client(first(values(b"a"), info=ANY | ORIGIN))), "a root as its parent"),
        (update(client(first(values(b"a"), info=ANY | 0x20))), "a root as its parent"),
        (update(client(later(values(b"a"), 3, info=ANY), clock=3)), "follows the one"),
        (update(client(later(values(b"a"), 3, info=ANY | 0xC0), clock=3)), "follows the one"),
        (update(client(later(values(b"a"), 3, info=ANY | 0xA0), clock=3)), "follows the one"),
        (update(client(later(values(b"a"), 3, left=1), clock=3)), "the element before"),
        (update(client(later(values(b"a"), 3, number=8), clock=3)), "the element before"),
        (update(client(later(values(b"a"), CLOCK_END), clock=CLOCK_END)), "at most"),
        (update(client(first(values(b"a")), number=CLIENT_MAX + 1)), "at most"),
        (update(client(first(block(b"x"), info=4))), "Any, Binary or Deleted"),
        (update(client(first(uint(3), info=0))), "Any, Binary or Deleted"),
        (update(client(first(uint(3), info=10))), "Any, Binary or Deleted"),
        (update(deletes=uint(1) + uint(7) + uint(2) + uint(0) + uint(1)), "no more than fit"),
        (update(deletes=uint(9) + uint(7)), "no more than fit"),
        (update(deletes=uint(1) + uint(CLIENT_MAX + 1) + uint(0)), "at most"),
        (update(deletes=uint(1) + uint(7) + uint(1) + uint(3)), "no more than fit"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)  # fmt: skip
def test_everything_else_is_refused_with_a_reason(data, why):
    assert why in refused(data)


def test_one_over_the_size_is_refused_before_it_is_read():
    with pytest.raises(PeerFault) as caught:
        decode_update(b"\xff" * 9, bytes_max=8)
    assert caught.value.reason is Reason.TOO_LARGE
    assert caught.value.detail == "an update of 9 bytes"
    data = update(client(first(values(b"a"))))
    assert decode_update(data, bytes_max=len(data))
    with pytest.raises(PeerFault):
        decode_update(bytes(limits.UPDATE_BYTES_MAX + 1))


def test_a_value_may_fill_a_catch_up_and_no_more():
    huge = block(bytes(limits.CATCHUP_BYTES_MAX + 1))
    for content, info in ((huge, BINARY), (uint(1) + b"t" + huge, ANY)):
        data = update(client(first(content, info=info)))
        with pytest.raises(PeerFault) as caught:
            decode_update(data, bytes_max=2 * limits.CATCHUP_BYTES_MAX)
        assert "at most" in caught.value.detail


# Roots


@pytest.mark.parametrize(
    ("root", "parsed"),
    [
        (ROOT, (AUTHOR, 0)),
        (f"feed/{AUTHOR.hex()}/{2**32 - 1}", (AUTHOR, 2**32 - 1)),
        (f"feed/{AUTHOR.hex()}/{2**32}", None),
        (f"feed/{AUTHOR.hex()}/00", None),
        (f"feed/{AUTHOR.hex()}/", None),
        (f"feed/{AUTHOR.hex()}/-1", None),
        (f"feed/{AUTHOR.hex().upper()}/0", None),
        (f"feed/{AUTHOR.hex()}/0\n", None),
        (f"feed/{AUTHOR.hex()[:-1]}/0", None),
        (f"feed/{AUTHOR.hex()}/١", None),
        (f"x{ROOT}", None),
    ],
)
def test_a_root_name_is_of_one_form(root, parsed):
    assert parse_root(root) == parsed


# What is written


def test_clients_are_encoded_highest_first():
    pieces = [
        FeedSlice(7, ROOT, 0, 5, [(0, b"a"), (1, b"b"), (4, b"c")], [(2, 2)]),
        FeedSlice(9, None, 3, 4, [(3, b"x")], []),
    ]
    data = encode_update(pieces)
    assert data == update(
        client(later(values(b"x"), 3, number=9), number=9, clock=3),
        client(
            first(values(b"a", b"b")),
            later(uint(2), 2, info=DELETED | ORIGIN),
            later(values(b"c"), 4),
        ),
        deletes=uint(1) + uint(7) + uint(1) + uint(2) + uint(2),
    )
    assert decode_update(data) == [pieces[1], pieces[0]]


def test_deletes_are_encoded_in_order():
    piece = FeedSlice(7, None, 5, 6, [], [(5, 1)])
    data = encode_update([piece], {7: [(9, 1), (0, 2)], 8: [(4, 1)]})
    deletes = b"".join(map(uint, (2, 8, 1, 4, 1, 7, 3, 0, 2, 5, 1, 9, 1)))
    assert data == update(
        client(later(uint(1), 5, info=DELETED | ORIGIN), clock=5), deletes=deletes
    )
    assert encode_update([], {7: [(0, 1)]}) == b"\x00" + b"".join(map(uint, (1, 7, 1, 0, 1)))
    assert encode_update([]) == b"\x00\x00"


def test_a_gap_at_the_root_keeps_the_root():
    piece = FeedSlice(7, ROOT, 0, 2, [(1, b"a")], [(0, 1)])
    assert decode_update(encode_update([piece])) == [piece]


# State vectors


def test_state_vector_round_trip():
    vector = {7: 3, CLIENT_MAX: CLOCK_END, 8: 0}
    data = encode_state_vector(vector)
    assert data[:1] == b"\x03"
    assert decode_state_vector(data) == vector
    assert list(decode_state_vector(data)) == [CLIENT_MAX, 8, 7]
    assert decode_state_vector(encode_state_vector({})) == {}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x00\x00",
        b"\x02\x07\x01\x07\x02",
        b"\x09\x07\x01",
        b"\x01\x07" + uint(CLOCK_END + 1),
        b"\x01" + uint(CLIENT_MAX + 1) + b"\x01",
    ],
)
def test_a_state_vector_of_another_form_is_refused(data):
    with pytest.raises(PeerFault) as caught:
        decode_state_vector(data)
    assert caught.value.reason is Reason.MALFORMED_UPDATE
    assert caught.value.detail.startswith("state vector: ")
