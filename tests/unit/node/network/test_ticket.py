import base64
from io import StringIO

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from machines.values import NodePubkey
from node.network.ticket import PREFIX, Ticket, read_ticket
from node.system.errors import OperatorError
from node.system.exit_codes import Exit

TICKET = Ticket("127.0.0.1:7467", b"c" * 32, b"i" * 32, b"s" * 16, 1_800_000_000_000)


def test_a_ticket_is_one_line_that_reads_back():
    text = TICKET.text()
    assert len(text.split()) == 1
    assert read_ticket(f"  {text}\n") == TICKET
    assert NodePubkey(read_ticket(text).inviter)


def test_a_secret_shows_itself_nowhere():
    assert "s" * 16 not in repr(TICKET)
    assert "ssss" not in f"{TICKET}"
    shown = StringIO()
    Console(file=shown, width=500).print(TICKET, [TICKET])
    assert "127.0.0.1" in shown.getvalue()
    assert "ssss" not in shown.getvalue()


def told(text):
    with pytest.raises(OperatorError) as caught:
        read_ticket(text)
    assert caught.value.code == Exit.MALFORMED
    return caught.value.message


def test_every_wrong_letter_and_every_cut_is_told():
    text = TICKET.text()
    for place in range(len(PREFIX), len(text)):
        assert "cut short" in told(text[:place])
        for letter in "ab7":
            if text[place] != letter:
                spoiled = text[:place] + letter + text[place + 1 :]
                # The first letters hold the length.
                assert "mistyped" in told(spoiled) or place < len(PREFIX) + 4


def test_each_mistake_has_a_sentence_of_its_own():
    text = TICKET.text()
    assert "mistyped" in told(text + "a")
    assert "mistyped" in told(text + "aaaaaaaa")
    assert "mistyped" in told(text[:50] + text[51] + text[50] + text[52:])
    for letter in "0189!é \x1b":
        assert "characters that no ticket has" in told(text[:50] + letter + text[51:])
    assert "another version" in told(text.replace("gangline1", "gangline2"))
    assert "gangline2-" in told(text.replace("gangline1", "gangline2"))
    assert "not a ticket" in told(TICKET.secret.hex())
    assert "longer than a ticket" in told(text * 9)


def test_letters_may_come_in_capitals():
    text = TICKET.text()
    assert read_ticket(PREFIX + text.removeprefix(PREFIX).upper()) == TICKET


@pytest.mark.parametrize("wrong", [
    {"address": ""}, {"address": "h:1\x1b[31m"}, {"address": "h" * 257}, {"cluster": b"c"},
    {"inviter": b"i" * 33}, {"secret": b"s" * 15}, {"secret": b"s" * 33}, {"expires_ms": -1},
    {"expires_ms": 2**53}, {"address": None},
], ids=str)  # fmt: skip
def test_a_ticket_that_no_gangline_wrote(wrong):
    assert "not made by Gangline" in told(msgspec.structs.replace(TICKET, **wrong).text())


@given(st.binary(max_size=200))
def test_letters_at_random(raw):
    assert told(PREFIX + base64.b32encode(raw).decode().rstrip("=").lower())


def test_the_cluster_it_is_for():
    assert TICKET.cluster_id == b"c" * 32


def test_what_is_no_ticket():
    for bad in ("", "hello", "gangline2-abc", "gangline1-" + "a" * 5000, "gangline1-ü"):
        with pytest.raises(OperatorError):
            read_ticket(bad)
