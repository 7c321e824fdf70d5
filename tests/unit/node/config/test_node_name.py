"""What a node may be called, and what a refusal of it says."""

import pytest

from crdt.records import bodies
from machines.errors import InvalidValue
from node.config.node_name import node_name

MOST = bodies.NODE_NAME_CHARACTERS_MAX


@pytest.mark.parametrize("text", ["den", "a b", "é" * MOST, "\u202eabc", "x" * MOST])
def test_a_name_is_any_text_on_one_line(text):
    assert node_name(text) == text


def test_a_name_is_brought_to_nfc():
    assert node_name("e\u0301") == "é"


@pytest.mark.parametrize(
    "text", ["", "  ", "a\nb", "a\tb", "\x1b[31m", "x" * (MOST + 1), "x" * 9999, "\udc80", "a\x85"]
)
def test_an_invalid_name_is_refused_in_one_sentence(text):
    with pytest.raises(InvalidValue) as refused:
        node_name(text)
    assert str(refused.value) == (
        "a node's name: 1 to 64 characters on one line, no control characters"
    )
