"""Every word of a refusal has its two sentences, and nothing but a word gets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.network.disconnect_reasons import (
    SENTENCES,
    message_for_peer,
    message_for_us,
    reason_from_peer,
)
from node.runtime.peer_link import DisconnectReason


@pytest.mark.parametrize("word", SENTENCES)
def test_a_word_is_told_on_both_sides(word):
    assert message_for_peer(word).startswith(f"{word}: ")
    assert message_for_us(word).startswith(f"{word}: ")
    assert message_for_peer(word) != message_for_us(word)
    assert reason_from_peer(word) == word


def test_every_reason_has_its_sentences():
    assert [*SENTENCES] == [*DisconnectReason]


@given(st.text())
def test_what_a_peer_sends_is_a_word_or_nothing(text):
    word = reason_from_peer(text)
    assert word in ("", text)
    assert len(word) <= 40
    assert not set(word) - set("abcdefghijklmnopqrstuvwxyz_")


def test_a_word_that_nobody_knows_stands_by_itself():
    assert message_for_peer("novel") == message_for_us("novel") == "novel"


@pytest.mark.parametrize("offered", ["", "\x1b[2J", "two\nlines", "n" * 65, "\ud800"])
def test_invalid_name_offered_by_a_peer_is_ignored(offered):
    assert message_for_peer("name_taken", free="den-2").endswith("--name, such as den-2")
    assert message_for_peer("name_taken", free="a $(b)").endswith("such as 'a $(b)'")
    assert message_for_peer("name_taken", free=offered).endswith("with --name")
