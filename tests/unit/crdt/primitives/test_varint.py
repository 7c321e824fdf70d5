import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.primitives import limits
from crdt.primitives.varint import Reader, block, uint
from machines.errors import InvalidValue


def refused(data, read):
    with pytest.raises(InvalidValue) as caught:
        read(Reader(data))
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**53 - 1, "ffffffffffffff0f")],
)
def test_integers_are_written_as_lib0_writes_them(value, written):
    assert uint(value).hex() == written
    assert Reader(bytes.fromhex(written)).uint() == value


@given(st.integers(0, limits.INTEGER_MAX))
def test_what_is_written_is_read_back_and_used_up(value):
    reader = Reader(uint(value))
    assert reader.uint() == value
    reader.finish()


@pytest.mark.parametrize("written", ["8000", "ff00", "80808000"])
def test_non_minimal_varint_is_refused(written):
    assert "shortest" in refused(bytes.fromhex(written), Reader.uint)


@pytest.mark.parametrize("written", ["", "80", "ffffffffffffffff01", "8080808080808080808001"])
def test_truncated_or_too_large_varint_is_refused(written):
    assert "below 2^53" in refused(bytes.fromhex(written), Reader.uint)


def test_one_past_the_bound_is_refused():
    assert Reader(uint(9)).uint(9) == 9
    assert "at most 9" in refused(uint(10), lambda reader: reader.uint(9))
    assert "at most" in refused(bytes.fromhex("ffffffffffffff1f"), Reader.uint)


def test_length_is_checked_against_bytes_left():
    reader = Reader(block(b"abc") + b"de")
    assert (reader.block(3), reader.take(2)) == (b"abc", b"de")
    assert "at most the 2 bytes left" in refused(b"ab", lambda reader: reader.take(3))
    assert "at most the 1 bytes left" in refused(b"\x02a", lambda reader: reader.block(9))
    assert "at most 1" in refused(b"\x02ab", lambda reader: reader.block(1))


def test_count_is_checked_against_bytes_left():
    assert Reader(b"\x03abcdef").count(2) == 3
    assert "no more than fit" in refused(b"\x04abcdef", lambda reader: reader.count(2))
    assert "at most 2" in refused(b"\x03abcdef", lambda reader: reader.count(2, 2))


def test_text_is_utf_8():
    assert Reader(block("ü".encode())).text(2) == "ü"
    assert "UTF-8" in refused(block(b"\xff"), lambda reader: reader.text(9))
    assert "UTF-8" in refused(block(b"\xed\xa0\x80"), lambda reader: reader.text(9))


def test_nothing_may_follow():
    Reader(b"").finish()
    assert "2 bytes follow" in refused(b"ab", Reader.finish)
