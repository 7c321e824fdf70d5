import copy
import pickle
import shutil
import subprocess

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machines.codec import dec_hook, enc_hook, lenient_hook
from machines.errors import InvalidValue
from machines.values import (
    AgentName,
    BranchName,
    FreeText,
    GitSha,
    Instant,
    Label,
    NodePubkey,
    StoryId,
    branch_fault,
)
from tests.support.strategies import records

KEY = bytes(range(32))


@pytest.mark.parametrize("kind", [StoryId, AgentName, Label])
def test_identifiers(kind):
    for good in ("a", "A.b_c-9", "0" * 128):
        assert kind(good) == good
    for bad in ("", ".a", "-a", "a/b", "a b", "ä", "a\n", "0" * 129, "stоry", None, b"a"):
        with pytest.raises(InvalidValue):
            kind(bad)


def test_free_text():
    for good in ("", "a\n\tb", "é 世 😀", "x" * 4096):
        assert FreeText(good) == good
    for bad in ("\x00", "\x1b[31m", "\r", "\x7f", "\x9b", "\ud800", "x" * 4097, "é" * 2049, None):
        with pytest.raises(InvalidValue):
            FreeText(bad)


def test_commits():
    for good in ("abc", "0" * 64):
        assert GitSha(good) == good
    for bad in ("ab", "0" * 65, "ABC", "abg", "", None):
        with pytest.raises(InvalidValue):
            GitSha(bad)


def test_branches_that_are_refused_for_our_own_reasons():
    for bad in ("-f", "é" * 128, "a\x9bb", "a\ud800", None):
        with pytest.raises(InvalidValue):
            BranchName(bad)
    assert BranchName("é" * 127)


GIT = shutil.which("git")
ODD = st.text(st.sampled_from("ab.-/@{}~^:?*[\\ \x01\x7fé,+="), max_size=12) | st.sampled_from(
    ["a.lock", "a.lock/b", "@", "a//b", "/a", "a/", "a..b", "a@{b", "HEAD", "a.", ".a", "a/.b"]
)


@pytest.mark.skipif(GIT is None, reason="git is not installed, so there is nothing to agree with")
@settings(max_examples=150, deadline=None)
@given(ODD)
def test_branches_agree_with_git(text):
    if text.startswith("-"):
        return
    checked = subprocess.run(
        [GIT, "check-ref-format", f"refs/heads/{text}"], check=False, capture_output=True
    )
    assert (branch_fault(text) is None) == (checked.returncode == 0)


def test_node_keys():
    key = NodePubkey(KEY)
    assert (str(key), key.short) == (KEY.hex(), "00010203")
    assert KEY.hex() in repr(key)
    assert NodePubkey.from_hex(KEY.hex()) == key == copy.deepcopy(key)
    assert pickle.loads(pickle.dumps(key)) == key
    for bad in (b"", KEY[:-1], KEY + b"x", KEY.hex(), None):
        with pytest.raises(InvalidValue):
            NodePubkey(bad)
    for bad in (KEY.hex().upper(), KEY.hex()[:-1], "", None, KEY):
        with pytest.raises(InvalidValue):
            NodePubkey.from_hex(bad)


WHOLE = [
    StoryId("story-1"),
    AgentName("coder-1"),
    Label("blue"),
    BranchName("feature/x"),
    GitSha("abc123"),
    FreeText("why\n"),
    NodePubkey(KEY),
    Instant("2026-03-03T03:03:03.003Z"),
]


@pytest.mark.parametrize("value", WHOLE, ids=lambda value: type(value).__name__)
def test_copy_and_pickle_use_the_class(value):
    copies = [copy.copy(value), copy.deepcopy(value)]
    copies += [pickle.loads(pickle.dumps(value, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)]
    for one in copies:
        assert one == value
        assert type(one) is type(value)
    build, arguments = value.__reduce__()
    assert build is type(value)
    with pytest.raises(InvalidValue) as told:
        build(arguments[0] * 5000)
    assert str(told.value).startswith(f"{value.what}: ")
    assert pickle.loads(pickle.dumps(told.value)).rule == told.value.rule


def test_fromhex_builds_no_key_of_wrong_length():
    assert NodePubkey.fromhex(KEY.hex()) == NodePubkey(KEY)
    with pytest.raises(InvalidValue):
        NodePubkey.fromhex("ab")


@given(st.integers(records.FIRST_MS, records.LAST_MS))
def test_an_instant_is_its_milliseconds(ms):
    instant = Instant.from_ms(ms)
    assert instant.ms == ms
    assert Instant(str(instant)) == instant
    assert Instant.parse_lenient(str(instant)) == instant


@given(records.instants, records.instants)
def test_instants_sort_as_text(one, two):
    assert (one < two) == (one.ms < two.ms)


@pytest.mark.parametrize(
    "bad",
    [
        "2026-11-24T02:00:02Z", "2026-11-24T02:00:02.0000Z", "2026-11-24T02:00:02.000z",
        "2026-02-30T02:00:02.000Z", "2026-11-24T02:00:60.000Z", "2026-11-24T24:00:00.000Z",
        "1999-11-24T02:00:02.000Z", "2100-01-01T00:00:00.000Z", "9999-11-24T02:00:02.000Z",
        "2026-11-24T02:00:02.000+00:00", "2026-13-01T00:00:00.000Z", "", None, 7,
        "2026-11-24T02:00:02.000Z\n", "２026-11-24T02:00:02.000Z",
    ],
)  # fmt: skip
def test_instants_outside_the_one_form(bad):
    with pytest.raises(InvalidValue):
        Instant(bad)


def test_instants_outside_the_range():
    for ms in (records.FIRST_MS - 1, records.LAST_MS + 1, -1):
        with pytest.raises(InvalidValue):
            Instant.from_ms(ms)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000Z"),
        ("2026-01-01t00:00:00.5z", "2026-01-01T00:00:00.500Z"),
        ("2026-01-01T00:00:00.12+00:00", "2026-01-01T00:00:00.120Z"),
    ],
)
def test_callers_may_write_any_utc_instant(text, same):
    assert Instant.parse_lenient(text) == same
    assert lenient_hook(Instant, text) == same


@pytest.mark.parametrize(
    "bad", ["2026-01-01T00:00:00+01:00", "2026-01-01", "2026-01-01T00:00:00.1234Z", "", None]
)
def test_callers_may_not_write_anything_else(bad):
    with pytest.raises(InvalidValue):
        Instant.parse_lenient(bad)


def test_only_free_text_of_callers_is_normalized():
    assert lenient_hook(FreeText, "e\u0301") == "\u00e9"
    assert dec_hook(FreeText, "e\u0301") == "e\u0301"
    for hook in (lenient_hook, dec_hook):
        with pytest.raises(InvalidValue):
            hook(FreeText, 7)


class Holder(msgspec.Struct):
    node: NodePubkey
    story: StoryId


def test_values_cross_json_strictly():
    holder = Holder(NodePubkey(KEY), StoryId("s"))
    text = msgspec.json.encode(holder, enc_hook=enc_hook)
    assert text == b'{"node":"%s","story":"s"}' % KEY.hex().encode()
    assert msgspec.json.decode(text, type=Holder, dec_hook=dec_hook) == holder
    with pytest.raises(msgspec.ValidationError, match=r"\$\.story"):
        msgspec.json.decode(text.replace(b'"s"', b'"/"'), type=Holder, dec_hook=dec_hook)
    assert enc_hook(StoryId("s")) == "s"
    with pytest.raises(NotImplementedError):
        enc_hook(object())


def test_nearest_instant_of_an_impossible_clock():
    assert Instant.nearest(0) == "2020-01-01T00:00:00.000Z"
    assert Instant.nearest(253_402_300_799_000) == "2099-12-31T23:59:59.999Z"
    now = Instant.nearest(1_800_000_000_123)
    assert now == Instant.from_ms(1_800_000_000_123)
    assert [one.is_edge for one in (Instant.nearest(-1), Instant.nearest(2**60), now)] == [
        True,
        True,
        False,
    ]
