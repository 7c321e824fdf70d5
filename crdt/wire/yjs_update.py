"""Stage 3 of the gate: a strict decoder and an encoder for Yjs updates, format v1.

The decoder accepts exactly the grammar of protocol §3, in linear time and without recursion; every
length is checked against the bytes left before it is used. Only updates from this encoder reach a
native document. Source: Yjs ``UpdateEncoder``, ``Item.write``.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from machines.errors import InvalidValue

from crdt.primitives import limits, varint
from crdt.primitives.errors import PeerFault, Reason
from crdt.primitives.varint import Reader

DELETED: Final = 1
BINARY: Final = 3
ANY: Final = 8
HAS_ORIGIN: Final = 0x80
ANY_BYTES: Final = 116
PARENT_IS_ROOT: Final = 1
ROOT_BYTES_MAX: Final = 96
CLOCK_END: Final = limits.CLOCK_MAX + 1
CLIENT_MAX: Final = 2**limits.CLIENT_ID_BITS - 1
_ROOT: Final = re.compile(r"feed/([0-9a-f]{64})/(0|[1-9][0-9]{0,9})")


class FeedSlice(NamedTuple):
    """The clocks ``[start, end)`` of one client.

    Attributes:
        client: the Yjs client id.
        root: the root name if the slice contains clock 0, else ``None``.
        records: (clock, value) of the clocks with content.
        gaps: (clock, length) of the runs without content; no two of them touch.
    """

    client: int
    root: str | None
    start: int
    end: int
    records: list[tuple[int, bytes]]
    gaps: list[tuple[int, int]]


def parse_root(root: str) -> tuple[bytes, int] | None:
    """Return the key (32 bytes) and the incarnation in a root name; ``None`` if it is invalid.

    >>> parse_root("feed/" + "00" * 32 + "/7")[1]
    7
    """
    found = _ROOT.fullmatch(root)
    if found is None or (incarnation := int(found[2])) > limits.INCARNATION_MAX:
        return None
    return bytes.fromhex(found[1]), incarnation


def decode_update(
    data: bytes,
    *,
    bytes_max: int = limits.UPDATE_BYTES_MAX,
    checkpoint: Callable[[], None] = lambda: None,
) -> list[FeedSlice]:
    """Decode an update.

    Args:
        checkpoint: called before each struct, and each value of one with several.

    >>> root = "feed/" + "00" * 32 + "/0"
    >>> update = encode_update([FeedSlice(9, root, 0, 2, [(1, b"value")], [(0, 1)])])
    >>> decode_update(update)[0].records
    [(1, b'value')]

    Raises:
        PeerFault: ``too_large``, or ``malformed_update`` with what is wrong.
    """
    if len(data) > bytes_max:
        raise PeerFault(Reason.TOO_LARGE, f"an update of {len(data)} bytes")
    reader = Reader(data)
    try:
        # A client takes at least a count, an id, a clock and a struct of four bytes.
        slices = [_read_client(reader, checkpoint) for _ in range(reader.count(7))]
        if len({piece.client for piece in slices}) != len(slices):
            raise InvalidValue("client", "there once")
        _skip_delete_set(reader)
        reader.finish()
    except InvalidValue as fault:
        raise PeerFault(Reason.MALFORMED_UPDATE, str(fault)) from fault
    return slices


def _read_client(reader: Reader, checkpoint: Callable[[], None]) -> FeedSlice:
    """Read the structs of one client; their clocks must be consecutive."""
    structs = reader.count(4)
    if structs == 0:
        raise InvalidValue("client", "there with at least one struct")
    client = reader.uint(CLIENT_MAX)
    start = clock = reader.uint(limits.CLOCK_MAX)
    root: str | None = None
    records: list[tuple[int, bytes]] = []
    gaps: list[tuple[int, int]] = []
    for _ in range(structs):
        checkpoint()
        info = reader.take(1)[0]
        if clock == 0:
            root = _read_root(reader, info)
        elif info & 0xE0 != HAS_ORIGIN:
            raise InvalidValue("struct", "an item that follows the one before it")
        elif (reader.uint(CLIENT_MAX), reader.uint()) != (client, clock - 1):
            raise InvalidValue("origin", "the element before, by the same client")
        content = info & 0x1F
        if content == DELETED:
            length = reader.uint(CLOCK_END)
            if gaps and sum(gaps[-1]) == clock:
                gaps[-1] = (gaps[-1][0], gaps[-1][1] + length)
            else:
                gaps.append((clock, length))
        elif content == BINARY:
            length = 1
            records.append((clock, reader.block(limits.CATCHUP_BYTES_MAX)))
        elif content == ANY:
            length = _read_any(reader, clock, records, checkpoint)
        else:
            raise InvalidValue("content", "Any, Binary or Deleted")
        if length == 0 or clock + length > CLOCK_END:
            raise InvalidValue("struct", "not empty, and with clocks below 2^31")
        clock += length
    return FeedSlice(client, root, start, clock, records, gaps)


def _read_root(reader: Reader, info: int) -> str:
    """Read the parent of a client's first element, which must be the root name of a feed."""
    if info & 0xE0 or reader.uint(0xFF) != PARENT_IS_ROOT:
        raise InvalidValue("first element", "with a root as its parent, and no origin or key")
    root = reader.text(ROOT_BYTES_MAX)
    if parse_root(root) is None:
        raise InvalidValue("root", "feed/<key>/<incarnation>")
    return root


def _read_any(
    reader: Reader, clock: int, records: list[tuple[int, bytes]], checkpoint: Callable[[], None]
) -> int:
    """Read a run of byte strings into ``records``; return how many."""
    length = reader.count(2)
    for position in range(clock, clock + length):
        checkpoint()
        if reader.take(1)[0] != ANY_BYTES:
            raise InvalidValue("value", "a byte string")
        records.append((position, reader.block(limits.CATCHUP_BYTES_MAX)))
    return length


def _skip_delete_set(reader: Reader) -> None:
    """Check the syntax of a delete set. Its content is ignored: deletions follow from records."""
    for _ in range(reader.count(2)):
        reader.uint(CLIENT_MAX)
        for _ in range(reader.count(2)):
            reader.uint()
            reader.uint()


# --- encoding ----------------------------------------------------------------------------------


def encode_update(
    slices: Iterable[FeedSlice], deletes: Mapping[int, list[tuple[int, int]]] | None = None
) -> bytes:
    """Encode an update, highest client id first as Yjs does; a run of values is one item.

    Args:
        slices: at most one per client; records and gaps of each cover its clocks exactly.
        deletes: by client, (clock, length) of elements that the reader has and must delete.
    """
    ordered = sorted(slices, key=lambda piece: piece.client, reverse=True)
    out = [varint.uint(len(ordered))]
    deleted: dict[int, list[tuple[int, int]]] = dict(deletes or {})
    for piece in ordered:
        out += _write_client(piece)
        if piece.gaps:
            deleted[piece.client] = sorted([*deleted.get(piece.client, []), *piece.gaps])
    out.append(varint.uint(len(deleted)))
    for client in sorted(deleted, reverse=True):
        out += [varint.uint(client), varint.uint(len(deleted[client]))]
        for clock, length in deleted[client]:
            out += [varint.uint(clock), varint.uint(length)]
    return b"".join(out)


def _write_client(piece: FeedSlice) -> list[bytes]:
    structs: list[bytes] = []
    client = varint.uint(piece.client)
    runs: list[tuple[int, list[bytes] | int]] = [*piece.gaps]
    for clock, value in piece.records:
        last = runs[-1] if runs else None
        if last is not None and isinstance(last[1], list) and last[0] + len(last[1]) == clock:
            last[1].append(value)
        else:
            runs.append((clock, [value]))
    runs.sort(key=lambda run: run[0])
    for clock, content in runs:
        head = ANY if isinstance(content, list) else DELETED
        if clock == 0:
            assert piece.root is not None, "a slice from clock 0 has a root"
            structs.append(bytes([head, PARENT_IS_ROOT]) + varint.block(piece.root.encode()))
        else:
            structs.append(bytes([head | HAS_ORIGIN]) + client + varint.uint(clock - 1))
        if isinstance(content, list):
            structs.append(varint.uint(len(content)))
            structs += [b"t" + varint.block(value) for value in content]
        else:
            structs.append(varint.uint(content))
    return [varint.uint(len(runs)), client, varint.uint(piece.start), *structs]


# --- state vectors -----------------------------------------------------------------------------


def encode_state_vector(vector: Mapping[int, int]) -> bytes:
    """Encode a state vector: client id → next clock."""
    out = [varint.uint(len(vector))]
    for client in sorted(vector, reverse=True):
        out += [varint.uint(client), varint.uint(vector[client])]
    return b"".join(out)


def decode_state_vector(data: bytes) -> dict[int, int]:
    """Decode a state vector.

    Raises:
        PeerFault: ``malformed_update``.
    """
    reader = Reader(data)
    vector: dict[int, int] = {}
    try:
        for _ in range(reader.count(2)):
            client = reader.uint(CLIENT_MAX)
            if client in vector:
                raise InvalidValue("client", "there once")
            vector[client] = reader.uint(CLOCK_END)
        reader.finish()
    except InvalidValue as fault:
        raise PeerFault(Reason.MALFORMED_UPDATE, f"state vector: {fault}") from fault
    return vector
