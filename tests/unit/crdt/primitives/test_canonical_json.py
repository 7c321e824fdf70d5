import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crdt.primitives import limits
from crdt.primitives.canonical_json import _STRING, check_bytes, encode
from crdt.primitives.errors import MalformedRecord
from crdt.records.bodies import Role
from machines.values import StoryId

DEEPEST = limits.NESTING_MAX


def refused(data):
    try:
        check_bytes(data)
    except MalformedRecord:
        return True
    return False


def test_keys_are_sorted_by_their_utf_16_code_units():
    # RFC 8785 §3.2.3: its own example, in the order that it demands.
    text = '{"\\r":1,"1":2,"\u0080":3,"\u00f6":4,"\u20ac":5,"\U0001f600":6,"\ufb33":7}'
    value = {"\u20ac": 5, "\r": 1, "\ufb33": 7, "1": 2, "\U0001f600": 6, "\u0080": 3, "\u00f6": 4}
    assert encode(value).decode() == text
    # By code points the last two stand the other way round.
    assert sorted(value)[-2:] == ["\ufb33", "\U0001f600"]


def test_every_builtin_and_every_depth():
    value = {"b": [1, {"y": None, "x": True}, "é \u2028 /"], "a": -1, "A": {}}
    assert encode(value).decode() == '{"A":{},"a":-1,"b":[1,{"x":true,"y":null},"é \u2028 /"]}'


@pytest.mark.parametrize("value", [0.0, 1.5, float("nan"), 2**53, -(2**53), 10**40, b"x", {1}, ()])
def test_values_without_a_canonical_form(value):
    for holder in (value, [value], {"k": value}):
        with pytest.raises(MalformedRecord):
            encode(holder)


def test_subclasses_of_str_are_encoded():
    assert encode({StoryId("s"): [StoryId("t"), Role.ADMIN]}) == b'{"s":["t","admin"]}'


def test_the_largest_integers():
    assert encode([2**53 - 1, 1 - 2**53]) == b"[9007199254740991,-9007199254740991]"


@pytest.mark.parametrize("byte", [*range(0x20), 0x7F])
def test_control_characters_are_refused_raw_and_escaped(byte):
    assert refused(b'{"a":"' + bytes([byte]) + b'"}')
    if chr(byte) not in "\n\t":
        assert refused(json.dumps({"a": chr(byte)}).encode())
    assert refused(b'{"a":"\\u%04x"}' % byte)


@pytest.mark.parametrize("code", range(0x7F, 0xA2))
def test_only_c1_controls_are_refused(code):
    assert refused(f'"{chr(code)}"'.encode()) == (code < 0xA0)


def test_escapes_that_canonical_json_has():
    for good in (r'"\""', r'"\\"', r'"\n\t"', r'"\\u0041"', r'"\\\\\n"', r'"a\\"'):
        assert not refused(good.encode()), good
    for bad in (r'"\u0041"', r'"\/"', r'"\b"', r'"\f"', r'"\r"', r'"\x"', r'"\\\u001b"', '"\\'):
        assert refused(bad.encode()), bad


def test_length_comes_first():
    assert not refused(b" " * limits.BODY_BYTES_MAX)
    assert refused(b" " * (limits.BODY_BYTES_MAX + 1))


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_is_counted_before_any_parser_sees_it(opening, closing):
    def nested(depth):
        return (opening * depth + "1" + closing * depth).encode()

    assert not refused(nested(DEEPEST))
    assert refused(nested(DEEPEST + 1))
    assert refused(b"[" * 16_000)


def test_brackets_in_strings_do_not_nest():
    assert not refused(b'["' + b"[" * 1000 + b'","\\"' + b"{" * 1000 + b'"]')
    assert not refused(b"[" + b"[]," * 1000 + b"[]]")


def test_unclosed_string_is_scanned_once():
    # Were it not taken as one piece, each quote in it could start a string of its own, and each
    # would be followed to the end of the data: 16 KB then took most of a second.
    endless = b'"' + b'\\"' * 8000
    assert _STRING.findall(b"[" * DEEPEST + endless) == [endless]
    assert not refused(b"[" * DEEPEST + endless)
    assert refused(b"[" * (DEEPEST + 1) + endless)
    assert not refused(b"[" * DEEPEST + b'"[' + endless[1:])


@given(st.binary(max_size=200))
def test_any_bytes_at_all(data):
    refused(data)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json_values)
def test_canonical_form_round_trip(value):
    data = encode(value)
    assert json.loads(data) == value
    assert encode(json.loads(data)) == data
