import pytest

from machines.codec import dec_hook, enc_hook, lenient_hook
from machines.errors import InvalidValue
from machines.values import FreeText, Instant, NodePubkey, StoryId

NODE = NodePubkey(bytes(range(32)))


@pytest.mark.parametrize(
    "value", [NODE, StoryId("s-1"), Instant("2026-11-24T10:00:00.000Z"), FreeText("a\nb")]
)
def test_what_is_written_is_read_back_as_the_same_type(value):
    written = enc_hook(value)
    assert type(written) is str
    again = dec_hook(type(value), written)
    assert (again, type(again)) == (value, type(value))


def test_a_key_is_written_as_lower_case_hex():
    assert enc_hook(NODE) == bytes(range(32)).hex()


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (NodePubkey, "AB" * 32),
        (NodePubkey, 7),
        (StoryId, ""),
        (StoryId, None),
        (Instant, "2026-11-24T10:00:00Z"),
        (FreeText, "\x07"),
    ],
)
def test_the_strict_reader_refuses_what_breaks_a_rule(kind, written):
    with pytest.raises(InvalidValue):
        dec_hook(kind, written)


def test_caller_may_write_any_utc_instant():
    assert lenient_hook(Instant, "2026-11-24t10:00:00+00:00") == "2026-11-24T10:00:00.000Z"


def test_only_text_of_callers_is_normalized():
    assert lenient_hook(FreeText, "e\u0301") == "\u00e9"
    assert dec_hook(FreeText, "e\u0301") == "e\u0301"


def test_for_everything_else_a_caller_is_read_strictly():
    assert lenient_hook(NodePubkey, NODE.hex()) == NODE
    assert lenient_hook(StoryId, "s-1") == "s-1"
    for kind, written in ((FreeText, 7), (Instant, 7), (StoryId, "\u00e9")):
        with pytest.raises(InvalidValue):
            lenient_hook(kind, written)


def test_foreign_types_are_not_encoded():
    with pytest.raises(NotImplementedError, match="object"):
        enc_hook(object())
